// The part of CUDA C++ that kernels of this project use, for a C++ compiler of the CPU.
#pragma once

#include <math.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline  // what a copy in each place costs the compiler is for GPUs
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define warpSize 32

#define threadIdx (emu::thread_index())
#define blockIdx (emu::block_index())
#define blockDim (emu::size_of_block())
#define gridDim (emu::size_of_grid())

namespace emu {
EMU_PLAIN static inline Index thread_index() { return current->index; }
EMU_PLAIN static inline Index block_index() { return block.index; }
EMU_PLAIN static inline Index size_of_block() { return block_size; }
EMU_PLAIN static inline Index size_of_grid() { return grid_size; }
EMU_PLAIN static inline int lane() { return current->lane; }

template <class T>
EMU_PLAIN static T shuffle(int line, uint32_t mask, T value, int source) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>, "a type that cannot be shuffled");
    T result;
    warp_shuffle(mask, &value, &result, sizeof(T), source, line);
    return result;
}
template <class T>
EMU_PLAIN static T shuffle_from(int line, uint32_t mask, T value, int source, int width = 32) {
    return shuffle(line, mask, value, (lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
EMU_PLAIN static T shuffle_down(int line, uint32_t mask, T value, unsigned delta, int width = 32) {
    const bool inside = (lane() & (width - 1)) + delta < (unsigned)width;
    return shuffle(line, mask, value, inside ? lane() + (int)delta : lane());
}
template <class T>
EMU_PLAIN static T shuffle_up(int line, uint32_t mask, T value, unsigned delta, int width = 32) {
    const bool inside = (unsigned)(lane() & (width - 1)) >= delta;
    return shuffle(line, mask, value, inside ? lane() - (int)delta : lane());
}
template <class T>
EMU_PLAIN static T shuffle_xor(int line, uint32_t mask, T value, int bits, int width = 32) {
    const int source = lane() ^ bits;
    return shuffle(line, mask, value, (source & ~(width - 1)) <= (lane() & ~(width - 1)) ? source : lane());
}

template <class... A, size_t... I>
EMU_PLAIN static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}
template <class... A>
EMU_PLAIN static void call(void (*kernel)(A...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<A...>{});
}
}  // namespace emu

#define __syncthreads() emu::block_barrier(__LINE__)
#define __syncthreads_count(p) emu::block_vote(__LINE__, p)
#define __syncthreads_or(p) (emu::block_vote(__LINE__, p) > 0)
#define __syncthreads_and(p) (emu::block_vote(__LINE__, p) == emu::n_threads)
#define EMU_MASK(...) (0xffffffffu __VA_OPT__(&(__VA_ARGS__)))
#define __syncwarp(...) emu::warp_barrier(EMU_MASK(__VA_ARGS__), __LINE__)
#define __shfl_sync(...) emu::shuffle_from(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) emu::shuffle_down(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) emu::shuffle_up(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) emu::shuffle_xor(__LINE__, __VA_ARGS__)
#define __ballot_sync(mask, p) emu::warp_ballot(mask, p, __LINE__)
#define __any_sync(mask, p) (emu::warp_ballot(mask, p, __LINE__) != 0)
#define __all_sync(mask, p) (emu::warp_ballot(mask, !(p), __LINE__) == 0)

// Atomics are plain, since no other fiber runs meanwhile; the checker is told.
#define EMU_ATOMIC(name, expression)                                                          \
    template <class T>                                                                        \
    EMU_PLAIN __attribute__((noinline)) static T name(T* p, std::type_identity_t<T> v) {      \
        emu::check_atomic(p, sizeof(T), __builtin_return_address(0));                         \
        const T old = *p;                                                                     \
        *p = expression;                                                                      \
        return old;                                                                           \
    }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicSub, old - v)
EMU_ATOMIC(atomicMax, old > v ? old : v)
EMU_ATOMIC(atomicMin, old < v ? old : v)
EMU_ATOMIC(atomicExch, v)
EMU_ATOMIC(atomicOr, old | v)
EMU_ATOMIC(atomicAnd, old& v)
template <class T>
EMU_PLAIN __attribute__((noinline)) static T atomicCAS(
    T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
    emu::check_atomic(p, sizeof(T), __builtin_return_address(0));
    const T old = *p;
    if (old == expected) *p = v;
    return old;
}

#define EMU_VECTOR(T, name, wide)                                                                     \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                                \
    struct name##3 { T x, y, z; };                                                                    \
    struct alignas(wide) name##4 { T x, y, z, w; };                                                   \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                 \
    static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                         \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMU_VECTOR(float, float, 16)
EMU_VECTOR(double, double, 16)
EMU_VECTOR(int, int, 16)
EMU_VECTOR(unsigned, uint, 16)
EMU_VECTOR(long long, longlong, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16)

template <class T>
static inline T __ldg(const T* p) { return *p; }

template <class T>
static inline T min(T a, std::type_identity_t<T> b) { return b < a ? b : a; }
template <class T>
static inline T max(T a, std::type_identity_t<T> b) { return a < b ? b : a; }

// Compiled without contraction (-ffp-contract=off), so an operation is rounded where it stands.
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fdividef(float a, float b) { return a / b; }
// the C library has its own functions of these names
#define __expf expf
#define __logf logf
#define __sinf sinf
#define __cosf cosf
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }

template <class To, class From>
EMU_PLAIN static inline To emu_bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
static inline int __float_as_int(float a) { return emu_bits<int>(a); }
static inline float __int_as_float(int a) { return emu_bits<float>(a); }
static inline long long __double_as_longlong(double a) { return emu_bits<long long>(a); }
static inline double __longlong_as_double(long long a) { return emu_bits<double>(a); }
