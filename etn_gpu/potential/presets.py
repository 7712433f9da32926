"""Presets: sizes of potentials for users who do not want to choose ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from etn_gpu.errors import NetworkError
from etn_gpu.network import MessageLayer
from etn_gpu.network.messages import MOST_LAYERS
from etn_gpu.potential.architecture import Architecture


@dataclass(frozen=True)
class Preset:
    """Sizes that do not depend on the species.

    The ranks of the species embeddings are upper bounds, and stay below the number of species of a complex alloy on
    purpose: with three components a fourth-order potential of four species is determined by their binary alloys, with
    four it is not, because a polynomial of degree 4 can vanish on all edges of a tetrahedron but not on six lines of a
    plane.

    The bonds at both ends of a train carry as high a degree as the site vector, those in the middle less: three-body
    terms get the full angular resolution, and the products of higher order, most of the parameters, only a coarse one.
    """

    n_radial: int
    channels: tuple[int, ...]
    bonds: tuple[str, ...]
    neighbour_rank: int
    centre_rank: int
    layers: tuple[MessageLayer, ...] = ()

    def with_layers(self, layers: int | None, attention: int | None) -> Preset:
        """The same with so many layers, 1 for no messages, and heads of attention in each; None changes nothing.

        Raises:
            NetworkError: numbers that cannot be, or attention without messages.
        """
        own = self.layers
        if layers is not None:
            if not 1 <= layers <= MOST_LAYERS + 1:
                raise NetworkError(f"a network may have 1 to {MOST_LAYERS + 1} layers, got {layers}")
            further = replace(
                MESSAGES,
                lmax=min(MESSAGES.lmax, len(self.channels) - 1),
                n_radial=min(MESSAGES.n_radial, self.n_radial),
            )
            own = (*own[: layers - 1], *[further] * (layers - 1 - len(own)))
        if attention and not own:
            raise NetworkError(
                f"{attention} heads of attention were asked for, and no message passing: attention is part of it; give "
                "two layers or more, or a preset that has them"
            )
        if attention is not None:
            own = tuple(replace(layer, attention=attention) for layer in own)
        return replace(self, layers=own)


#: The layer of message passing that presets have, with no more functions than the site vector has.
MESSAGES = MessageLayer("4x0e+2x1o", ("4x0e+3x1o+3x2e+2x3o",), 2, 8)
_ENDS = "4x0e+3x1o+3x2e+2x3o+2x4e+2x5o"
_LARGE_ENDS = "6x0e+4x1o+4x2e+3x3o+3x4e+2x5o"
PRESETS = {
    "small": Preset(8, (4, 3, 2, 2, 1), ("4x0e+3x1o+2x2e+2x3o+1x4e",) * 2, 3, 2),
    "standard": Preset(8, (6, 4, 4, 3, 2, 2), (_ENDS, "5x0e+2x1o+2x2e", _ENDS), 3, 2),
    "large": Preset(8, (8, 6, 5, 4, 3, 2), (_LARGE_ENDS, "8x0e+3x1o+4x2e+1x3o+1x4e", _LARGE_ENDS), 3, 2),
}


PRESETS |= {
    "message-small": PRESETS["small"].with_layers(2, None),
    "message": PRESETS["standard"].with_layers(2, None),
}


def preset_architecture(preset: str | Preset, species: tuple[str, ...], cutoff: float, inner: float) -> Architecture:
    """The architecture of a preset, given or named, for some species; NetworkError lists the names there are."""
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise NetworkError(f"{preset!r} is not a preset; choose one of {', '.join(PRESETS)}")
        preset = PRESETS[preset]
    return Architecture(
        species,
        cutoff,
        inner,
        preset.n_radial,
        tuple(preset.channels),
        min(preset.neighbour_rank, len(species)),
        min(preset.centre_rank, len(species)),
        tuple(preset.bonds),
        layers=tuple(preset.layers),
    )
