// Energies of atoms, and sums over the edges of atoms and over the atoms of structures: in float64, each in an order that
// never changes.

#include "warp.cuh"

// Eight threads for each atom: forces[i] = sum_e (g_e - g_reverse(e)), and virials[i] = sum_e x_e g_e, symmetrised, in
// the order xx, yy, zz, yz, xz, xy. The gradients are those of the energy with respect to edge vectors.
template <class Real>
__device__ __forceinline__ void edge_sums(
    const Real* gradient, const double* vectors, const long long* reverse, const long long* edge_offsets,
    double* forces, double* virials, long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    double sums[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const long long r = reverse[e];
        const double x = vectors[3 * e], y = vectors[3 * e + 1], z = vectors[3 * e + 2];
        const double a = gradient[3 * e], b = gradient[3 * e + 1], c = gradient[3 * e + 2];
        sums[0] += a - gradient[3 * r];
        sums[1] += b - gradient[3 * r + 1];
        sums[2] += c - gradient[3 * r + 2];
        sums[3] += x * a;
        sums[4] += y * b;
        sums[5] += z * c;
        sums[6] += 0.5 * (y * c + z * b);
        sums[7] += 0.5 * (x * c + z * a);
        sums[8] += 0.5 * (x * b + y * a);
    }
    for (int k = 0; k < 9; k++) sums[k] = group_sum<8>(sums[k]);
    if (threadIdx.x % 8 != 0) return;
    for (int k = 0; k < 3; k++) forces[3 * i + k] = sums[k];
    for (int k = 0; k < 6; k++) virials[6 * i + k] = sums[3 + k];
}

extern "C" __global__ void __launch_bounds__(128, 6) edge_sums_float32(
    const float* __restrict__ gradient, const double* __restrict__ vectors, const long long* __restrict__ reverse,
    const long long* __restrict__ edge_offsets, double* __restrict__ forces, double* __restrict__ virials,
    long long n_atoms) {
    edge_sums(gradient, vectors, reverse, edge_offsets, forces, virials, n_atoms);
}

extern "C" __global__ void __launch_bounds__(128, 6) edge_sums_float64(
    const double* __restrict__ gradient, const double* __restrict__ vectors, const long long* __restrict__ reverse,
    const long long* __restrict__ edge_offsets, double* __restrict__ forces, double* __restrict__ virials,
    long long n_atoms) {
    edge_sums(gradient, vectors, reverse, edge_offsets, forces, virials, n_atoms);
}

// energies[i] = values[i] + the reference energy of the species of atom i, of which float32 would keep few digits.
template <class Real>
__device__ __forceinline__ void add_references(
    const Real* values, const double* references, const int* species, double* energies, long long n_atoms) {
    const long long i = global_thread();
    if (i < n_atoms) energies[i] = references[species[i]] + values[i];
}

extern "C" __global__ void __launch_bounds__(256) add_references_float32(
    const float* __restrict__ values, const double* __restrict__ references, const int* __restrict__ species,
    double* __restrict__ energies, long long n_atoms) {
    add_references(values, references, species, energies, n_atoms);
}

extern "C" __global__ void __launch_bounds__(256) add_references_float64(
    const double* __restrict__ values, const double* __restrict__ references, const int* __restrict__ species,
    double* __restrict__ energies, long long n_atoms) {
    add_references(values, references, species, energies, n_atoms);
}

struct Sum {
    __device__ __forceinline__ static double neutral() { return 0.0; }
    __device__ __forceinline__ double operator()(double a, double b) const { return a + b; }
};

struct Minimum {
    __device__ __forceinline__ static double neutral() { return __longlong_as_double(0x7ff0000000000000LL); }
    __device__ __forceinline__ double operator()(double a, double b) const { return fmin(a, b); }
};

// A block has this many threads; the number of columns must divide it, so that a thread stays in one column.
constexpr int REDUCTION_THREADS = 192;

// One block for each segment of rows of values [., columns]: the rows offsets[k] .. offsets[k+1]-1 are reduced to row k of
// results. First every thread takes rows at a fixed distance, then a tree takes the threads of each column.
template <class Operation, class Real>
__device__ __forceinline__ void reduce_segment(
    const Real* values, const long long* offsets, double* results, int columns) {
    __shared__ double partial[REDUCTION_THREADS];
    const Operation combine;
    const int t = threadIdx.x;
    const long long end = offsets[blockIdx.x + 1LL] * columns;
    double own = Operation::neutral();
    for (long long k = offsets[blockIdx.x] * columns + t; k < end; k += REDUCTION_THREADS) {
        own = combine(own, values[k]);
    }
    partial[t] = own;
    for (int rows = REDUCTION_THREADS / columns; rows > 1;) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if (t < (rows - half) * columns) partial[t] = combine(partial[t], partial[t + half * columns]);
        rows = half;
    }
    if (t < columns) results[(long long)blockIdx.x * columns + t] = partial[t];
}

extern "C" __global__ void __launch_bounds__(REDUCTION_THREADS) segment_sum_float32(
    const float* __restrict__ values, const long long* __restrict__ offsets, double* __restrict__ results, int columns) {
    reduce_segment<Sum>(values, offsets, results, columns);
}

extern "C" __global__ void __launch_bounds__(REDUCTION_THREADS) segment_sum_float64(
    const double* __restrict__ values, const long long* __restrict__ offsets, double* __restrict__ results,
    int columns) {
    reduce_segment<Sum>(values, offsets, results, columns);
}

extern "C" __global__ void __launch_bounds__(REDUCTION_THREADS) segment_min_float64(
    const double* __restrict__ values, const long long* __restrict__ offsets, double* __restrict__ results,
    int columns) {
    reduce_segment<Minimum>(values, offsets, results, columns);
}
