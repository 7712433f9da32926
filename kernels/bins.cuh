// Bins of a structure, along its own cell vectors.
//
// Along a periodic direction the cell is cut into bins at least half as wide as the cutoff, and the same bins are met again
// as images. Narrower ones would spare a few atoms that are looked at, and make more columns of bins than a warp has lanes.
// A cell smaller than that is one bin with many images. Along a direction that is not periodic, bins of fixed width are
// numbered around a ring, so an atom far away needs no further bins. Different bins that share a number only cost a look.
#pragma once

#include "lattice.cuh"

// Bins of all structures lie one after the other; those of structure s, with the atoms from `first` on, begin here.
constexpr int BINS_PER_ATOM = 1, MORE_BINS = 32;
__device__ __forceinline__ long long first_bin(long long first, long long s) {
    return BINS_PER_ATOM * first + MORE_BINS * s;
}

// Bins are chosen for this much more than the cutoff, so that round-off cannot lose a pair.
constexpr double MARGIN = 1.0 + 1e-6;

// So many bins span the cutoff, at most.
constexpr double BINS_PER_CUTOFF = 2.0;

// A row of `grids`: reciprocal vectors (9), bins per unit of each coordinate (3), the reach of the cutoff in bins (3).
constexpr int GRID_SIZE = 15;

// Rounds towards minus infinity; b > 0.
__device__ __forceinline__ long long floor_divide(long long a, long long b) {
    const long long quotient = a / b;
    return quotient * b > a ? quotient - 1 : quotient;
}

// Bins of one structure of n atoms: fills its rows of grids [15] and bins [3].
__device__ inline void make_grid(
    const double* cell, const bool* pbc, long long n, double cutoff, double* grid, long long* bins) {
    Vector basis[3], dual[3];
    frame(cell, pbc, basis);
    reciprocal(basis, dual);
    const double reach = MARGIN * cutoff, most = (double)(BINS_PER_ATOM * n + MORE_BINS);
    double heights[3], count[3], product = 1.0;
    int open = 0;
    for (int k = 0; k < 3; k++) {
        heights[k] = 1.0 / sqrt(dot(dual[k], dual[k]));
        count[k] = pbc[k] ? fmax(floor(BINS_PER_CUTOFF * heights[k] / reach), 1.0) : 1.0;
        product *= count[k];
        open += !pbc[k];
    }
    while (product > most) {
        const int k = count[0] >= count[1] && count[0] >= count[2] ? 0 : (count[1] >= count[2] ? 1 : 2);
        product /= count[k];
        count[k] = ceil(count[k] / 2.0);
        product *= count[k];
    }
    const double ring = floor(open == 1 ? most / product : (open == 2 ? sqrt(most / product) : cbrt(most / product)));
    for (int k = 0; k < 3; k++) {
        const double scale = pbc[k] ? count[k] : BINS_PER_CUTOFF / reach;
        bins[k] = (long long)(pbc[k] ? count[k] : fmax(ring, 1.0));
        grid[3 * k] = dual[k].x;
        grid[3 * k + 1] = dual[k].y;
        grid[3 * k + 2] = dual[k].z;
        grid[9 + k] = scale;
        grid[12 + k] = reach / heights[k] * scale;
    }
}
