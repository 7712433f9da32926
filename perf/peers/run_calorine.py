"""Neuroevolution potentials (NEP4) in calorine's CPU engine (Mozilla Public Licence 2.0).

``potential``: ``species`` and ``cutoff`` of an untrained potential with the sizes that GPUMD's ``nep`` has by default:
n_max 4, basis size 8, l_max 4 (and four-body 2), 30 neurons; the radial cutoff is that of the angular descriptors; or
``file``, a nep.txt, with its largest cutoff as ``cutoff``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from calorine.calculators import CPUNEP
from peers.nep_text import untrained
from peers.protocol import Engine, serve


class Calorine(Engine):
    """A NEP. The engine searches neighbours in every call: there is no way to leave that out."""

    distribution = "calorine"
    neighbour_list = "included"

    def __init__(self, potential: dict[str, Any], folder: Path) -> None:
        self.cutoff = potential["cutoff"]
        self.file = Path(potential.get("file") or folder / "nep.txt")
        if "file" not in potential:
            self.file.write_text(untrained(potential["species"], self.cutoff))

    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """The engine without ASE's layer around it."""
        nepy = CPUNEP(str(self.file), atoms=atoms).nepy
        return lambda: float(np.sum(nepy.get_potential_forces_and_virials()[0]))

    def calculator(self) -> CPUNEP:
        """calorine's own."""
        return CPUNEP(str(self.file))


if __name__ == "__main__":
    serve(Calorine)
