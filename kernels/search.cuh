// The search for the neighbours of one atom by one warp.
#pragma once

#include "bins.cuh"
#include "warp.cuh"

// Where an atom lies in the bins of its structure.
struct Location {
    double level[3];  // place along each direction in units of bins; inside the cell where it is periodic
    int wrap[3];      // the cell that the atom was brought back from
    long long bin;    // counted inside the structure
};

__device__ __forceinline__ Location locate(
    Vector position, const double* grid, const long long* bins, const bool* pbc) {
    Location at;
    at.bin = 0;
    for (int k = 0; k < 3; k++) {
        const double coordinate = dot(position, row(grid, k));
        const double cell = pbc[k] ? floor(coordinate) : 0.0;
        at.wrap[k] = (int)cell;
        at.level[k] = times(plus(coordinate, -cell), grid[9 + k]);
        const long long raw = (long long)floor(at.level[k]);
        // round-off may put an atom onto the upper plane of the cell
        const long long bin = pbc[k] ? min(raw, bins[k] - 1) : raw - floor_divide(raw, bins[k]) * bins[k];
        at.bin = at.bin * bins[k] + bin;
    }
    return at;
}

// All atoms of a batch, sorted by bins ("slots"); `starts` is the first slot of each bin.
struct Slots {
    const double* position;
    const double* level;
    const int* wrap;
    const int* place;
    const long long* starts;
};

// The structure that is searched.
struct Cell {
    const double* vectors;
    const double* grid;
    const long long* bins;
    const bool* pbc;
    long long first_bin;
};

// The bins within reach along one direction, one after the other: the bin, and the image of the cell that it is met in.
struct Walk {
    long long bin, bins, left;
    int image;
    bool periodic;

    __device__ __forceinline__ Walk(double level, double reach, long long n_bins, bool is_periodic)
        : bins(n_bins), periodic(is_periodic) {
        const long long low = (long long)floor(level - reach), high = (long long)floor(level + reach);
        const long long cell = floor_divide(low, bins);
        bin = low - cell * bins;
        image = periodic ? (int)cell : 0;
        left = high - low + 1;
        if (!periodic && left > bins) left = bins;
    }

    __device__ __forceinline__ void next(long long steps) {
        left -= steps;
        bin += steps;
        if (bin == bins) {
            bin = 0;
            image += periodic;
        }
    }
};

// Calls visit(hit, slot, shift0, shift1, shift2) in all lanes of a warp at once for all atoms that may be neighbours of
// the one in slot `own`, each image once; `hit` says whether it is closer than the cutoff.
template <class Visit>
__device__ __forceinline__ void visit_neighbours(
    const Slots& slots, const Cell& cell, long long own, double cutoff, Visit&& visit) {
    const Vector centre = row(slots.position, own);
    const double* level = slots.level + 3 * own;
    const double* reach = cell.grid + 12;
    const int wrap0 = slots.wrap[3 * own], wrap1 = slots.wrap[3 * own + 1], wrap2 = slots.wrap[3 * own + 2];
    const double square = times(cutoff, cutoff);
    const int lane = threadIdx.x & 31;
    // made once, because a division of 64 bits is slow
    const Walk second(level[1], reach[1], cell.bins[1], cell.pbc[1]);
    const Walk third(level[2], reach[2], cell.bins[2], cell.pbc[2]);
    for (Walk a(level[0], reach[0], cell.bins[0], cell.pbc[0]); a.left > 0; a.next(1)) {
        for (Walk b = second; b.left > 0; b.next(1)) {
            const long long column = cell.first_bin + (a.bin * b.bins + b.bin) * third.bins;
            Walk c = third;
            while (c.left > 0) {
                // bins of a column follow one another, and so do their atoms
                const long long run = min(c.left, c.bins - c.bin);
                const long long end = slots.starts[column + c.bin + run];
                for (long long first = slots.starts[column + c.bin]; first < end; first += 32) {
                    const long long slot = first + lane;
                    int shift0 = 0, shift1 = 0, shift2 = 0;
                    bool hit = false;
                    if (slot < end) {
                        shift0 = a.image - slots.wrap[3 * slot] + wrap0;
                        shift1 = b.image - slots.wrap[3 * slot + 1] + wrap1;
                        shift2 = c.image - slots.wrap[3 * slot + 2] + wrap2;
                        const Vector edge =
                            edge_vector(centre, row(slots.position, slot), cell.vectors, shift0, shift1, shift2);
                        const bool itself = slot == own && shift0 == 0 && shift1 == 0 && shift2 == 0;
                        hit = !itself && dot(edge, edge) < square;
                    }
                    visit(hit, slot, shift0, shift1, shift2);
                }
                c.next(run);
            }
        }
    }
}
