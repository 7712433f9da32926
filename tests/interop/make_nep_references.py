"""Writes references/nep.json.gz: what calorine makes of the potentials and structures of nep_cases.py.

    python -m venv native && native/bin/pip install calorine==4.1
    native/bin/python -m tests.interop.make_nep_references [FOLDER]

FOLDER holds published potentials (nep_cases.FILES); without it their numbers stay as they are. calorine's CPUNEP takes
nep4 only, so its compiled module is asked, which takes nep3 and nep5 too. It repeats every cell along all directions.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tests.interop.nep_cases import CASES, FILES, MADE, PUBLISHED, potential_text, structures

TARGET = Path(__file__).with_name("references") / "nep.json.gz"


def native(path: Path, atoms: Atoms) -> dict[str, list[Any]]:
    """Energies in eV, forces in eV/A, stress in eV/A^3 (xx, yy, zz, yz, xz, xy)."""
    n, cell = len(atoms), [float(v) for v in atoms.cell.array.T.ravel()]
    positions = [float(v) for v in atoms.positions.T.ravel()]
    engine = importlib.import_module("_nepy").NEPY(
        str(path), n, cell, atoms.get_chemical_symbols(), positions, atoms.get_masses()
    )
    energies, forces, virials = map(np.array, engine.get_potential_forces_and_virials())
    stress = -virials.reshape(9, n).sum(axis=1).reshape(3, 3) / atoms.get_volume()
    voigt = [stress[0, 0], stress[1, 1], stress[2, 2], stress[1, 2], stress[0, 2], stress[0, 1]]
    return {"energies": list(energies), "forces": forces.reshape(3, n).T.tolist(), "stress": voigt}


def main() -> None:
    found = json.loads(gzip.decompress(TARGET.read_bytes())) if TARGET.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(CASES):
            path = Path(folder) / "nep.txt"
            path.write_text(potential_text(name))
            found[name] = [native(path, a) for a in structures(CASES[name].species, MADE, seed)]
    for seed, name in enumerate(FILES if len(sys.argv) > 1 else ()):
        path = Path(sys.argv[1]) / name
        found[name] = [native(path, a) for a in structures(FILES[name], PUBLISHED, 100 + seed)]
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))


if __name__ == "__main__":
    main()
