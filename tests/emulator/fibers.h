// Stacks and the switch between them.
#pragma once

#include "runtime.h"

namespace emu {

// From inside a fiber back to the scheduler.
void leave_fiber();
// From the scheduler into a fiber; returns when it leaves.
void enter_fiber(Thread& thread);
// A fiber that will call `entry` when it is entered first; `entry` must not return.
void make_fiber(Thread& thread, void (*entry)());
bool in_stack(const Thread& thread, const void* address);

}  // namespace emu
