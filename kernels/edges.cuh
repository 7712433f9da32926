// Sums over the edges of atoms as generated edge stages need them: one warp for each atom, one lane for each edge.
//
// Sums of atoms lie in device memory as tiles [component][32 slots], and in shared memory as *panels*: blocks of the same
// radial functions side by side, so that a matrix [COUNT, WIDTH] belongs to each species of neighbours. How far apart its
// rows and the matrices are is decided in edge_panels.py; a table says where each component of a tile goes.
#pragma once

#include "address.cuh"
#include "warp.cuh"

// What one instruction brings from shared memory: 16 bytes.
template <class Real>
constexpr int PACK = 16 / sizeof(Real);

__device__ __forceinline__ float4 pack(const float* p) { return *(const float4*)p; }
__device__ __forceinline__ double2 pack(const double* p) { return *(const double2*)p; }

__device__ __forceinline__ void load_pack(const float* p, float (&v)[4]) {
    const float4 four = pack(p);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
}
__device__ __forceinline__ void load_pack(const double* p, double (&v)[2]) {
    const double2 two = pack(p);
    v[0] = two.x, v[1] = two.y;
}

// Where the first component of a slot lies in tiles of `size` components.
__device__ __forceinline__ long long tile_place(long long slot, int size) {
    return slot / 32 * size * 32 + slot % 32;
}

// Calls move(k) for k < COUNT: a thread of each slot takes every 32nd of them.
template <int COUNT, int SLOTS, class Move>
__device__ __forceinline__ void each_component(const Move& move) {
    const int own = threadIdx.x / SLOTS;
#pragma unroll 12
    for (int n = 0; n < COUNT / 32; n++) move(own + 32 * n);
    if (COUNT % 32 != 0 && own < COUNT % 32) move(own + COUNT / 32 * 32);
}

// Brings COUNT components of SLOTS atoms to shared memory. `tile` is the first of them in the first of the slots; component
// k goes places[k] bytes behind the beginning of the sums of its atom, which lie at `shared` and come PITCH elements after
// those of the atom before. SLOTS * 32 threads take part.
template <int COUNT, int SLOTS, int PITCH, class Real>
__device__ __forceinline__ void read_sums(const Real* tile, const unsigned short* places, Real* shared) {
    const int slot = threadIdx.x % SLOTS;
    Real* const own = shared + slot * PITCH;
    each_component<COUNT, SLOTS>([&](int k) { *at(own, places[k]) = tile[k * 32 + slot]; });
}

// The way back; with ADD to what is there already.
template <int COUNT, int SLOTS, int PITCH, bool ADD, class Real>
__device__ __forceinline__ void write_sums(Real* tile, const unsigned short* places, const Real* shared) {
    const int slot = threadIdx.x % SLOTS;
    const Real* const own = shared + slot * PITCH;
    each_component<COUNT, SLOTS>([&](int k) {
        Real& target = tile[k * 32 + slot];
        const Real value = *at(own, places[k]);
        target = ADD ? target + value : value;
    });
}

// All components of SLOTS atoms of a tile.
template <int SLOTS, class Real>
__device__ __forceinline__ void clear_tile(Real* tile, int size) {
    const int slot = threadIdx.x % SLOTS;
    for (int k = threadIdx.x / SLOTS; k < size; k += 32) tile[k * 32 + slot] = 0;
}

template <int SLOTS, class Real>
__device__ __forceinline__ void clear_shared(Real* first, int size) {
    for (int k = threadIdx.x; k < size; k += SLOTS * 32) first[k] = 0;
}

// Writes SIZE numbers of each of n_edges edges, staged as [edge][SIZE], in the order in which they lie in memory.
template <int SIZE, class Real>
__device__ __forceinline__ void store_edges(const Real* staged, Real* out, int n_edges) {
    __syncwarp();
    for (int k = threadIdx.x & 31; k < n_edges * SIZE; k += 32) out[k] = staged[k];
    __syncwarp();
}

