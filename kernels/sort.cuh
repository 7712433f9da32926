// Sorting by one warp.
#pragma once

__device__ __forceinline__ bool before(int4 a, int4 b) {
    if (a.x != b.x) return a.x < b.x;
    if (a.y != b.y) return a.y < b.y;
    if (a.z != b.z) return a.z < b.z;
    return a.w < b.w;
}

template <class Keys>
__device__ __forceinline__ void compare_exchange(Keys& keys, long long low, long long high) {
    const int4 a = keys.load(low), b = keys.load(high);
    if (before(b, a)) {
        keys.store(low, b);
        keys.store(high, a);
    }
}

// Sorts n keys in ascending order, with all lanes of a warp; `keys` has load(index) and store(index, int4).
//
// A bitonic network in which every exchange puts the smaller key at the lower index (Knuth, The Art of Computer
// Programming 3, 5.3.4, exercise 55): keys missing up to a power of two would stay where they are, so any n will do.
template <class Keys>
__device__ __forceinline__ void warp_sort(Keys keys, long long n) {
    const int lane = threadIdx.x & 31;
    __syncwarp();
    for (long long size = 2; size / 2 < n; size *= 2) {
        const long long half = size / 2;
        for (long long t = lane;; t += 32) {
            const long long block = t / half * size, low = t % half;
            if (block + half >= n) break;
            if (block + size - 1 - low < n) compare_exchange(keys, block + low, block + size - 1 - low);
        }
        __syncwarp();
        for (long long step = half / 2; step > 0; step /= 2) {
            for (long long t = lane;; t += 32) {
                const long long low = t / step * 2 * step + t % step;
                if (t / step * 2 * step + step >= n) break;
                if (low + step < n) compare_exchange(keys, low, low + step);
            }
            __syncwarp();
        }
    }
}
