#!/usr/bin/env bash
# Machine-learned potentials tell more than ASE has names for: an uncertainty, an extrapolation grade. Their calculators
# put that into `results` beside energy and forces, under names of their own.
#
# Guess, written down before the first run: `calc.export_properties()`, which gives what a calculator has computed as a
# checked set of properties, leaves out a result that ASE has no name for, as the writer of trajectories does.
# Seen: it raises a KeyError with the name, and nothing is exported, energy and forces included. The writer of
# trajectories drops the same result without a word.
#
# What it means: code that exports results works with one calculator and fails with another that merely says more. A
# calculator with results of its own has to leave them out in an `export_properties` of its own, and whoever wants them
# in files has to copy them to `atoms.info` and `atoms.arrays`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q ase==3.29.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import ase
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write


class Cautious(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["uncertainty"] = 0.1


print("ase", ase.__version__)
atoms = bulk("Cu")
atoms.calc = Cautious()
atoms.get_potential_energy()
print("guessed: exported without the uncertainty")
try:
    seen = f"exported {sorted(atoms.calc.export_properties())}"
except KeyError as error:
    seen = f"KeyError: {error}"
print("seen:   ", seen)
assert seen == "KeyError: 'uncertainty'", "extra results are exported or left out: this finding is out of date"
write("cu.traj", atoms)
kept = read("cu.traj").calc.results
print("kept in a trajectory:", sorted(kept))
assert "energy" in kept and "uncertainty" not in kept, "trajectories keep extra results: this finding is out of date"
PYTHON
