// Full neighbour lists of many structures: edges sorted by (centre, species of neighbour, neighbour, shift).
//
// S structures with N atoms; structure s has the atoms atom_offsets[s] .. atom_offsets[s+1]-1. `order` lists the atoms
// by structure, then species, then index: the place of an atom in it is what edges are sorted by.

#include "search.cuh"
#include "sort.cuh"

// Sorting by these keys lists the atoms in `order`.
extern "C" __global__ void __launch_bounds__(256) species_keys(
    const long long* __restrict__ atom_offsets, const int* __restrict__ species, long long* __restrict__ keys,
    long long n_structures, long long n_atoms, int n_species) {
    const long long i = global_thread();
    if (i < n_atoms) keys[i] = segment_of(atom_offsets, n_structures, i) * n_species + species[i];
}

// One thread for each structure: its bins.
extern "C" __global__ void __launch_bounds__(64) make_grids(
    const double* __restrict__ cells, const bool* __restrict__ pbc, const long long* __restrict__ atom_offsets,
    double* __restrict__ grids, long long* __restrict__ bins, double cutoff, long long n_structures) {
    const long long s = global_thread();
    if (s >= n_structures) return;
    const long long n = atom_offsets[s + 1] - atom_offsets[s];
    make_grid(cells + 9 * s, pbc + 3 * s, n, cutoff, grids + GRID_SIZE * s, bins + 3 * s);
}

// One thread for each place in `order`: how many atoms each bin holds. Sums of integers do not depend on their order.
extern "C" __global__ void __launch_bounds__(256) count_bins(
    const double* __restrict__ positions, const long long* __restrict__ order, const bool* __restrict__ pbc,
    const long long* __restrict__ atom_offsets, const double* __restrict__ grids, const long long* __restrict__ bins,
    int* __restrict__ counts, long long n_structures, long long n_atoms) {
    const long long p = global_thread();
    if (p >= n_atoms) return;
    const long long s = segment_of(atom_offsets, n_structures, p);
    const Location at = locate(row(positions, order[p]), grids + GRID_SIZE * s, bins + 3 * s, pbc + 3 * s);
    atomicAdd(&counts[first_bin(atom_offsets[s], s) + at.bin], 1);
}

// One thread for each place in `order`: sorts the atoms into their bins, which counts `counts` down to 0. In which order
// the atoms of a bin come may differ from run to run; sorting the edges undoes it.
extern "C" __global__ void __launch_bounds__(256) fill_bins(
    const double* __restrict__ positions, const long long* __restrict__ order, const bool* __restrict__ pbc,
    const long long* __restrict__ atom_offsets, const double* __restrict__ grids, const long long* __restrict__ bins,
    const long long* __restrict__ starts, int* __restrict__ counts, double* __restrict__ slot_position,
    double* __restrict__ slot_level, int* __restrict__ slot_wrap, int* __restrict__ slot_place, long long n_structures,
    long long n_atoms) {
    const long long p = global_thread();
    if (p >= n_atoms) return;
    const long long s = segment_of(atom_offsets, n_structures, p);
    const Vector position = row(positions, order[p]);
    const Location at = locate(position, grids + GRID_SIZE * s, bins + 3 * s, pbc + 3 * s);
    const long long bin = first_bin(atom_offsets[s], s) + at.bin;
    const long long slot = starts[bin] + atomicSub(&counts[bin], 1) - 1;
    slot_position[3 * slot] = position.x;
    slot_position[3 * slot + 1] = position.y;
    slot_position[3 * slot + 2] = position.z;
    for (int k = 0; k < 3; k++) {
        slot_level[3 * slot + k] = at.level[k];
        slot_wrap[3 * slot + k] = at.wrap[k];
    }
    slot_place[slot] = (int)(p - atom_offsets[s]);
}

__device__ __forceinline__ Cell cell_of(
    const double* cells, const double* grids, const long long* bins, const bool* pbc, const long long* atom_offsets,
    long long s) {
    const long long first = atom_offsets[s];
    return {cells + 9 * s, grids + GRID_SIZE * s, bins + 3 * s, pbc + 3 * s, first_bin(first, s), first};
}

// One warp for each slot: how many edges its atom has.
extern "C" __global__ void __launch_bounds__(128) count_edges(
    const double* __restrict__ cells, const double* __restrict__ grids, const long long* __restrict__ bins,
    const bool* __restrict__ pbc, const long long* __restrict__ atom_offsets, const long long* __restrict__ order,
    const double* __restrict__ slot_position, const double* __restrict__ slot_level, const int* __restrict__ slot_wrap,
    const int* __restrict__ slot_place, const long long* __restrict__ starts, long long* __restrict__ counts,
    double cutoff, long long n_structures, long long n_atoms) {
    const long long own = global_thread() / 32;
    if (own >= n_atoms) return;
    const long long s = segment_of(atom_offsets, n_structures, own);
    const Slots slots = {slot_position, slot_level, slot_wrap, slot_place, starts};
    const Cell cell = cell_of(cells, grids, bins, pbc, atom_offsets, s);
    int count = 0;
    Search(slots, cell, own).visit_neighbours(cutoff, [&](bool hit, const Candidate&) { count += hit; });
    count = group_sum<32>(count);
    if ((threadIdx.x & 31) == 0) counts[order[atom_offsets[s] + slot_place[own]]] = count;
}

