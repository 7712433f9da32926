// Sorting by one warp.
#pragma once

__device__ __forceinline__ bool before(int4 a, int4 b) {
    if (a.x != b.x) return a.x < b.x;
    if (a.y != b.y) return a.y < b.y;
    if (a.z != b.z) return a.z < b.z;
    return a.w < b.w;
}

template <class Keys>
__device__ __forceinline__ void compare_exchange(const Keys& keys, int low, int high) {
    const int4 a = keys.load(low), b = keys.load(high);
    if (before(b, a)) {
        keys.store(low, b);
        keys.store(high, a);
    }
}

// Sorts n keys, at most 2^30, in ascending order, with all lanes of a warp; `keys` has load(index) and
// store(index, int4).
//
// A bitonic network in which every exchange puts the smaller key at the lower index (Knuth, The Art of Computer
// Programming 3, 5.3.4, exercise 55): keys missing up to a power of two would stay where they are, so any n will do.
template <class Keys>
__device__ __forceinline__ void warp_sort(const Keys& keys, int n) {
    const int lane = threadIdx.x & 31;
    __syncwarp();
    for (int bits = 0; 1 << bits < n; bits++) {
        // merge sorted runs of 2^bits: first each with the next one mirrored, then at half the distance and so on
        const int run = 1 << bits;
        for (int t = lane;; t += 32) {
            const int begin = t >> bits << (bits + 1), k = t & (run - 1);
            if (begin + run >= n) break;
            if (begin + 2 * run - 1 - k < n) compare_exchange(keys, begin + k, begin + 2 * run - 1 - k);
        }
        __syncwarp();
        for (int finer = bits - 1; finer >= 0; finer--) {
            const int step = 1 << finer;
            for (int t = lane;; t += 32) {
                const int begin = t >> finer << (finer + 1), low = begin + (t & (step - 1));
                if (begin + step >= n) break;
                if (low + step < n) compare_exchange(keys, low, low + step);
            }
            __syncwarp();
        }
    }
}
