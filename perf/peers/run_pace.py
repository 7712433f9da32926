"""Atomic cluster expansions in python-ace, with its recursive evaluator.

python-ace has the Academic Software Licence: it may be used for academic, non-commercial purposes only.

``potential``: ``species``, ``cutoff`` and ``functions``, the number of functions per element, of an untrained potential
with the radial functions, embedding and maximal ranks of pacemaker's input template; it is written to ``save``, if that
is given.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from peers.protocol import Engine, serve
from pyace.asecalc import PyACECalculator
from pyace.basis import ACEBBasisSet
from pyace.multispecies_basisextension import create_multispecies_basis_config

EMBEDDING = {"npot": "FinnisSinclairShiftedScaled", "fs_parameters": [1, 1, 1, 0.5], "ndensity": 2}
BOND = {"radbase": "SBessel", "radparameters": [5.25], "dcut": 0.01, "NameOfCutoffFunction": "cos"}
RANKS = {
    "UNARY": {"nradmax_by_orders": [15, 6, 4, 3, 2, 2], "lmax_by_orders": [0, 3, 3, 2, 2, 1]},
    "BINARY": {"nradmax_by_orders": [15, 6, 3, 2, 2, 1], "lmax_by_orders": [0, 3, 2, 1, 1, 0]},
    "TERNARY": {"nradmax_by_orders": [15, 3, 3, 2, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
    "ALL": {"nradmax_by_orders": [15, 3, 2, 1, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
}


class Pace(Engine):
    """An ACE."""

    distribution = "python-ace"

    def __init__(self, potential: dict[str, Any], folder: Path) -> None:
        self.cutoff = potential["cutoff"]
        specification = {
            "deltaSplineBins": 0.001,
            "elements": list(potential["species"]),
            "embeddings": {"ALL": EMBEDDING},
            "bonds": {"ALL": BOND | {"rcut": self.cutoff}},
            "functions": RANKS | {"number_of_functions_per_element": potential["functions"]},
        }
        basis = create_multispecies_basis_config(specification, func_coefs_initializer="random")
        self.basis = ACEBBasisSet(basis).to_ACECTildeBasisSet()
        if "save" in potential:
            self.basis.save_yaml(potential["save"])

    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """The evaluator on environments that are built once."""
        calculator = self.calculator()
        environments = calculator.get_atomic_env(atoms)

        def evaluate() -> float:
            calculator.ace.compute(environments, compute_projections=False)
            return float(calculator.ace.energy)

        return evaluate

    def calculator(self) -> PyACECalculator:
        """python-ace's own."""
        return PyACECalculator(self.basis, recursive_evaluator=True, recursive=True)


if __name__ == "__main__":
    serve(Pace)
