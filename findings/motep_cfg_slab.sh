#!/usr/bin/env bash
# motep writes ASE's structures as MLIP's .cfg, and reads them to train moment tensor potentials.
#
# Guess: a slab, periodic in two directions, comes back from `write_cfg` and `read_cfg` as a slab, or `write_cfg` refuses it.
# Seen: the cell is not written, without a word. What comes back is a cluster in empty space, with the energy and the
# forces of the slab as its labels.
#
# What it means: an atom in the middle of the slab below has two neighbours instead of twelve. A potential trained on
# such a file learns the surface from clusters that nobody computed. Before writing, set `pbc = True` on slabs whose
# vacuum is wider than the cutoff.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile motep==0.2.0 ase==3.29.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from motep.io.mlip.cfg import read_cfg, write_cfg


def round_trip(atoms):
    write_cfg("slab.cfg", atoms, species=["Cu"])
    return read_cfg("slab.cfg", species=["Cu"])


def neighbours(atoms):
    return int(np.bincount(neighbor_list("i", atoms, 3.0), minlength=len(atoms))[2])


slab = fcc111("Cu", (1, 1, 5), vacuum=10.0)
slab.calc = EMT()
energy = slab.get_potential_energy()
slab.get_forces()
back = round_trip(slab)
label = back.get_potential_energy()
back_emt = back.copy()
back_emt.calc = EMT()

print("motep", version("motep"))
print(f"guessed: pbc {slab.pbc}, {neighbours(slab)} neighbours of the middle atom, or an error")
print(f"seen:    pbc {back.pbc}, {neighbours(back)} neighbours; cell of rank {back.cell.rank}")
print(f"         label {label:.3f} eV, the slab's; what came back has {back_emt.get_potential_energy():.3f} eV")
assert abs(label - energy) < 1e-6
assert back.cell.rank == 0 and neighbours(back) < neighbours(slab), "the cell is kept: this finding is out of date"

slab.pbc = True
slab.calc.calculate(slab)
assert neighbours(round_trip(slab)) == neighbours(slab), "the comparison itself is broken"
PYTHON
