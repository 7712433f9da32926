"""Presets with other ranks: as many parameters as another one, or ranks that are all alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from etn_gpu.potential import Preset, preset_architecture
from etn_gpu.symmetry import Irreps

CUTOFF, INNER = 5.0, 1.8


def n_parameters(preset: Preset | str, species: tuple[str, ...]) -> int:
    """Number of parameters of a preset for some species; it depends on neither cutoff nor data."""
    return preset_architecture(preset, species, CUTOFF, INNER).n_parameters


def with_equal_ranks(preset: Preset, k: int) -> Preset:
    """The preset with ``k`` copies of every irrep that its bonds have.

    The first bond and the last one get no more copies than the site vector has: one of their sides is a single site
    vector, so that a higher rank would add parameters but no function.
    """
    feature = preset_architecture(preset, ("H",), CUTOFF, INNER).feature
    ends = {0, len(preset.bonds) - 1}

    def resized(place: int, bond: Irreps) -> str:
        return "+".join(f"{min(k, feature.count(ir)) if place in ends else k}x{ir}" for _, ir in bond)

    return replace(preset, bonds=tuple(resized(place, Irreps(bond)) for place, bond in enumerate(preset.bonds)))


def without_embedding(preset: Preset, species: tuple[str, ...]) -> Preset:
    """No species embedding, and as nearly as possible as many parameters as ``preset`` has for these species.

    The ranks of the embeddings become the number of species, so that every pair of species has radial functions of its
    own; in exchange, channels and ranks of bonds shrink, alike in proportion, one unit at a time.
    """
    target = n_parameters(preset, species)
    full = replace(preset, neighbour_rank=len(species), centre_rank=len(species))
    return min(_shrunk(full), key=lambda smaller: abs(n_parameters(smaller, species) - target))


def _shrunk(preset: Preset) -> Iterator[Preset]:
    """The preset and ever smaller ones: each time the size that has lost least loses one, and none falls below 1.

    On the way, all that come from a loss of one elsewhere: numbers of parameters then lie closer to each other.
    """
    sizes = [*preset.channels, *(n for bond in preset.bonds for n, _ in Irreps(bond))]
    left = list(sizes)
    yield preset
    while reducible := [i for i, n in enumerate(left) if n > 1]:
        for i in reducible:
            yield _resized(preset, [n - (i == j) for j, n in enumerate(left)])
        left[max(reducible, key=lambda i: (left[i] - 0.5) / sizes[i])] -= 1


def _resized(preset: Preset, sizes: list[int]) -> Preset:
    """Other channels and ranks, in the order of the preset's."""
    following = iter(sizes)
    channels = tuple(next(following) for _ in preset.channels)
    bonds = tuple("+".join(f"{next(following)}x{ir}" for _, ir in Irreps(bond)) for bond in preset.bonds)
    return replace(preset, channels=channels, bonds=bonds)
