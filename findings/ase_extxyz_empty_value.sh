#!/usr/bin/env bash
# In the comment line of extended XYZ a value may be a quoted string, and a quoted string may be empty: programs that
# write the fields of a table write `comment=""` where a field is blank.
#
# Guess, written down before the first run: with ASE, `comment="" energy=-3.5` gives an empty comment and an energy of
# -3.5 eV.
# Seen: the entry behind the empty one is taken for its value, key and all; the energy is gone, without an error.
#
# What it means: labels are lost in just those frames in which some other field was blank, and the structures are
# trained on without them. Write no entry where there is no value, or any word for it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ase==3.29.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import ase
from ase.io import read

HEADER = 'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 '


def energy(entries: str) -> object:
    atoms = read(io.StringIO(f"1\n{HEADER}{entries}\nW 0 0 0\n"), format="extxyz")
    return (atoms.calc.results if atoms.calc else {}).get("energy"), dict(atoms.info)


print("ase", ase.__version__)
blank, filled = energy('comment="" energy=-3.5'), energy('comment="x" energy=-3.5')
print("guessed: energy -3.5 and an empty comment")
print("seen:    energy", blank[0], "and info", blank[1])
assert filled[0] == -3.5, "the energy is not even read behind a comment"
assert blank[0] is None, "ASE reads the energy behind an empty value: this finding is out of date"
PYTHON
