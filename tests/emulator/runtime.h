// The emulator of CUDA threads: what the kernel text (through cuda.h), the scheduler and the checker share.
//
// One fiber for each CUDA thread of a block, one block at a time, all in one thread of the operating system. A fiber runs
// until it waits at a barrier or a warp operation; then the next one that can run does.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define EMU_PLAIN __attribute__((no_sanitize("thread", "undefined")))

namespace emu {

struct Index {
    unsigned x, y, z;
};

enum class State : uint8_t { ready, at_block_barrier, at_warp_operation, done };
enum class Operation : uint8_t { barrier, shuffle, ballot };

constexpr int LANES = 32, MOST_THREADS = 1024;

struct Thread {
    Index index;
    int number, lane, warp;
    State state;
    // what it waits for
    int line;
    Operation operation;
    uint32_t mask;
    // what it gives to a warp operation, the lane it wants to read, what it gets
    uint64_t value[2], result[2];
    int source;
    // how often each lane of the warp had passed __syncwarp when this thread last met it there
    uint32_t seen[LANES];
    // the fiber
    void* stack_pointer;
    char* stack;
    void* fake_stack;
};

struct Block {
    Index index;
    uint32_t number;  // from 1
    uint32_t epoch;   // barriers passed by all threads
    int sum, votes;   // of __syncthreads_count and the like
};

extern Thread* current;
extern Block block;
extern Index block_size, grid_size;
extern int n_threads;
extern Thread threads[MOST_THREADS];

// Ends the launch with a message; does not return. "@<address>" in it becomes file and line.
[[noreturn]] void fail(const void* address, const char* format, ...) __attribute__((format(printf, 2, 3)));

void block_barrier(int line);
int block_vote(int line, int predicate);
void warp_barrier(uint32_t mask, int line);
void warp_shuffle(uint32_t mask, const void* value, void* result, size_t size, int source, int line);
uint32_t warp_ballot(uint32_t mask, bool predicate, int line);

// Shared memory: the same pointer for all threads of a block; `identity` tells declarations apart.
void* static_shared(const void* identity, size_t size, size_t align, size_t element, const char* name);
void* dynamic_shared();

// The checker; in builds without it these do nothing.
struct Array {
    uint64_t address, size, element;
    const char* name;
};
void check_begin_launch(const Array* arrays, int count);
void check_begin_block();
void check_add_shared(const void* address, size_t size, size_t element, const char* name);
void check_atomic(const void* address, size_t size, const void* where);

typedef void (*Body)(void** arguments);
int launch(Body body, const unsigned* grid_and_block, size_t shared_bytes, void** arguments, int order);

}  // namespace emu