// Atoms with at most this many neighbours, all in cells from -CELLS to CELLS - 1, sort them in shared memory.
constexpr int SHARED_EDGES = 128, CELLS = 512, CELL_BITS = 10;

// The edges of one atom, in the order in which they are found and sorted. Of one neighbour, shifts come in the order of the
// cells in which it is met.
struct SharedEdges {
    unsigned long long* keys;
    int* slots;
    unsigned char* order;

    // Edge number k, to the neighbour at `place`.
    __device__ __forceinline__ void set(int k, int slot, int place, const Candidate& c) const {
        const unsigned long long cells = (unsigned long long)(c.cell0 + CELLS) << 2 * CELL_BITS |
            (unsigned long long)(c.cell1 + CELLS) << CELL_BITS | (unsigned long long)(c.cell2 + CELLS);
        keys[k] = (unsigned long long)place << 3 * CELL_BITS | cells;
        slots[k] = slot;
    }

    __device__ __forceinline__ int place(int k) const { return (int)(keys[k] >> 3 * CELL_BITS); }

    // The cell of edge k along a direction.
    __device__ __forceinline__ int cell(int k, int direction) const {
        return (int)(keys[k] >> (2 - direction) * CELL_BITS & (2 * CELLS - 1)) - CELLS;
    }

    // Fills `order` by all lanes of a warp: no two keys are equal, so each belongs behind as many as are smaller.
    __device__ __forceinline__ void sort(int n) const {
        const int lane = threadIdx.x & 31;
        if (lane == 0 && n % 2 == 1) keys[n] = ~0ull;  // n is below SHARED_EDGES, which is even
        __syncwarp();
        for (int k = lane; k < n; k += 64) {
            const int other = min(k + 32, n - 1);
            const unsigned long long a = keys[k], b = keys[other];
            int before_a = 0, before_b = 0;
            for (int j = 0; j < n; j += 2) {
                const ulonglong2 two = *(const ulonglong2*)(keys + j);
                before_a += (two.x < a) + (two.y < a);
                before_b += (two.x < b) + (two.y < b);
            }
            order[before_a] = (unsigned char)k;
            if (k + 32 < n) order[before_b] = (unsigned char)other;
        }
        __syncwarp();
    }
};

// The others sort them where they will stay.
struct ListKeys {
    long long* neighbour;
    int* shifts;
    __device__ __forceinline__ int4 load(int k) const {
        const int* shift = shifts + 3LL * k;
        return make_int4((int)neighbour[k], shift[0], shift[1], shift[2]);
    }
    __device__ __forceinline__ void store(int k, int4 key) const {
        int* shift = shifts + 3LL * k;
        neighbour[k] = key.x;
        shift[0] = key.y;
        shift[1] = key.z;
        shift[2] = key.w;
    }
};

// One warp for each slot: finds the edges again, sorts them, writes them.
extern "C" __global__ void __launch_bounds__(128) fill_edges(
    const double* __restrict__ cells, const double* __restrict__ grids, const long long* __restrict__ bins,
    const bool* __restrict__ pbc, const long long* __restrict__ atom_offsets, const long long* __restrict__ order,
    const double* __restrict__ slot_position, const double* __restrict__ slot_level, const int* __restrict__ slot_wrap,
    const int* __restrict__ slot_place, const long long* __restrict__ starts, const int* __restrict__ species,
    const long long* __restrict__ edge_offsets, long long* __restrict__ neighbour, int* __restrict__ shifts,
    int* __restrict__ edge_species, double cutoff, long long n_structures, long long n_atoms) {
    __shared__ __align__(16) unsigned long long keys[128 / 32 * SHARED_EDGES];
    __shared__ int edge_slots[128 / 32 * SHARED_EDGES];
    __shared__ unsigned char edge_order[128 / 32 * SHARED_EDGES];
    const long long own = global_thread() / 32;
    if (own >= n_atoms) return;
    const int lane = threadIdx.x & 31;
    const long long s = segment_of(atom_offsets, n_structures, own);
    const long long* atoms = order + atom_offsets[s];
    const long long centre = atoms[slot_place[own]];
    const long long base = edge_offsets[centre];
    const int n = (int)(edge_offsets[centre + 1] - base);
    const ListKeys in_list = {neighbour + base, shifts + 3 * base};
    const int of_warp = threadIdx.x / 32 * SHARED_EDGES;
    const SharedEdges in_shared = {keys + of_warp, edge_slots + of_warp, edge_order + of_warp};

    const Slots slots = {slot_position, slot_level, slot_wrap, slot_place, starts};
    const Cell cell = cell_of(cells, grids, bins, pbc, atom_offsets, s);
    const Search search(slots, cell, own);
    const bool few = n <= SHARED_EDGES && search.cells_within(CELLS);
    int filled = 0;
    search.visit_neighbours(cutoff, [&](bool hit, const Candidate& c) {
        const unsigned hits = __ballot_sync(ALL_LANES, hit);
        if (hit) {
            const int k = filled + __popc(hits & ((1u << lane) - 1u)), place = slots.place[c.slot];
            if (few) {
                in_shared.set(k, (int)(c.slot - cell.first_slot), place, c);
            } else {
                in_list.store(k, make_int4(place, c.shift0, c.shift1, c.shift2));
            }
        }
        filled += __popc(hits);
    });
    if (few) {
        in_shared.sort(n);
    } else {
        warp_sort(in_list, n);
    }
    for (int k = lane; k < n; k += 32) {
        int4 key;
        if (few) {
            const int found = in_shared.order[k];
            const int* const wrap = slot_wrap + 3 * (cell.first_slot + in_shared.slots[found]);
            key = make_int4(
                in_shared.place(found), in_shared.cell(found, 0) - wrap[0] + slot_wrap[3 * own],
                in_shared.cell(found, 1) - wrap[1] + slot_wrap[3 * own + 1],
                in_shared.cell(found, 2) - wrap[2] + slot_wrap[3 * own + 2]);
        } else {
            key = in_list.load(k);
        }
        const long long other = atoms[key.x];
        in_list.store(k, key);
        neighbour[base + k] = other;
        edge_species[base + k] = species[other];
    }
}

