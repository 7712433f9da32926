"""Makes `references/pace_*.yace` and `references/pace.json.gz`, what python-ace gives for them: run by hand.

    python3.11 -m venv native && native/bin/pip install python-ace==0.4.0rc1
    PYTHONPATH=. native/bin/python tests/interop/make_pace_references.py [AL_NI.yace]

With the path of `Al-Ni_opt_all.yace`, a test file of python-ace, numbers for it are made too. python-ace interpolates
radial functions; tables are made so fine here (`deltaSplineBins`) that little of that is left. Where ChebPow has an
exponent p that is no whole number, (rcut - r)^p is rough at the cutoff: with p = 2.3 forces differ by 5e-6 eV/A at a
step of 2.5e-4 A, 1e-6, 5e-7 and 2e-8 at a half, a quarter and an eighth of it. So the exponent here is a larger one.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pyace import ACEBBasisSet, PyACECalculator, create_multispecies_basis_config

from tests.interop.pace_structures import structures

FOLDER = Path(__file__).parent / "references"
#: A, of the tables of python-ace: its error goes with the fourth power.
SPLINE_STEP = 2.5e-4


def embedding(
    *parameters: float, kind: str = "FinnisSinclairShiftedScaled", core: tuple[float, float] = (1e5, 250.0)
) -> dict[str, Any]:
    return {
        "npot": kind, "fs_parameters": list(parameters), "ndensity": len(parameters) // 2, "rho_core_cut": core[0],
        "drho_core_cut": core[1],
    }  # fmt: skip


def bond(
    kind: str,
    parameter: float,
    cutoff: float,
    width: float = 0.5,
    core: tuple[float, float] | None = None,
    inner: tuple[float, float] | None = None,
    inner_kind: str = "distance",
) -> dict[str, Any]:
    found = {
        "radbase": kind,
        "radparameters": [parameter],
        "rcut": cutoff,
        "dcut": width,
        "NameOfCutoffFunction": "cos",
    }
    if core:
        found["core-repulsion"] = list(core)
    if inner:
        found |= {"r_in": inner[0], "delta_in": inner[1], "inner_cutoff_type": inner_kind}
    else:
        found["inner_cutoff_type"] = "density"
    return found


def functions(ns: list[int], ls: list[int]) -> dict[str, Any]:
    return {"nradmax_by_orders": ns, "lmax_by_orders": ls}


#: Name: elements, embeddings, bonds, functions, spacing of the structures.
POTENTIALS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any], dict[str, Any], float]] = {
    "exponential": (
        ["Al", "Ni"],
        {"ALL": embedding(1.0, 1.0, 0.7, 0.5)},
        {
            "ALL": bond("ChebExpCos", 5.25, 6.0),
            "Al": bond("ChebExpCos", 3.0, 6.5, 1.0),
            "AlNi": bond("ChebExpCos", 4.0, 5.5),
        },
        {"UNARY": functions([5, 3, 2, 1], [0, 2, 2, 1]), "BINARY": functions([4, 2, 1], [0, 2, 1])},
        2.7,
    ),
    "power": (
        ["Cu"],
        {"ALL": embedding(1.0, 0.7, -0.4, 0.5, 0.3, 1.0, kind="FinnisSinclair", core=(3.0, 2.5))},
        {"ALL": bond("ChebPow", 4.3, 5.5, core=(100.0, 1.0))},
        {"ALL": functions([6, 4, 3, 2, 1], [0, 3, 2, 1, 1])},
        2.4,
    ),
    "bessel": (
        ["Nb", "Mo", "W"],
        {"ALL": embedding(1.0, 1.0, 1.0, 0.36)},
        {"ALL": bond("SBessel", 5.25, 6.0, core=(50.0, 0.6), inner=(2.6, 0.5))},
        {
            "UNARY": functions([5, 2, 1], [0, 3, 1]),
            "BINARY": functions([3, 1], [0, 2]),
            "TERNARY": functions([2, 1], [0, 1]),
        },
        2.7,
    ),
    "mixed": (
        ["Si", "O"],
        {"Si": embedding(1.0, 1.0), "O": embedding(1.0, 1.0, 0.5, 1.7, core=(4.0, 3.0))},
        {
            "Si": bond("ChebPow", 2.0, 5.0, core=(80.0, 0.8)),
            "O": bond("ChebExpCos", 4.5, 4.5, core=(60.0, 1.2)),
            "SiO": bond("SBessel", 1.0, 5.2, core=(70.0, 0.9)),
        },
        {"UNARY": functions([4, 2, 2], [0, 2, 1]), "BINARY": functions([4, 2, 1], [0, 2, 1])},
        2.0,
    ),
    "nearest": (
        ["Be", "W"],
        {"ALL": embedding(1.0, 1.0, 0.5, 0.8)},
        {
            "ALL": bond("ChebExpCos", 4.0, 5.0, core=(1.0, 1.0), inner=(2.8, 0.9), inner_kind="zbl"),
            "W": bond("ChebPow", 2.0, 5.5, 1.0, core=(1.2, 1.0), inner=(2.5, 0.9), inner_kind="zbl"),
        },
        {"ALL": functions([3, 2, 1], [0, 2, 1])},
        2.6,
    ),
    "linear": (
        ["Mg"],
        {"ALL": embedding(1.0, 1.0)},
        {"ALL": bond("ChebLinear", 1.0, 5.0)},
        {"ALL": functions([5, 3, 2], [0, 2, 2])},
        3.0,
    ),
}


def write(name: str, seed: int) -> Path:
    """A potential with random coefficients."""
    elements, embeddings, bonds, of_functions, _ = POTENTIALS[name]
    basis = ACEBBasisSet(create_multispecies_basis_config({
        "deltaSplineBins": SPLINE_STEP, "elements": elements, "embeddings": embeddings, "bonds": bonds,
        "functions": of_functions,
    }))  # fmt: skip
    rng = np.random.default_rng(seed)
    coefficients = np.array(basis.all_coeffs)
    radial = np.array(basis.radial_functions.crad).size
    coefficients[:radial] += rng.normal(0.0, 0.1, radial)
    coefficients[radial:] = rng.normal(0.0, 0.02, len(coefficients) - radial)
    basis.all_coeffs = list(coefficients)
    path = FOLDER / f"pace_{name}.yace"
    basis.to_ACECTildeBasisSet().save_yaml(str(path))
    return path


def evaluated(path: Path, elements: list[str], seed: int, spacing: float) -> dict[str, Any]:
    """Energies (eV), forces (eV/A) and stresses (eV/A^3, Voigt) of the structures."""
    calculator = PyACECalculator(str(path))
    found: dict[str, Any] = {
        "species": elements,
        "seed": seed,
        "spacing": spacing,
        "energies": [],
        "forces": [],
        "stresses": [],
    }
    for atoms in structures(elements, seed, spacing):
        atoms.calc = calculator
        found["energies"].append(round(float(atoms.get_potential_energy()), 12))
        found["forces"].append(np.round(atoms.get_forces(), 12).tolist())
        found["stresses"].append(np.round(atoms.get_stress(), 13).tolist() if atoms.cell.rank == 3 else None)
    return found


def finer(path: Path, folder: str) -> Path:
    """A copy of a file with fine tables."""
    text = path.read_text().replace("deltaSplineBins: 0.001", f"deltaSplineBins: {SPLINE_STEP / 4}")
    copy = Path(folder) / path.name
    copy.write_text(text)
    return copy


def main() -> None:
    found = {}
    for seed, name in enumerate(POTENTIALS):
        found[name] = evaluated(write(name, seed), POTENTIALS[name][0], seed, POTENTIALS[name][4])
        print(name, found[name]["energies"][:8])
    with tempfile.TemporaryDirectory() as folder:
        for given in sys.argv[1:]:
            found[Path(given).name] = evaluated(finer(Path(given), folder), ["Al", "Ni"], 100, 2.7)
    with gzip.GzipFile(FOLDER / "pace.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(found, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()
