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
    long long first_bin, first_slot;
};

// The bins within reach along one direction: `count` of them from `bin` on, round and round through all `bins`; `image` is
// the cell in which the first is met.
struct Reach {
    int bin, bins, count, image, periodic;

    __device__ __forceinline__ Reach(double level, double reach, long long n_bins, bool is_periodic)
        : bins((int)n_bins), periodic(is_periodic) {
        const long long low = (long long)floor(level - reach), high = (long long)floor(level + reach);
        const long long cell = floor_divide(low, n_bins);
        bin = (int)(low - cell * n_bins);
        image = periodic ? (int)cell : 0;
        count = (int)(high - low + 1);
        if (!periodic && count > bins) count = bins;
    }

    // What another lane has found.
    __device__ __forceinline__ Reach of_lane(int lane) const {
        Reach found = *this;
        found.bin = __shfl_sync(ALL_LANES, bin, lane);
        found.bins = __shfl_sync(ALL_LANES, bins, lane);
        found.count = __shfl_sync(ALL_LANES, count, lane);
        found.image = __shfl_sync(ALL_LANES, image, lane);
        found.periodic = __shfl_sync(ALL_LANES, periodic, lane);
        return found;
    }

    // How often one comes to bin 0 on the way, and once for where one begins.
    __device__ __forceinline__ int rounds() const { return (bin + count - 1) / bins + 1; }

    // Round number `round` is in this cell.
    __device__ __forceinline__ int cell(int round) const { return image + (periodic ? round : 0); }
};

// An atom that may be a neighbour: its slot, the cell in which it is met, and the shift of the edge to it.
struct Candidate {
    long long slot;
    int cell0, cell1, cell2, shift0, shift1, shift2;
};

// The surroundings of the atom in slot `own`, which one warp looks through.
struct Search {
    const Slots& slots;
    const Cell& cell;
    long long own;
    Reach first, second, third;

    __device__ __forceinline__ Search(const Slots& of_atoms, const Cell& structure, long long slot)
        : Search(of_atoms, structure, slot, along(of_atoms, structure, slot, min(threadIdx.x & 31, 2))) {}

    // Each direction is left to one lane, because a division of 64 bits is slow.
    __device__ __forceinline__ Search(
        const Slots& of_atoms, const Cell& structure, long long slot, const Reach& of_own_direction)
        : slots(of_atoms),
          cell(structure),
          own(slot),
          first(of_own_direction.of_lane(0)),
          second(of_own_direction.of_lane(1)),
          third(of_own_direction.of_lane(2)) {}

    __device__ __forceinline__ static Reach along(
        const Slots& slots, const Cell& cell, long long own, int direction) {
        const double level = slots.level[3 * own + direction];
        return Reach(level, cell.grid[12 + direction], cell.bins[direction], cell.pbc[direction]);
    }

    // Whether the cells in which neighbours are met all lie from -most to most - 1.
    __device__ __forceinline__ bool cells_within(int most) const {
        const auto within = [&](const Reach& r) { return r.image >= -most && r.cell(r.rounds() - 1) < most; };
        return within(first) && within(second) && within(third);
    }

    // Calls visit(hit, candidate) in all lanes at once for all atoms that may be neighbours, each image once; `hit` says
    // whether it is closer than the cutoff.
    //
    // There are far fewer runs than 2^31: a structure of which more images come within the cutoff is not admitted.
    // Bins that follow one another along the third direction hold atoms that follow one another: a run. Every lane looks up
    // a run; then all lanes share the atoms of these runs evenly, so that short runs leave no lane idle.
    template <class Visit>
    __device__ __forceinline__ void visit_neighbours(double cutoff, Visit&& visit) const {
        const Vector centre = row(slots.position, own);
        const int wrap0 = slots.wrap[3 * own], wrap1 = slots.wrap[3 * own + 1], wrap2 = slots.wrap[3 * own + 2];
        const double square = times(cutoff, cutoff);
        const int lane = threadIdx.x & 31;
        const int rounds = third.rounds(), runs = first.count * second.count * rounds;
        for (int before = 0; before < runs; before += 32) {
            const int run = before + lane, column = run / rounds, round = run - column * rounds;
            const int at0 = first.bin + column / second.count, at1 = second.bin + column % second.count;
            const int round0 = at0 / first.bins, round1 = at1 / second.bins;
            int begin = 0, length = 0;
            if (run < runs) {
                const int bin0 = at0 - round0 * first.bins, bin1 = at1 - round1 * second.bins;
                const long long row_of_bins = (long long)bin0 * second.bins + bin1;
                const long long* const starts = slots.starts + cell.first_bin + row_of_bins * third.bins;
                const int stop = third.bin + third.count - round * third.bins;
                begin = (int)(starts[round == 0 ? third.bin : 0] - cell.first_slot);
                length = (int)(starts[min(stop, third.bins)] - cell.first_slot) - begin;
            }
            const int cell0 = first.cell(round0), cell1 = second.cell(round1), cell2 = third.cell(round);
            // candidate k of all runs is number k - (sum of the lengths before) of the last run that begins before it
            const int end = inclusive_sum(length), all = __shfl_sync(ALL_LANES, end, 31), origin = begin + length - end;
            for (int k = lane; k - lane < all; k += 32) {
                int owner = 0;
#pragma unroll
                for (int step = 16; step > 0; step /= 2) {
                    const int ends = __shfl_sync(ALL_LANES, end, owner + step - 1);
                    if (ends <= k) owner += step;
                }
                Candidate c;
                c.slot = cell.first_slot + __shfl_sync(ALL_LANES, origin, owner) + k;
                c.cell0 = __shfl_sync(ALL_LANES, cell0, owner);
                c.cell1 = __shfl_sync(ALL_LANES, cell1, owner);
                c.cell2 = __shfl_sync(ALL_LANES, cell2, owner);
                bool hit = false;
                if (k < all) {
                    c.shift0 = c.cell0 - slots.wrap[3 * c.slot] + wrap0;
                    c.shift1 = c.cell1 - slots.wrap[3 * c.slot + 1] + wrap1;
                    c.shift2 = c.cell2 - slots.wrap[3 * c.slot + 2] + wrap2;
                    const Vector edge = edge_vector(
                        centre, row(slots.position, c.slot), cell.vectors, c.shift0, c.shift1, c.shift2);
                    const bool itself = c.slot == own && c.shift0 == 0 && c.shift1 == 0 && c.shift2 == 0;
                    hit = !itself && dot(edge, edge) < square;
                }
                visit(hit, c);
            }
        }
    }
};
