// How far atoms keep from each other, compared with what a model has seen.

#include "warp.cuh"

// Eight threads for each atom: the least of |x_e| - limits[species of the atom, species of the neighbour] over its edges
// e, in the unit of the edge vectors x; infinite for an atom without edges.
extern "C" __global__ void __launch_bounds__(128) atom_margins(
    const double* __restrict__ vectors, const long long* __restrict__ edge_offsets, const int* __restrict__ species,
    const int* __restrict__ edge_species, const double* __restrict__ limits, double* __restrict__ margins,
    int n_species, long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    const double* row = limits + (long long)species[i] * n_species;
    double least = __longlong_as_double(0x7ff0000000000000LL);
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const double x = vectors[3 * e], y = vectors[3 * e + 1], z = vectors[3 * e + 2];
        least = fmin(least, sqrt(x * x + y * y + z * z) - row[edge_species[e]]);
    }
    least = group_min<8>(least);
    if (threadIdx.x % 8 == 0) margins[i] = least;
}
