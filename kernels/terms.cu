// The terms of a potential beside its network, in float64; etn_gpu/backend/terms.py has the formulas.
//
// A row of the table of pairs: inner, outer, off, on, strength, inverse screening length; of the table of species: four
// densities, mean energy, cohesive energy, usual density, stiffness, four bounds of the network; of a site: weight, its derivatives in density and closeness, the
// energy outside of the network, its derivative, half the repulsion.

#include "warp.cuh"

constexpr int PAIR_COLUMNS = 6, SPECIES_COLUMNS = 12, SITE_COLUMNS = 6;

struct Switched {
    double value, slope;
};

__device__ __forceinline__ Switched smoothstep(double x) {
    const double t = fmin(fmax(x, 0.0), 1.0), rest = t * (1.0 - t);
    return {t * t * t * (10.0 + t * (6.0 * t - 15.0)), 30.0 * rest * rest};
}

__device__ __forceinline__ Switched closeness(double r, const double* pair) {
    if (r >= pair[3]) return {0.0, 0.0};
    const double width = pair[3] - pair[2], t = (pair[3] - r) / width;
    return {t * t * t, -3.0 * t * t / width};
}

__device__ __forceinline__ Switched repulsion(double r, const double* pair) {
    constexpr double SHARES[4] = {0.18175, 0.50986, 0.28022, 0.02817};
    constexpr double DECAYS[4] = {3.19980, 0.94229, 0.40290, 0.20162};
    if (r >= pair[1]) return {0.0, 0.0};
    double phi = 0.0, slope = 0.0;
#pragma unroll 1
    for (int k = 0; k < 4; k++) {
        const double part = SHARES[k] * exp(-DECAYS[k] * (r * pair[5]));
        phi += part;
        slope -= DECAYS[k] * part;
    }
    const double width = pair[1] - pair[0], coulomb = pair[4] / r;
    const Switched on = smoothstep((pair[1] - r) / width);
    const double by_r = coulomb * (pair[5] * slope - phi / r);
    return {coulomb * phi * on.value, by_r * on.value - coulomb * phi * on.slope / width};
}

__device__ __forceinline__ Switched bounded(double output, const double* row) {
    const bool above = output > row[10];
    if (!above && !(output < row[9])) return {output, 1.0};
    const double limit = above ? row[10] : row[9], width = above ? row[11] - row[10] : row[9] - row[8];
    const double beyond = tanh((output - limit) / width);
    return {limit + width * beyond, 1.0 - beyond * beyond};
}

__device__ __forceinline__ void write_site(
    const double* row, double density, double close, double half, double* site, double* weight) {
    Switched rise = {1.0, 0.0};
    if (row[1] > 0.0) {
        rise = smoothstep((density - row[0]) / (row[1] - row[0]));
        rise.slope /= row[1] - row[0];
    }
    const Switched fall = smoothstep((row[3] - density) / (row[3] - row[2])), apart = smoothstep(1.0 - close);
    const double beyond = density / row[6] - 1.0, dense = fmax(beyond, 0.0);
    site[0] = *weight = rise.value * fall.value * apart.value;
    site[1] = (rise.slope * fall.value - rise.value * (fall.slope / (row[3] - row[2]))) * apart.value;
    site[2] = -(rise.value * fall.value * apart.slope);
    site[3] = row[4] + row[5] * beyond * beyond + row[7] * (dense * dense * dense);
    site[4] = (2.0 * row[5] * beyond + 3.0 * row[7] * (dense * dense)) / row[6];
    site[5] = half;
}

// Eight threads for each atom: its site, and the weight of the network there. `reaches` are squares of the distances of
// pairs of species that matter one by one.
extern "C" __global__ void __launch_bounds__(128) site_terms(
    const double* __restrict__ vectors, const long long* __restrict__ edge_offsets, const int* __restrict__ species,
    const int* __restrict__ edge_species, const double* __restrict__ pairs, const double* __restrict__ reaches,
    const double* __restrict__ table, double* __restrict__ sites, double* __restrict__ weights, double cutoff,
    int n_species, long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    const long long first = (long long)species[i] * n_species;
    const double inverse = 1.0 / (cutoff * cutoff);
    double density = 0.0, close = 0.0, half = 0.0;
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const double x = vectors[3 * e], y = vectors[3 * e + 1], z = vectors[3 * e + 2];
        const double square = x * x + y * y + z * z, t = fmax(1.0 - square * inverse, 0.0);
        density += t * t * t;
        const long long kind = first + edge_species[e];
        if (square < reaches[kind]) {
            const double r = sqrt(square);
            close += closeness(r, pairs + kind * PAIR_COLUMNS).value;
            half += 0.5 * repulsion(r, pairs + kind * PAIR_COLUMNS).value;
        }
    }
    density = group_sum<8>(density);
    close = group_sum<8>(close);
    half = group_sum<8>(half);
    if (threadIdx.x % 8 != 0) return;
    write_site(table + species[i] * (long long)SPECIES_COLUMNS, density, close, half, sites + i * SITE_COLUMNS, weights + i);
}

