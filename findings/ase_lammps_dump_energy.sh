#!/usr/bin/env bash
# A LAMMPS dump holds positions, velocities, forces, whatever was asked for, but no potential energy of the system.
#
# Guess, written down before the first run: reading a dump that has fx fy fz with ASE gives the forces, and asking for
# the energy is an error, because there is none in the file.
# Seen: the structure carries an energy of exactly 0 eV beside the forces.
#
# What it means: a data set collected from dumps has the label "energy = 0" in every frame, forces that are right, and
# no word of it. A potential trained on both learns that all structures are equally stable. Drop the energy, or
# read it from the log.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ase==3.29.0 numpy==2.4.6
cat >"$folder/dump.lammpstrj" <<'DUMP'
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 3.2
0 3.2
0 3.2
ITEM: ATOMS id element x y z fx fy fz
1 W 0 0 0 0.5 -0.25 0
2 W 1.7 1.6 1.6 -0.5 0.25 0
DUMP
"$folder/venv/bin/python" - "$folder/dump.lammpstrj" <<'PYTHON'
import sys

import ase
import numpy as np
from ase.io import read

atoms = read(sys.argv[1], format="lammps-dump-text")
results = {} if atoms.calc is None else atoms.calc.results
print("ase", ase.__version__)
print("guessed: forces, and no energy")
print("seen:    results", sorted(results), "energy", results.get("energy"))
assert np.allclose(results["forces"], [[0.5, -0.25, 0.0], [-0.5, 0.25, 0.0]]), "the forces are no longer read"
assert results.get("energy") == 0.0, "ASE no longer makes up an energy: this finding is out of date"
PYTHON
