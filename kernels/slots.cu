// Places of atoms in tiles of 32: sorted by species, so that all atoms of a tile read the same weights.

#include "warp.cuh"

// One thread for each slot. Slots behind the last atom are padding: no atom, and the species of the last one.
extern "C" __global__ void __launch_bounds__(256) fill_slots(
    const long long* __restrict__ order, const int* __restrict__ species, long long* __restrict__ atoms,
    int* __restrict__ slot_species, long long n_atoms, long long n_slots) {
    const long long slot = global_thread();
    if (slot >= n_slots) return;
    atoms[slot] = slot < n_atoms ? order[slot] : -1;
    slot_species[slot] = species[order[slot < n_atoms ? slot : n_atoms - 1]];
}