// energies[i]: of atom i beyond the references, from the outputs of the Program; these do not matter without weight.
template <class Real>
__device__ __forceinline__ void site_energies(
    const Real* outputs, const int* species, const double* table, const double* sites, double* energies,
    long long n_atoms) {
    const long long i = global_thread();
    if (i >= n_atoms) return;
    const double* site = sites + i * SITE_COLUMNS;
    const double* row = table + species[i] * (long long)SPECIES_COLUMNS;
    const double known = site[0] > 0.0 ? bounded(outputs[i], row).value : 0.0;
    energies[i] = site[0] * known + (1.0 - site[0]) * site[3] + site[5];
}

extern "C" __global__ void __launch_bounds__(256) site_energies_float32(
    const float* __restrict__ outputs, const int* __restrict__ species, const double* __restrict__ table,
    const double* __restrict__ sites, double* __restrict__ energies, long long n_atoms) {
    site_energies(outputs, species, table, sites, energies, n_atoms);
}

extern "C" __global__ void __launch_bounds__(256) site_energies_float64(
    const double* __restrict__ outputs, const int* __restrict__ species, const double* __restrict__ table,
    const double* __restrict__ sites, double* __restrict__ energies, long long n_atoms) {
    site_energies(outputs, species, table, sites, energies, n_atoms);
}

// Eight threads for each atom: gradients of the energy by edge vectors, those of the Program before, of all terms
// afterwards. Edges of atoms where no other term is at work are not touched.
template <class Real>
__device__ __forceinline__ void add_to_gradients(
    const double* vectors, const long long* edge_offsets, const int* species, const int* edge_species,
    const double* pairs, const double* reaches, const double* table, const double* sites, const Real* outputs,
    Real* gradient, double cutoff, int n_species, long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    const double* site = sites + i * SITE_COLUMNS;
    const double weight = site[0];
    Switched known = {0.0, 0.0};
    if (weight > 0.0) known = bounded(outputs[i], table + species[i] * (long long)SPECIES_COLUMNS);
    const double excess = weight > 0.0 ? known.value - site[3] : 0.0;
    const double by_density = excess * site[1] + (1.0 - weight) * site[4], by_closeness = excess * site[2];
    if (weight == 1.0 && known.slope == 1.0 && by_density == 0.0 && by_closeness == 0.0 && site[5] == 0.0) return;
    const long long first = (long long)species[i] * n_species;
    const double inverse = 1.0 / (cutoff * cutoff);
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const double x = vectors[3 * e], y = vectors[3 * e + 1], z = vectors[3 * e + 2];
        const double square = x * x + y * y + z * z, t = fmax(1.0 - square * inverse, 0.0);
        double factor = by_density * (-6.0 * inverse) * (t * t);
        const long long kind = first + edge_species[e];
        if (square < reaches[kind]) {
            const double r = sqrt(square);
            const double* pair = pairs + kind * PAIR_COLUMNS;
            factor += (by_closeness * closeness(r, pair).slope + 0.5 * repulsion(r, pair).slope) / r;
        }
        for (int k = 0; k < 3; k++) {
            const double own = known.slope != 0.0 ? known.slope * gradient[3 * e + k] : 0.0;
            gradient[3 * e + k] = (Real)(own + factor * vectors[3 * e + k]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) add_to_gradients_float32(
    const double* __restrict__ vectors, const long long* __restrict__ edge_offsets, const int* __restrict__ species,
    const int* __restrict__ edge_species, const double* __restrict__ pairs, const double* __restrict__ reaches,
    const double* __restrict__ table, const double* __restrict__ sites, const float* __restrict__ outputs,
    float* __restrict__ gradient, double cutoff, int n_species, long long n_atoms) {
    add_to_gradients(
        vectors, edge_offsets, species, edge_species, pairs, reaches, table, sites, outputs, gradient, cutoff, n_species,
        n_atoms);
}

extern "C" __global__ void __launch_bounds__(128) add_to_gradients_float64(
    const double* __restrict__ vectors, const long long* __restrict__ edge_offsets, const int* __restrict__ species,
    const int* __restrict__ edge_species, const double* __restrict__ pairs, const double* __restrict__ reaches,
    const double* __restrict__ table, const double* __restrict__ sites, const double* __restrict__ outputs,
    double* __restrict__ gradient, double cutoff, int n_species, long long n_atoms) {
    add_to_gradients(
        vectors, edge_offsets, species, edge_species, pairs, reaches, table, sites, outputs, gradient, cutoff, n_species,
        n_atoms);
}