// The lanes with which a run of edges of one species begins.
__device__ __forceinline__ unsigned run_starts(int species) {
    const int before = __shfl_up_sync(ALL_LANES, species, 1);
    return __ballot_sync(ALL_LANES, (threadIdx.x & 31) == 0 || species != before);
}

// Elements from a row of staged numbers, one for each edge, to the next: packs of eight rows lie in different banks.
template <class Real>
constexpr int EDGE_PITCH = 32 + PACK<Real>;

// Row and column of a patch of DOWN x ACROSS. Where they can be, four lanes that follow one another are a square, so that
// of any load from shared memory two neighbours want the same: it takes half the time.
template <int DOWN, int ACROSS>
__device__ __forceinline__ int down(int patch) {
    if constexpr (DOWN % 2 == 0 && ACROSS % 2 == 0) return patch / 4 % (DOWN / 2) * 2 + patch % 2;
    return patch % DOWN;
}
template <int DOWN, int ACROSS>
__device__ __forceinline__ int across(int patch) {
    if constexpr (DOWN % 2 == 0 && ACROSS % 2 == 0) return patch / 4 / (DOWN / 2) * 2 + patch / 2 % 2;
    return patch / DOWN;
}

// Sums f[b] y[m] over each run of edges: add(species, b, m, sum) is called by the one lane that owns (b, m).
//
// `rows` are COUNT functions f, then WIDTH functions y, each with one number for each lane, and rounded up to multiples of
// TALL and WIDE with rows of any finite numbers. A lane owns TALL x WIDE sums at a time and holds them in registers while
// it goes through the edges in their order. f must be 0 from n_edges on.
template <int COUNT, int WIDTH, int TALL, int WIDE, class Real, class Add>
__device__ __forceinline__ void sum_panel(
    const Real* rows, int species_of_lane, unsigned starts, int n_edges, const Add& add) {
    constexpr int N = PACK<Real>, PITCH = EDGE_PITCH<Real>;
    constexpr int DOWN = (COUNT + TALL - 1) / TALL, ACROSS = (WIDTH + WIDE - 1) / WIDE;
    __syncwarp();
    for (int first_patch = 0; first_patch < DOWN * ACROSS; first_patch += 32) {
        const int own = first_patch + (threadIdx.x & 31);
        const bool owns = own < DOWN * ACROSS;
        const int patch = owns ? own : 0;
        const int b = down<DOWN, ACROSS>(patch) * TALL, m = across<DOWN, ACROSS>(patch) * WIDE;
        const Real* const f = rows + b * PITCH;
        const Real* const y = rows + (DOWN * TALL + m) * PITCH;
        for (unsigned left = starts; left != 0; left &= left - 1) {
            const unsigned later = left & (left - 1);
            const int begin = __ffs(left) - 1, end = later ? __ffs(later) - 1 : n_edges;
            const int species = __shfl_sync(ALL_LANES, species_of_lane, begin);
            Real total[TALL][WIDE] = {};
            for (int k = begin / N * N; k < end; k += N) {
                Real left_part[TALL][N];
#pragma unroll
                for (int i = 0; i < TALL; i++) load_pack(f + i * PITCH + k, left_part[i]);
                if (k < begin || k + N > end) {  // edges of another species share the pack
#pragma unroll
                    for (int e = 0; e < N; e++) {
                        const bool here = k + e >= begin && k + e < end;
#pragma unroll
                        for (int i = 0; i < TALL; i++) left_part[i][e] = here ? left_part[i][e] : Real(0);
                    }
                }
#pragma unroll
                for (int j = 0; j < WIDE; j++) {
                    Real right_part[N];
                    load_pack(y + j * PITCH + k, right_part);
#pragma unroll
                    for (int e = 0; e < N; e++) {
#pragma unroll
                        for (int i = 0; i < TALL; i++) {
                            total[i][j] = fma(left_part[i][e], right_part[e], total[i][j]);
                        }
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < TALL; i++) {
#pragma unroll
                for (int j = 0; j < WIDE; j++) {
                    if (owns && b + i < COUNT && m + j < WIDTH) add(species, b + i, m + j, total[i][j]);
                }
            }
        }
    }
    __syncwarp();
}
