"""Logs of VASP, as short as ASE's readers allow, with the labels of alloys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import units
from numpy.typing import NDArray

from .conftest import Labelled

REACHED = "------------------------ aborting loop because EDIFF is reached ----------------------------------------"
UNCONVERGED = "------------------------ aborting loop EDIFF was not reached (unconverged)  ----------------------------"
HARD_STOP = "------------------------ aborting loop because hard stop was set ---------------------------------------"
_KBAR = 0.1 * units.GPa


def write_outcar(
    path: Path, item: Labelled, steps: Sequence[tuple[int, str]], nelm: int = 60, smearing: float = 0.0
) -> Path:
    """An OUTCAR of one structure again and again: per ionic step the number of electronic steps, and the line that ends
    their loop. `energy(sigma->0)` is the energy of the structure, TOTEN lies lower by `smearing` (in eV)."""
    order = np.argsort(item.atoms.numbers, kind="stable")
    numbers, counts = np.unique(item.atoms.numbers, return_counts=True)
    names = [str(item.atoms.symbols[list(item.atoms.numbers).index(z)]) for z in numbers]
    lines = [" vasp.5.4.4.18Apr17-6-g9f103f2a35 (build Jan 01 2020 00:00:00) complex"]
    lines += [f" POTCAR:    PAW_PBE {name} 01Jan2000" for name in (*names, *names)]
    lines += [f"   ions per type = {' '.join(str(count) for count in counts)}"]
    lines += ["   ISPIN  =      1    spin polarized calculation?"]
    lines += [
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=     96"
    ]
    lines += [" k-points in reciprocal lattice and weights: Gamma", "   0.0 0.0 0.0   1.0", ""]
    lines += [f"   NELM   = {nelm:6d};   NELMIN=  2; NELMDL= -5     # of ELM steps"]
    xx, yy, zz, yz, xz, xy = -item.stress / _KBAR
    for step, (iterations, end) in enumerate(steps, start=1):
        for iteration in range(1, iterations + 1):
            lines += [f"--------------------- Iteration {step:6d}({iteration:4d})  ---------------------"]
        lines += [end, f"  in kB  {_text([xx, yy, zz, xy, yz, xz])}"]
        lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
        lines += [_text([*vector, 0.0, 0.0, 0.0]) for vector in item.atoms.cell.array]
        lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " ---"]
        lines += [_text([*p, *f]) for p, f in zip(item.atoms.positions[order], item.forces[order], strict=True)]
        lines += ["  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)", "  ---"]
        lines += [f"  free  energy   TOTEN  = {item.energy - smearing!r} eV", ""]
        lines += [f"  energy  without entropy= {item.energy!r}  energy(sigma->0) = {item.energy!r}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_vasprun(
    path: Path, item: Labelled, steps: Sequence[int], nelm: int = 60, algorithm: str = "Normal", smearing: float = 0.0
) -> Path:
    """A vasprun.xml of one structure again and again: per ionic step the number of electronic steps."""
    energy = (
        f'<energy><i name="e_fr_energy">{item.energy - smearing!r}</i><i name="e_wo_entrp">{item.energy!r}</i>'
        f'<i name="e_0_energy">{item.energy!r}</i></energy>'
    )
    structure = f"<crystal>{_varray('basis', item.atoms.cell.array)}</crystal>" + _varray(
        "positions", item.atoms.get_scaled_positions(wrap=False)
    )
    labels = _varray("forces", item.forces) + _varray("stress", -_matrix(item) / _KBAR)
    atoms = "".join(f"<rc><c>{symbol} </c><c>   1</c></rc>" for symbol in item.atoms.symbols)
    text = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        f'<modeling>\n<incar><i type="string" name="ALGO">{algorithm}</i></incar>',
        f"<kpoints>{_varray('kpointlist', np.zeros((1, 3)))}{_varray('weights', np.ones((1, 1)))}</kpoints>",
        f'<parameters><i type="int" name="NELM">{nelm:6d}</i><i type="int" name="NELMIN">     2</i></parameters>',
        f'<atominfo><array name="atoms"><set>{atoms}</set></array></atominfo>',
        f'<structure name="initialpos">{structure}</structure>',
    ]
    for count in steps:
        text += ["<calculation>", *([f"<scstep>{energy}</scstep>"] * count)]
        text += [f"<structure>{structure}</structure>{labels}{energy}", "</calculation>"]
    path.write_text("\n".join([*text, "</modeling>\n"]))
    return path


def _matrix(item: Labelled) -> NDArray[np.float64]:
    return -item.virial / item.atoms.get_volume()


def _varray(name: str, rows: NDArray[np.float64]) -> str:
    return f'<varray name="{name}">' + "".join(f"<v>{_text(row)}</v>" for row in rows) + "</varray>\n"


def _text(values: Sequence[float] | NDArray[np.float64]) -> str:
    return "  ".join(repr(float(x)) for x in values)
