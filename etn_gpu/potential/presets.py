"""Presets: sizes of potentials for users who do not want to choose ranks."""

from __future__ import annotations

from dataclasses import dataclass

from etn_gpu.errors import NetworkError
from etn_gpu.potential.architecture import Architecture


@dataclass(frozen=True)
class Preset:
    """Sizes that do not depend on the species.

    The ranks of the species embeddings are upper bounds, and stay below the number of species of a complex alloy on
    purpose: with three components a fourth-order potential of four species is determined by their binary alloys, with
    four it is not, because a polynomial of degree 4 can vanish on all edges of a tetrahedron but not on six lines of a
    plane.
    """

    n_radial: int
    channels: tuple[int, ...]
    bonds: tuple[str, ...]
    neighbour_rank: int
    centre_rank: int


PRESETS = {
    "small": Preset(8, (4, 3, 2), ("4x0e+3x1o+2x2e",) * 2, 3, 2),
    "standard": Preset(8, (6, 4, 4, 3), ("4x0e+3x1o+3x2e+2x3o",) * 3, 3, 2),
    "large": Preset(10, (8, 6, 6, 4), ("6x0e+5x1o+4x2e+3x3o",) * 3, 4, 3),
}


def preset_architecture(name: str, species: tuple[str, ...], cutoff: float, inner: float) -> Architecture:
    """The architecture of preset ``name`` for some species; NetworkError lists the presets there are."""
    if name not in PRESETS:
        raise NetworkError(f"{name!r} is not a preset; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return Architecture(
        species,
        cutoff,
        inner,
        preset.n_radial,
        preset.channels,
        min(preset.neighbour_rank, len(species)),
        min(preset.centre_rank, len(species)),
        preset.bonds,
    )
