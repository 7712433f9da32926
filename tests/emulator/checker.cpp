// Checks every access to memory: g++ -fsanitize=thread makes the kernel call the functions at the end of this file instead
// of those of ThreadSanitizer.
//
// Found are: accesses outside of the arrays that the kernel was given, of its shared memory and of its own stack; reads of
// shared memory that nobody has written; and races, that is two accesses of different threads to one place, one of
// them a write and not both atomic, without a barrier between them. A barrier of the block orders the accesses
// of all its threads, __syncwarp those of the lanes in its mask; nothing orders those of different blocks. Since the order
// is that of barriers and not of time, a race is found in whatever order the threads happened to run.

#include <link.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "fibers.h"

namespace emu {

#if defined(EMU_CHECK)

struct Access {
    uint32_t block;  // 0: there was none
    uint32_t epoch, clock;
    uint16_t thread;
    bool atomic;
    const void* where;
};

// The last write, and reads since then; two concurrent ones are enough to notice a write that is ordered with neither.
struct Cell {
    Access write, read[2];
};

struct Region {
    const char* name;
    const char* begin;
    size_t size, element;
    bool is_shared;
    Cell* cells;
};

static std::vector<Region> regions;
static size_t n_arrays, last_region;
static const char *data_begin, *data_end;  // constants and tables of the compiled kernel

static void add(const char* name, const void* begin, size_t size, size_t element, bool is_shared) {
    Cell* cells = (Cell*)calloc(size / element + 1, sizeof(Cell));
    regions.push_back({name, (const char*)begin, size, element, is_shared, cells});
}

static void drop(size_t kept) {
    for (size_t k = kept; k < regions.size(); k++) free(regions[k].cells);
    regions.resize(kept);
    last_region = 0;
}

void check_begin_launch(const Array* arrays, int count) {
    drop(0);
    for (int k = 0; k < count; k++) {
        add(arrays[k].name, (const void*)arrays[k].address, arrays[k].size, arrays[k].element, false);
    }
    n_arrays = regions.size();
}

void check_begin_block() { drop(n_arrays); }

void check_add_shared(const void* address, size_t size, size_t element, const char* name) {
    add(name, address, size, element, true);
}

static bool happened_before(const Access& a) {
    const Thread& me = *current;
    if (a.block == 0) return true;
    if (a.block != block.number) return false;
    if (a.thread == me.number || a.epoch < block.epoch) return true;
    return a.thread / LANES == me.warp && me.seen[a.thread % LANES] >= a.clock;
}

[[noreturn]] static void race(const Region& region, const Cell& cell, const Access& other, bool write, const void* where) {
    const size_t byte = (&cell - region.cells) * region.element;
    fail(where, "race: %s of byte %zu of %s and the %s in @%p by thread %d of block %u are not ordered by a barrier",
         write ? "write" : "read", byte, region.name, &other == &cell.write ? "write" : "read", other.where, other.thread,
         other.block - 1);
}

static void touch(Region& region, Cell& cell, bool write, bool atomic, const void* where) {
    const Thread& me = *current;
    const Access now = {block.number, block.epoch, me.seen[me.lane], (uint16_t)me.number, atomic, where};
    if (region.is_shared && !write && cell.write.block == 0) {
        fail(where, "uninitialised: byte %zu of %s in shared memory is read before it is written",
             (size_t)(&cell - region.cells) * region.element, region.name);
    }
    if (!(atomic && cell.write.atomic) && !happened_before(cell.write)) race(region, cell, cell.write, write, where);
    if (write) {
        for (const Access& read : cell.read) {
            if (!(atomic && read.atomic) && !happened_before(read)) race(region, cell, read, write, where);
        }
        cell.write = now;
        cell.read[0].block = cell.read[1].block = 0;
        return;
    }
    for (Access& read : cell.read) {
        if (happened_before(read)) {
            read = now;
            return;
        }
    }
}

static Region* find(const char* address, size_t size) {
    const auto holds = [=](const Region& r) { return address >= r.begin && address + size <= r.begin + r.size; };
    if (last_region < regions.size() && holds(regions[last_region])) return &regions[last_region];
    for (size_t k = 0; k < regions.size(); k++) {
        if (holds(regions[k])) {
            last_region = k;
            return &regions[k];
        }
    }
    return nullptr;
}

[[noreturn]] static void out_of_bounds(const char* address, size_t size, bool write, const void* where) {
    const Region* nearest = nullptr;
    size_t least = 0;
    for (const Region& region : regions) {
        const char* end = region.begin + region.size;
        const size_t gap = address < region.begin ? region.begin - address : (address + size > end ? address + size - end : 0);
        if (nearest == nullptr || gap < least) {
            nearest = &region;
            least = gap;
        }
    }
    const char* kind = write ? "write" : "read";
    if (nearest == nullptr) fail(where, "out of bounds: %s of %zu bytes at %p", kind, size, (const void*)address);
    fail(where, "out of bounds: %s of %zu bytes at byte %lld of %s, which has %zu bytes", kind, size,
         (long long)(address - nearest->begin), nearest->name, nearest->size);
}

static int find_data(dl_phdr_info* info, size_t, void*) {
    const char* marker = (const char*)&regions;
    for (int k = 0; k < info->dlpi_phnum; k++) {
        const char* begin = (const char*)info->dlpi_addr + info->dlpi_phdr[k].p_vaddr;
        if (marker < begin || marker >= begin + info->dlpi_phdr[k].p_memsz) continue;
        data_begin = (const char*)info->dlpi_addr;
        data_end = begin + info->dlpi_phdr[k].p_memsz;
    }
    return 0;
}

static void check(const void* pointer, size_t size, bool write, bool atomic, const void* where) {
    if (in_stack(*current, pointer)) return;
    const char* address = (const char*)pointer;
    if (Region* region = find(address, size)) {
        const size_t first = (address - region->begin) / region->element;
        const size_t last = (address - region->begin + size - 1) / region->element;
        for (size_t k = first; k <= last; k++) touch(*region, region->cells[k], write, atomic, where);
        return;
    }
    if (data_end == nullptr) dl_iterate_phdr(find_data, nullptr);
    if (!write && address >= data_begin && address + size <= data_end) return;
    out_of_bounds(address, size, write, where);
}

void check_atomic(const void* address, size_t size, const void* where) {
    check(address, size, false, true, where);
    check(address, size, true, true, where);
}

#define EMU_HOOK(name, size, write) \
    extern "C" void name(void* p) { check(p, size, write, false, __builtin_return_address(0)); }
#define EMU_HOOKS(size)                                 \
    EMU_HOOK(__tsan_read##size, size, false)            \
    EMU_HOOK(__tsan_write##size, size, true)            \
    EMU_HOOK(__tsan_volatile_read##size, size, false)   \
    EMU_HOOK(__tsan_volatile_write##size, size, true)   \
    EMU_HOOK(__tsan_unaligned_read##size, size, false)  \
    EMU_HOOK(__tsan_unaligned_write##size, size, true)
EMU_HOOKS(1)
EMU_HOOKS(2)
EMU_HOOKS(4)
EMU_HOOKS(8)
EMU_HOOKS(16)
extern "C" void __tsan_read_range(void* p, unsigned long n) { check(p, n, false, false, __builtin_return_address(0)); }
extern "C" void __tsan_write_range(void* p, unsigned long n) { check(p, n, true, false, __builtin_return_address(0)); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}

// What UndefinedBehaviorSanitizer calls begins with the place in the source.
struct Place {
    const char* file;
    uint32_t line, column;
};
#define EMU_UNDEFINED(name, text)                                                       \
    extern "C" void __ubsan_handle_##name(const Place* place, ...) {                    \
        fail(nullptr, "%s:%u: undefined behaviour: %s", place->file, place->line, text); \
    }
EMU_UNDEFINED(add_overflow, "signed overflow in an addition")
EMU_UNDEFINED(sub_overflow, "signed overflow in a subtraction")
EMU_UNDEFINED(mul_overflow, "signed overflow in a multiplication")
EMU_UNDEFINED(negate_overflow, "signed overflow in a negation")
EMU_UNDEFINED(divrem_overflow, "division by zero or overflow in a division")
EMU_UNDEFINED(shift_out_of_bounds, "shift by a number of bits that is negative or too large")
EMU_UNDEFINED(out_of_bounds, "index outside of an array")
EMU_UNDEFINED(type_mismatch_v1, "null or misaligned pointer")
EMU_UNDEFINED(pointer_overflow, "overflow of a pointer")
EMU_UNDEFINED(load_invalid_value, "a bool or enum of no valid value")
EMU_UNDEFINED(float_cast_overflow, "a floating-point number that the integer cannot hold")
EMU_UNDEFINED(builtin_unreachable, "unreachable code")
EMU_UNDEFINED(missing_return, "the end of a function without return")
EMU_UNDEFINED(nonnull_arg, "null where it is not allowed")
EMU_UNDEFINED(invalid_builtin, "a builtin function called with zero")
EMU_UNDEFINED(vla_bound_not_positive, "an array of no elements")

#else

void check_begin_launch(const Array*, int) {}
void check_begin_block() {}
void check_add_shared(const void*, size_t, size_t, const char*) {}
void check_atomic(const void*, size_t, const void*) {}

#endif

}  // namespace emu
