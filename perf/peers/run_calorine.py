"""Neuroevolution potentials (NEP4) in calorine's CPU engine (Mozilla Public Licence 2.0).

``potential``: ``species`` and ``cutoff`` of an untrained potential with the sizes that GPUMD's ``nep`` has by default:
n_max 4, basis size 8, l_max 4 (and four-body 2), 30 neurons; the radial cutoff is that of the angular descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from calorine.calculators import CPUNEP
from peers.protocol import Engine, serve

N_MAX, BASIS_SIZE, L_MAX, NEURONS = 4, 8, 4, 30


class Calorine(Engine):
    """A NEP. The engine searches neighbours in every call: there is no way to leave that out."""

    distribution = "calorine"
    neighbour_list = "included"

    def __init__(self, potential: dict[str, Any], folder: Path) -> None:
        self.cutoff = potential["cutoff"]
        self.file = folder / "nep.txt"
        self.file.write_text(untrained(potential["species"], self.cutoff))

    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """The engine without ASE's layer around it."""
        nepy = CPUNEP(str(self.file), atoms=atoms).nepy
        return lambda: float(np.sum(nepy.get_potential_forces_and_virials()[0]))

    def calculator(self) -> CPUNEP:
        """calorine's own."""
        return CPUNEP(str(self.file))


def untrained(species: Sequence[str], cutoff: float) -> str:
    """A nep.txt with random coefficients: networks, one bias, descriptor coefficients, then scales of descriptors."""
    descriptors = (N_MAX + 1) * (1 + L_MAX + 1)
    networks = len(species) * (descriptors + 2) * NEURONS + 1
    expansion = 2 * len(species) ** 2 * (N_MAX + 1) * (BASIS_SIZE + 1)
    random = np.random.default_rng(0).normal(scale=0.1, size=networks + expansion)
    header = [
        f"nep4 {len(species)} {' '.join(species)}",
        f"cutoff {cutoff} {cutoff} 500 500",
        f"n_max {N_MAX} {N_MAX}",
        f"basis_size {BASIS_SIZE} {BASIS_SIZE}",
        f"l_max {L_MAX} 2 0",
        f"ANN {NEURONS} 0",
    ]
    numbers = [f"{value:.7e}" for value in (*random, *np.full(descriptors, 0.1))]
    return "\n".join((*header, *numbers)) + "\n"


if __name__ == "__main__":
    serve(Calorine)
