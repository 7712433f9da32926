// What passes of a Program hear of each other: values of neighbours on edges, and sums over the edges that lead to atoms,
// in float64 and in an order that never changes.

#include "warp.cuh"

// A block takes the numbers of this many edges, which lie one after the other, with four threads for each of them.
constexpr int EDGES = 64;

// results[e, k] = values[neighbour[e], k] for k < size.
template <class Real>
__device__ __forceinline__ void gather_neighbours(
    const Real* values, const long long* neighbour, Real* results, int size, long long n_edges) {
    const long long first = (long long)blockIdx.x * EDGES, left = n_edges - first;
    const int count = (left < EDGES ? (int)left : EDGES) * size;
    for (int k = threadIdx.x; k < count; k += 4 * EDGES) {
        const int edge = k / size;
        results[first * size + k] = values[neighbour[first + edge] * size + (k - edge * size)];
    }
}

extern "C" __global__ void __launch_bounds__(256) gather_neighbours_float32(
    const float* __restrict__ values, const long long* __restrict__ neighbour, float* __restrict__ results, int size,
    long long n_edges) {
    gather_neighbours(values, neighbour, results, size, n_edges);
}

extern "C" __global__ void __launch_bounds__(256) gather_neighbours_float64(
    const double* __restrict__ values, const long long* __restrict__ neighbour, double* __restrict__ results, int size,
    long long n_edges) {
    gather_neighbours(values, neighbour, results, size, n_edges);
}

// One thread for each of n_atoms * size results: results[i, k] is the sum of values[reverse[e], k] over the edges e of
// atom i, one after the other. Neighbouring threads take neighbouring k.
template <class Real>
__device__ __forceinline__ void sum_reverse(
    const Real* values, const long long* reverse, const long long* edge_offsets, Real* results, int size,
    long long n_atoms) {
    const long long item = global_thread();
    if (item >= n_atoms * size) return;
    const long long i = item / size, end = edge_offsets[i + 1];
    const Real* const column = values + (item - i * size);
    double total = 0.0;
#pragma unroll 4
    for (long long e = edge_offsets[i]; e < end; e++) total += column[reverse[e] * size];
    results[item] = (Real)total;
}

extern "C" __global__ void __launch_bounds__(256) sum_reverse_float32(
    const float* __restrict__ values, const long long* __restrict__ reverse, const long long* __restrict__ edge_offsets,
    float* __restrict__ results, int size, long long n_atoms) {
    sum_reverse(values, reverse, edge_offsets, results, size, n_atoms);
}

extern "C" __global__ void __launch_bounds__(256) sum_reverse_float64(
    const double* __restrict__ values, const long long* __restrict__ reverse, const long long* __restrict__ edge_offsets,
    double* __restrict__ results, int size, long long n_atoms) {
    sum_reverse(values, reverse, edge_offsets, results, size, n_atoms);
}