// Whether edge e of some atom comes before an edge to atom `other` with these shifts.
__device__ __forceinline__ bool comes_before(
    const long long* neighbour, const int* shifts, const int* edge_species, long long e, int other_species,
    long long other, int shift0, int shift1, int shift2) {
    if (edge_species[e] != other_species) return edge_species[e] < other_species;
    if (neighbour[e] != other) return neighbour[e] < other;
    if (shifts[3 * e] != shift0) return shifts[3 * e] < shift0;
    if (shifts[3 * e + 1] != shift1) return shifts[3 * e + 1] < shift1;
    return shifts[3 * e + 2] < shift2;
}

// Eight threads for each atom: the vectors of its edges, and the square of the shortest length, inf without edges.
extern "C" __global__ void __launch_bounds__(256) edge_vectors(
    const double* __restrict__ positions, const double* __restrict__ cells, const long long* __restrict__ atom_offsets,
    const long long* __restrict__ edge_offsets, const long long* __restrict__ neighbour,
    const int* __restrict__ shifts, double* __restrict__ vectors, double* __restrict__ nearest, long long n_structures,
    long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    const double* cell = cells + 9 * segment_of(atom_offsets, n_structures, i);
    const Vector centre = row(positions, i);
    double least = __longlong_as_double(0x7ff0000000000000LL);
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const Vector edge = edge_vector(
            centre, row(positions, neighbour[e]), cell, shifts[3 * e], shifts[3 * e + 1], shifts[3 * e + 2]);
        vectors[3 * e] = edge.x;
        vectors[3 * e + 1] = edge.y;
        vectors[3 * e + 2] = edge.z;
        least = fmin(least, dot(edge, edge));
    }
    least = group_min<8>(least);
    if (threadIdx.x % 8 == 0) nearest[i] = least;
}

// Eight threads for each atom: the edge that runs the other way, found by bisection among the edges of the neighbour. Where
// there is none, because coordinates are so large that round-off in them has lost it, `nearest` of the atom becomes -1.
extern "C" __global__ void __launch_bounds__(256, 6) reverse_edges(
    const int* __restrict__ species, const long long* __restrict__ edge_offsets,
    const long long* __restrict__ neighbour, const int* __restrict__ shifts, const int* __restrict__ edge_species,
    long long* __restrict__ reverse, double* __restrict__ nearest, long long n_atoms) {
    const long long i = global_thread() / 8;
    if (i >= n_atoms) return;
    bool lost = false;
    for (long long e = edge_offsets[i] + threadIdx.x % 8; e < edge_offsets[i + 1]; e += 8) {
        const long long j = neighbour[e];
        const long long end = edge_offsets[j + 1];
        long long low = edge_offsets[j], n = end - low;
        while (n > 0) {
            const long long half = n / 2;
            const bool right = comes_before(
                neighbour, shifts, edge_species, low + half, species[i], i, -shifts[3 * e], -shifts[3 * e + 1],
                -shifts[3 * e + 2]);
            low = right ? low + half + 1 : low;
            n = right ? n - half - 1 : half;
        }
        const bool found = low < end && neighbour[low] == i && shifts[3 * low] == -shifts[3 * e] &&
            shifts[3 * low + 1] == -shifts[3 * e + 1] && shifts[3 * low + 2] == -shifts[3 * e + 2];
        reverse[e] = found ? low : e;
        lost |= !found;
    }
    lost = __any_sync(group_mask<8>(), lost);
    if (lost && threadIdx.x % 8 == 0) nearest[i] = -1.0;
}
