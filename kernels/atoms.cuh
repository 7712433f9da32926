// Parts of the routines that work on atoms: one lane an atom, the components of a value 32 numbers apart.
#pragma once

#include "address.cuh"
#include "warp.cuh"

constexpr int TILE = 32;

// Asks for `count` numbers to be brought near, by all threads of a block, so that whoever reads them later waits less.
template <class Real>
__device__ __forceinline__ void prefetch(const Real* first, int count) {
    constexpr int LINE = 128 / sizeof(Real);
    for (int k = threadIdx.x * LINE; k < count; k += blockDim.x * LINE) {
#ifdef __CUDA_ARCH__
        asm volatile("prefetch.global.L2 [%0];" ::"l"(first + k));
#endif
    }
}

// x becomes N components of a value; add_held adds them.
template <int N, class Real>
__device__ __forceinline__ void read_held(Real* x, const Real* from) {
#pragma unroll
    for (int m = 0; m < N; m++) x[m] = from[m * TILE];
}

template <int N, class Real>
__device__ __forceinline__ void add_held(Real* x, const Real* from) {
#pragma unroll
    for (int m = 0; m < N; m++) x[m] += from[m * TILE];
}

// x[m] += sum_r w[r * step] from[r][m], the R sources ``pitch`` numbers apart.
template <int N, int R, class Real>
__device__ __forceinline__ void add_mixed(Real* x, const Real* w, int step, const Real* from, int pitch) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        const Real weight = w[r * step];
#pragma unroll
        for (int m = 0; m < N; m++) x[m] += weight * from[r * pitch + m * TILE];
    }
}

// z[r][m] += w[r * step] x[m] for R rows.
template <int R, int N, class Real>
__device__ __forceinline__ void spread(Real* z, const Real* w, int step, const Real* x) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        const Real weight = w[r * step];
#pragma unroll
        for (int m = 0; m < N; m++) z[r * N + m] += weight * x[m];
    }
}

// R rows of N components, ``pitch`` numbers apart, become factor * z, or with ``add`` are increased by it.
template <int R, int N, class Real>
__device__ __forceinline__ void store(Real* to, int pitch, const Real* z, Real factor, bool add) {
    Real before[R * N] = {};
    if (add) {
#pragma unroll
        for (int k = 0; k < R * N; k++) before[k] = to[k / N * pitch + k % N * TILE];
    }
#pragma unroll
    for (int k = 0; k < R * N; k++) to[k / N * pitch + k % N * TILE] = factor * z[k] + before[k];
}

// *sum += value, for sums that no other thread adds to until the next barrier. An addition whose result nobody waits for is
// left to the memory; plain ones would each wait for the one before. Without a GPU it is the plain one, so that whoever
// looks for races sees two threads at one sum.
__device__ __forceinline__ void add_to(double* sum, double value) {
#ifdef __CUDA_ARCH__
    atomicAdd(sum, value);
#else
    *sum += value;
#endif
}

// gradient[r * step] += factor * the sum over the atoms of a tile of z[r] . x, in float64, by one thread.
template <int R, int N, class Real>
__device__ __forceinline__ void add_gradient(
    double* gradient, int step, const Real* z, const Real* x, Real factor, bool there) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        Real product = 0;
#pragma unroll
        for (int m = 0; m < N; m++) product += z[r * N + m] * x[m];
        product = group_sum<TILE>(there ? factor * product : Real(0));
        if (threadIdx.x % TILE == 0) add_to(gradient + r * step, product);
    }
}

// The same for a table of gradients over species, ``stride`` numbers apart: each species in the tile after the other.
template <int R, int N, class Real>
__device__ __forceinline__ void add_gradients(
    double* gradient, int step, const Real* z, const Real* x, Real factor, bool there, int species, int stride) {
    for (unsigned left = __ballot_sync(ALL_LANES, there); left != 0;) {
        const int first = __shfl_sync(ALL_LANES, species, __ffs((int)left) - 1);
        const bool same = there && species == first;
        add_gradient<R, N>(gradient + (long long)first * stride, step, z, x, factor, same);
        left &= ~__ballot_sync(ALL_LANES, same);
    }
}
