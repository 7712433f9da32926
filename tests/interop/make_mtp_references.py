"""Makes references/mtp.json.gz and references/mtp/*.mtp: energies, forces and stresses of motep.

By hand, in the root of the repository, where motep==0.2.0 and etn_gpu are installed; with the folder of published
potentials, where there is one:

    python -m tests.interop.make_mtp_references [FOLDER]
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from motep.calculator import MTP
from motep.io.mlip.mtp import read_mtp

from etn_gpu.interop.mtp_file import write_mtp_file
from tests.interop.mtp_cases import CASES, COUNT, REAL, structures

HERE = Path(__file__).parent


def main() -> None:
    """Write everything."""
    folder = HERE / "references" / "mtp"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"engine": "motep 0.2.0, cext"}
    for name, case in CASES.items():
        path = folder / f"{name}.mtp"
        write_mtp_file(path, case.file())
        found[name] = motep_references(path, case.species, COUNT[name], case.seed)
    if len(sys.argv) > 1:
        for name, species in REAL.items():
            found[name] = motep_references(Path(sys.argv[1]) / name, species, COUNT[name], 7)
    content = json.dumps(found, separators=(",", ":")).encode()
    (HERE / "references" / "mtp.json.gz").write_bytes(gzip.compress(content, 9, mtime=0))


def motep_references(path: Path, species: tuple[str, ...], count: int, seed: int) -> list[dict[str, Any]]:
    """Energies, forces and stresses of motep for the structures of a seed."""
    data = read_mtp(path)
    data.species = np.array([atomic_numbers[s] for s in species])
    found = []
    for number, atoms in enumerate(structures(species, count, seed)):
        reference = _evaluate(MTP(data, engine="cext"), atoms)
        if number < 2:
            other = _evaluate(MTP(data, engine="numpy"), atoms)
            assert abs(reference["energy"] - other["energy"]) < 1e-9, "motep disagrees with itself"
        found.append(reference)
    forces = np.concatenate([f["forces"] for f in found])
    energies = [f["energy"] / len(f["forces"]) for f in found]
    print(path.name, f"{min(energies):.2f} to {max(energies):.2f} eV/atom, forces up to {abs(forces).max():.1f} eV/A")
    return found


def _evaluate(calculator: MTP, atoms: Atoms) -> dict[str, Any]:
    results = calculator.engine.calculate(atoms)
    found = {"energy": float(results["energy"]), "forces": results["forces"].tolist()}
    if atoms.pbc.all():
        found["stress"] = results["stress"].tolist()
    return found


if __name__ == "__main__":
    main()
