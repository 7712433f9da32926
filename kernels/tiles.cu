// Arrays [n_atoms, size] to tiles [n_tiles, size, 32] of slots and back, and sums of rows in an order that never changes.

#include "warp.cuh"

// Where the thread that is number `item` of n_slots * size stands: the slot and component of an element of the tiles.
struct Place {
    long long slot;
    int component;

    __device__ __forceinline__ Place(long long item, int size) {
        const long long row = item / 32;
        const long long tile = row / size;
        slot = tile * 32 + item % 32;
        component = (int)(row - tile * size);
    }
};

// One thread for each element of the tiles; padding, where the atom is -1, becomes 0.
template <class Given, class Real>
__device__ __forceinline__ void gather_tiles(
    const Given* values, const long long* atoms, Real* tiles, int size, long long n_slots) {
    const long long item = global_thread();
    if (item >= n_slots * size) return;
    const Place at(item, size);
    const long long atom = atoms[at.slot];
    tiles[item] = atom < 0 ? Real(0) : (Real)values[atom * size + at.component];
}

template <class Real>
__device__ __forceinline__ void scatter_tiles(
    const Real* tiles, const long long* atoms, Real* values, int size, long long n_slots) {
    const long long item = global_thread();
    if (item >= n_slots * size) return;
    const Place at(item, size);
    const long long atom = atoms[at.slot];
    if (atom >= 0) values[atom * size + at.component] = tiles[item];
}

extern "C" __global__ void __launch_bounds__(256) gather_tiles_float32(
    const double* __restrict__ values, const long long* __restrict__ atoms, float* __restrict__ tiles, int size,
    long long n_slots) {
    gather_tiles(values, atoms, tiles, size, n_slots);
}

extern "C" __global__ void __launch_bounds__(256) gather_tiles_float64(
    const double* __restrict__ values, const long long* __restrict__ atoms, double* __restrict__ tiles, int size,
    long long n_slots) {
    gather_tiles(values, atoms, tiles, size, n_slots);
}

// What an earlier pass of a Program made in float32.
extern "C" __global__ void __launch_bounds__(256) gather_kept_float32(
    const float* __restrict__ values, const long long* __restrict__ atoms, float* __restrict__ tiles, int size,
    long long n_slots) {
    gather_tiles(values, atoms, tiles, size, n_slots);
}

extern "C" __global__ void __launch_bounds__(256) scatter_tiles_float32(
    const float* __restrict__ tiles, const long long* __restrict__ atoms, float* __restrict__ values, int size,
    long long n_slots) {
    scatter_tiles(tiles, atoms, values, size, n_slots);
}

extern "C" __global__ void __launch_bounds__(256) scatter_tiles_float64(
    const double* __restrict__ tiles, const long long* __restrict__ atoms, double* __restrict__ values, int size,
    long long n_slots) {
    scatter_tiles(tiles, atoms, values, size, n_slots);
}

// Sums that one thread keeps side by side, so that as many loads are on their way at a time.
constexpr int PARTS = 8;

// One thread for each of n_samples * columns results: results[s, k] is the sum of values[r, k] over the rows
// r = offsets[s] .. offsets[s+1]-1. Neighbouring threads take neighbouring columns.
extern "C" __global__ void __launch_bounds__(128) column_sums(
    const double* __restrict__ values, const long long* __restrict__ offsets, double* __restrict__ results, int columns,
    long long n_samples) {
    const long long item = global_thread();
    if (item >= n_samples * columns) return;
    const long long sample = item / columns, end = offsets[sample + 1];
    const double* const column = values + (item - sample * columns);
    double parts[PARTS] = {};
    long long row = offsets[sample];
    for (; row + PARTS <= end; row += PARTS) {
#pragma unroll
        for (int k = 0; k < PARTS; k++) parts[k] += column[(row + k) * columns];
    }
    for (; row < end; row++) parts[0] += column[row * columns];
#pragma unroll
    for (int step = PARTS / 2; step > 0; step /= 2) {
#pragma unroll
        for (int k = 0; k < step; k++) parts[k] += parts[k + step];
    }
    results[item] = parts[0];
}
