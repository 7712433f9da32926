// Blocks one after the other, threads in an order that can be chosen, barriers and warp operations.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utility>
#include <vector>

#include "fibers.h"

namespace emu {

Thread* current;
Block block;
Index block_size, grid_size;
int n_threads;
Thread threads[MOST_THREADS];

static Body body;
static void** arguments;
static char message[2048];
static bool failed;
static size_t dynamic_bytes;
static char* dynamic_memory;
static uint64_t random_state;

struct Shared {
    const void* identity;
    size_t size;
    void* memory;
};
static std::vector<Shared> shared;

void fail(const void* address, const char* format, ...) {
    if (!failed) {
        failed = true;
        int used = address ? snprintf(message, sizeof message, "@%p: ", address) : 0;
        va_list list;
        va_start(list, format);
        used += vsnprintf(message + used, sizeof message - used, format, list);
        va_end(list);
        const Index t = current->index, b = block.index;
        snprintf(message + used, sizeof message - used, ", in thread (%u,%u,%u) of block (%u,%u,%u)", t.x, t.y, t.z, b.x,
                 b.y, b.z);
    }
    leave_fiber();
    __builtin_unreachable();
}

// ---- barriers of a block

static int waiting_at_barrier() {
    int count = 0;
    for (int i = 0; i < n_threads; i++) count += threads[i].state == State::at_block_barrier;
    return count;
}

void block_barrier(int line) { block_vote(line, 0); }

int block_vote(int line, int predicate) {
    Thread& me = *current;
    me.state = State::at_block_barrier;
    me.line = line;
    block.sum += predicate != 0;
    for (int i = 0; i < n_threads; i++) {
        if (threads[i].state == State::at_block_barrier && threads[i].line != line) {
            fail(nullptr, "divergent barrier: threads of a block wait at the barriers of lines %d and %d", line,
                 threads[i].line);
        }
    }
    if (waiting_at_barrier() == n_threads) {
        block.epoch++;
        block.votes = block.sum;
        block.sum = 0;
        for (int i = 0; i < n_threads; i++) threads[i].state = State::ready;
    } else {
        leave_fiber();
    }
    return block.votes;
}

// ---- operations of a warp

static Thread& lane_of(int warp, int lane) { return threads[LANES * warp + lane]; }

static void complete(int warp, uint32_t mask, Operation operation) {
    uint32_t joined[LANES] = {}, ballot = 0;
    for (int l = 0; l < LANES; l++) {
        if (!(mask >> l & 1)) continue;
        Thread& thread = lane_of(warp, l);
        ballot |= (uint32_t)(thread.value[0] & 1) << l;
        for (int k = 0; k < LANES; k++) joined[k] = thread.seen[k] > joined[k] ? thread.seen[k] : joined[k];
    }
    for (int l = 0; l < LANES; l++) {
        if (!(mask >> l & 1)) continue;
        Thread& thread = lane_of(warp, l);
        thread.state = State::ready;
        if (operation == Operation::ballot) thread.result[0] = ballot;
        if (operation == Operation::shuffle) {
            memcpy(thread.result, lane_of(warp, thread.source).value, sizeof thread.result);
        }
        if (operation == Operation::barrier) {  // shuffles and votes do not order accesses to memory
            memcpy(thread.seen, joined, sizeof joined);
            thread.seen[l]++;
        }
    }
}

static void meet(uint32_t mask, Operation operation, int line) {
    Thread& me = *current;
    if (!(mask >> me.lane & 1)) fail(nullptr, "line %d: lane %d is not in its own mask %08x", line, me.lane, mask);
    me.state = State::at_warp_operation;
    me.operation = operation;
    me.line = line;
    me.mask = mask;
    bool complete_now = true;
    for (int l = 0; l < LANES; l++) {
        if (!(mask >> l & 1)) continue;
        const Thread& other = lane_of(me.warp, l);
        if (other.state == State::done) {
            fail(nullptr, "line %d: lane %d of the mask %08x has exited", line, l, mask);
        }
        if (other.state != State::at_warp_operation || !(other.mask >> me.lane & 1)) {
            complete_now = false;
        } else if (other.mask != mask || other.line != line || other.operation != operation) {
            fail(nullptr, "lanes of a warp wait for one another in different places: lane %d in line %d with mask %08x, "
                 "lane %d in line %d with mask %08x", me.lane, line, mask, l, other.line, other.mask);
        }
    }
    if (complete_now) {
        complete(me.warp, mask, operation);
    } else {
        leave_fiber();
    }
}

void warp_barrier(uint32_t mask, int line) { meet(mask, Operation::barrier, line); }

uint32_t warp_ballot(uint32_t mask, bool predicate, int line) {
    current->value[0] = predicate;
    meet(mask, Operation::ballot, line);
    return (uint32_t)current->result[0];
}

void warp_shuffle(uint32_t mask, const void* value, void* result, size_t size, int source, int line) {
    if (source < 0 || source >= LANES || !(mask >> source & 1)) {
        fail(nullptr, "line %d: shuffle from lane %d, which is not in the mask %08x", line, source, mask);
    }
    memcpy(current->value, value, size);
    current->source = source;
    meet(mask, Operation::shuffle, line);
    memcpy(result, current->result, size);
}

// ---- shared memory

void* dynamic_shared() { return dynamic_memory; }

void* static_shared(const void* identity, size_t size, size_t align, size_t element, const char* name) {
    for (const Shared& variable : shared) {
        if (variable.identity == identity) return variable.memory;
    }
    void* memory = aligned_alloc(align < 16 ? 16 : align, (size + 15) / 16 * 16);
    memset(memory, 0xff, size);  // a NaN, or -1
    shared.push_back({identity, size, memory});
    check_add_shared(memory, size, element, name);
    return memory;
}

static void begin_block(const Index& index, uint32_t number) {
    block = {index, number, 0, 0, 0};
    for (const Shared& variable : shared) free(variable.memory);
    shared.clear();
    check_begin_block();
    if (dynamic_bytes) {
        memset(dynamic_memory, 0xff, dynamic_bytes);
        check_add_shared(dynamic_memory, dynamic_bytes, 4, "the dynamic shared memory");
    }
}

// ---- the scheduler

static uint64_t next_random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

// 0: ascending, 1: descending, else random.
static std::vector<uint32_t> sequence(uint32_t count, int order) {
    std::vector<uint32_t> result(count);
    for (uint32_t i = 0; i < count; i++) result[i] = order == 1 ? count - 1 - i : i;
    if (order > 1) {
        for (uint32_t i = count; i > 1; i--) std::swap(result[i - 1], result[next_random() % i]);
    }
    return result;
}

static void run_thread() {
    body(arguments);
    current->state = State::done;
    leave_fiber();
}

static void report_deadlock() {
    const Thread* waiting = nullptr;
    int at_barrier = 0, at_warp = 0, done = 0;
    for (int i = 0; i < n_threads; i++) {
        at_barrier += threads[i].state == State::at_block_barrier;
        at_warp += threads[i].state == State::at_warp_operation;
        done += threads[i].state == State::done;
        if (threads[i].state != State::done && waiting == nullptr) waiting = &threads[i];
    }
    failed = true;
    snprintf(message, sizeof message,
             "divergent barrier: in block (%u,%u,%u) %d threads wait at a barrier of the block, %d at an operation of "
             "their warp, %d have exited; thread %d waits in line %d",
             block.index.x, block.index.y, block.index.z, at_barrier, at_warp, done, waiting->number, waiting->line);
}

static void run_block(int order) {
    for (int i = 0; i < n_threads; i++) {
        Thread& t = threads[i];
        const unsigned u = i, x = block_size.x, y = block_size.y;
        t.index = {u % x, u / x % y, u / (x * y)};
        t.number = i;
        t.lane = i % LANES;
        t.warp = i / LANES;
        t.state = State::ready;
        memset(t.seen, 0, sizeof t.seen);
        t.seen[t.lane] = 1;
        make_fiber(t, run_thread);
    }
    while (!failed) {
        bool ran = false;
        for (uint32_t i : sequence(n_threads, order)) {
            if (threads[i].state != State::ready) continue;
            enter_fiber(threads[i]);
            if (failed) return;
            ran = true;
        }
        if (ran) continue;
        for (int i = 0; i < n_threads; i++) {
            if (threads[i].state != State::done) return report_deadlock();
        }
        return;
    }
}

int launch(Body kernel, const unsigned* sizes, size_t shared_bytes, void** values, int order) {
    body = kernel;
    arguments = values;
    grid_size = {sizes[0], sizes[1], sizes[2]};
    block_size = {sizes[3], sizes[4], sizes[5]};
    n_threads = (int)(sizes[3] * sizes[4] * sizes[5]);
    failed = false;
    message[0] = 0;
    random_state = 88172645463325252ull + (uint64_t)order;
    dynamic_bytes = shared_bytes;
    dynamic_memory = shared_bytes ? (char*)aligned_alloc(16, (shared_bytes + 15) / 16 * 16) : nullptr;
    const uint32_t count = sizes[0] * sizes[1] * sizes[2];
    for (uint32_t b : sequence(count, order)) {
        begin_block({b % sizes[0], b / sizes[0] % sizes[1], b / (sizes[0] * sizes[1])}, b + 1);
        run_block(order);
        if (failed) break;
    }
    free(dynamic_memory);
    return failed;
}

}  // namespace emu

extern "C" int emu_launch(emu::Body body, const unsigned* sizes, size_t shared_bytes, void** values, int order,
                          const emu::Array* arrays, int n_arrays) {
    emu::check_begin_launch(arrays, n_arrays);
    return emu::launch(body, sizes, shared_bytes, values, order);
}
extern "C" const char* emu_message() { return emu::message; }
