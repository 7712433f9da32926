#!/usr/bin/env bash
# calorine's CPUNEP gives ASE the stress of a structure and, as `get_stresses()`, the part of each atom.
#
# Guess: as with ASE's own calculators, a part has the six components of the stress in Voigt's order, and the parts add up
# to `get_stress()`.
# Seen: a part has nine components, and the sum is minus the stress: xx of the sum is -xx of the stress, to the last digit.
# The help text of CPUNEP says nothing about the sign or the order.
#
# What it means: whoever maps the stress of atoms at a crack, a void or an interface sees tension where there is
# compression. Code that takes the first six columns for xx yy zz yz xz xy reads xy as yy, and no error tells it.
# Take -stresses.reshape(-1, 3, 3).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile calorine==4.1 ase==3.29.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from ase.build import bulk
from ase.calculators.lj import LennardJones
from calorine.calculators import CPUNEP

# A potential of copper with random numbers: 3 + 2 * 3 descriptors, 4 neurons, 3 + 2 radial functions made of 5 each.
numbers = [*np.random.default_rng(1).normal(0, 0.3, 4 * (9 + 2) + 1 + (3 + 2) * 5), *[0.5] * 9]
with open("nep.txt", "w") as file:
    file.write("nep4 1 Cu\ncutoff 4.5 4.0 100 60\nn_max 2 1\nbasis_size 4 4\nl_max 3 0 0\nANN 4 0\n")
    file.writelines(f"{number:.7e}\n" for number in numbers)

crystal = bulk("Cu", a=3.5, cubic=True)  # compressed
crystal.rattle(0.05, seed=1)


def seen(calculator):
    crystal.calc = calculator
    return crystal.get_stress(), crystal.get_stresses()


print("calorine", version("calorine"))
print("guessed: stresses of atoms have shape (4, 6) and add up to the stress")
for name, calculator in (("ASE's LJ", LennardJones(sigma=2.3, epsilon=0.4, rc=6)), ("calorine", CPUNEP("nep.txt"))):
    whole, parts = seen(calculator)
    print(f"seen:    {name}: shape {parts.shape}, stress xx {whole[0]:.6f}, sum of the parts xx {parts.sum(0)[0]:.6f}")
    if name == "ASE's LJ":
        assert np.allclose(parts.sum(0), whole), "the comparison itself is broken"
total = parts.sum(0).reshape(3, 3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
assert np.allclose(total, -whole, rtol=1e-6, atol=1e-9), "parts are no longer minus the stress: this finding is out of date"
assert abs(whole).max() > 1e-6
PYTHON
