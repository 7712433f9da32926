#include "fibers.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu {

constexpr size_t STACK = 256 << 10;

#if defined(__x86_64__)
// Registers that a function must keep go to the old stack, and come from the new one.
extern "C" void emu_switch(void** save, void* to);
asm(R"(.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp,(%rdi)
    mov %rsi,%rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size emu_switch,.-emu_switch
)");
static void* scheduler;
static void switch_in(Thread& thread) { emu_switch(&scheduler, thread.stack_pointer); }
static void switch_out(Thread& thread) { emu_switch(&thread.stack_pointer, scheduler); }
static void prepare(Thread& thread, void (*entry)()) {
    // stacks begin at different places of a cache line set
    void** top = (void**)(thread.stack + STACK - 64 - thread.number * 320 % 32768);
    *--top = nullptr;
    *--top = (void*)entry;
    for (int k = 0; k < 6; k++) *--top = nullptr;
    thread.stack_pointer = top;
}
#else
static ucontext_t scheduler, contexts[MOST_THREADS];
static void switch_in(Thread& thread) { swapcontext(&scheduler, &contexts[thread.number]); }
static void switch_out(Thread& thread) { swapcontext(&contexts[thread.number], &scheduler); }
static void prepare(Thread& thread, void (*entry)()) {
    ucontext_t& context = contexts[thread.number];
    getcontext(&context);
    context.uc_stack.ss_sp = thread.stack;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, entry, 0);
}
#endif

#if defined(__SANITIZE_ADDRESS__)
static const void* scheduler_stack;
static size_t scheduler_size;
static void* scheduler_fake;
static void before_leaving(Thread& thread) {
    void** fake = thread.state == State::done ? nullptr : &thread.fake_stack;
    __sanitizer_start_switch_fiber(fake, scheduler_stack, scheduler_size);
}
static void after_entering(Thread& thread) {
    __sanitizer_finish_switch_fiber(thread.fake_stack, &scheduler_stack, &scheduler_size);
}
static void before_entering(Thread& thread) { __sanitizer_start_switch_fiber(&scheduler_fake, thread.stack, STACK); }
static void after_leaving() { __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr); }
static void clean(Thread& thread) { __asan_unpoison_memory_region(thread.stack, STACK); }
#else
static void before_leaving(Thread&) {}
static void after_entering(Thread&) {}
static void before_entering(Thread&) {}
static void after_leaving() {}
static void clean(Thread&) {}
#endif

static void (*start)();

static void first_entry() {
    after_entering(*current);
    start();
}

void leave_fiber() {
    Thread& thread = *current;
    before_leaving(thread);
    switch_out(thread);
    after_entering(thread);
}

void enter_fiber(Thread& thread) {
    current = &thread;
    before_entering(thread);
    switch_in(thread);
    after_leaving();
}

void make_fiber(Thread& thread, void (*entry)()) {
    if (thread.stack == nullptr) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        thread.stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
    }
    clean(thread);
    thread.fake_stack = nullptr;
    start = entry;
    prepare(thread, first_entry);
}

bool in_stack(const Thread& thread, const void* address) {
    return thread.stack != nullptr && address >= thread.stack && address < thread.stack + STACK;
}

}  // namespace emu
