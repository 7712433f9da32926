// Groups of threads that work together inside a warp, and where a thread stands in the grid.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ __forceinline__ long long global_thread() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

// The lanes of the group of WIDTH (a power of two) threads that this one belongs to.
template <int WIDTH>
__device__ __forceinline__ unsigned group_mask() {
    return WIDTH == 32 ? ALL_LANES : ((1u << (WIDTH & 31)) - 1u) << (threadIdx.x & 31 & ~(WIDTH - 1));
}

// Sums over a group of WIDTH threads, the same in all of them: a fixed tree, so the result does not depend on timing.
template <int WIDTH, class T>
__device__ __forceinline__ T group_sum(T value) {
    for (int step = WIDTH / 2; step > 0; step /= 2) value += __shfl_xor_sync(group_mask<WIDTH>(), value, step);
    return value;
}

template <int WIDTH, class T>
__device__ __forceinline__ T group_min(T value) {
    for (int step = WIDTH / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(group_mask<WIDTH>(), value, step);
        value = other < value ? other : value;
    }
    return value;
}

// The sum of the values of this lane and of those before it.
template <class T>
__device__ __forceinline__ T inclusive_sum(T value) {
    for (int step = 1; step < 32; step *= 2) {
        const T before = __shfl_up_sync(ALL_LANES, value, step);
        if ((threadIdx.x & 31) >= step) value += before;
    }
    return value;
}

// The last of n ascending offsets that is not above value: the segment, of n of them, that the value lies in.
__device__ __forceinline__ long long segment_of(const long long* offsets, long long n, long long value) {
    long long low = 0;
    while (n > 1) {
        const long long half = n / 2;
        if (offsets[low + half] <= value) {
            low += half;
            n -= half;
        } else {
            n = half;
        }
    }
    return low;
}
