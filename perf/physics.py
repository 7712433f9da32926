"""What a potential does where no data are: compression, close pairs, hot and dense dynamics, wild relaxations.

    ETN_GPU_DATA=/path/to/data python perf/physics.py MODEL ...             # all parts, 10 000 steps of dynamics
    ETN_GPU_DATA=/path/to/data python perf/physics.py mo --parts curves pairs --steps 2000

For each model, a file or the name of a shipped one, with its terms and, where that takes no dynamics, without them:

* ``curves``: energies of crystals of each element, ordered and random alloys, from their equilibrium down to 0.6 of its
  lengths in steps of 0.01: along how many they rise all the way;
* ``pairs``: each pair of elements from 2.0 to 0.5 A, alone and in a crystal of 54 (Si: 64) atoms: where it is repelled;
* ``dynamics``: 1 fs steps at 5000 K without a thermostat, and at 5000 K and 100 GPa: drift of the energy, volume, the
  smallest distance;
* ``relaxations``: 100 small random crystals, 0.8 to 1.3 of their lengths, relaxed with their cells (BFGS, 0.05 eV/A, at
  most 200 steps): how many end where their labels are, and how many elsewhere;
* ``errors``: on the published test split, and how many of its atoms are outside of the domain of the network.

One thread. Results go into perf/results/physics.json, beside those of other models that it holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import common
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import MTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from data_sets import DATA_SETS
from markdown_table import table
from numpy.typing import NDArray
from trained import mean_errors

from etn_gpu.backend.terms import SiteTerms
from etn_gpu.calculator import ETNCalculator
from etn_gpu.errors import EtnGpuError, StructureError
from etn_gpu.potential import ETNPotential, load
from etn_gpu.potential.kernel import Environments
from etn_gpu.structures import StructureBatch, read_labelled
from etn_gpu.structures.units import GPA

Array = NDArray[np.float64]
PARTS = ("curves", "pairs", "dynamics", "relaxations", "errors")
#: Set of the test split and lattice constants in A, by the elements of a model.
SETS = {("Nb", "Mo", "Ta", "W"): "nbmotaw", ("Mo",): "zuo2020_Mo", ("Si",): "zuo2020_Si"}
LATTICE = {"Nb": 3.32, "Mo": 3.165, "Ta": 3.32, "W": 3.19, "Si": 5.47}
SCALES = np.arange(1.0, 0.5999, -0.01)
DISTANCES = np.arange(2.0, 0.4999, -0.01)
TEMPERATURE, PRESSURE, STEP = 5000.0, 100.0, 1.0
RELAXATIONS, MOST_STEPS, FORCE = 100, 200, 0.05
#: The known basin: formation energies in eV/atom and volumes over those of the elements.
BASIN_ENERGY, BASIN_VOLUME = (-0.3, 0.15), (0.93, 1.07)
#: Volumes below which nothing is left to relax, over the usual ones.
COLLAPSED = 0.3


def energies(model: ETNPotential, structures: list[Atoms]) -> Array:
    """Energies in eV; nan where there is none."""
    found = model.evaluate_each(structures, forces=True, stress=False, threads=1)
    return np.array([np.nan if isinstance(r, StructureError) else r["energy"] for r in found])


def crystals(model: ETNPotential) -> Iterator[tuple[str, Atoms]]:
    """Crystals that energies of compression are computed of."""
    silicon = model.species == ("Si",)
    for symbol in model.species:
        for lattice in ("diamond", "bcc", "sc", "fcc") if silicon else ("bcc", "fcc", "sc"):
            volume = {"diamond": 8, "bcc": 2, "fcc": 4, "sc": 1}[lattice] * _volume(symbol)
            yield f"{lattice} {symbol}", bulk(symbol, lattice, a=volume ** (1 / 3))
    for first, second in combinations_with_replacement(model.species, 2):
        if first != second:
            length = (_volume(first) + _volume(second)) ** (1 / 3)
            yield f"B2 {first}{second}", bulk(first + second, "cesiumchloride", a=length)
    rng = np.random.default_rng(0)
    for k in range(6 if len(model.species) > 1 else 0):
        yield f"random {k + 1}", _alloy(model, rng, (2, 2, 2))


def _volume(symbol: str) -> float:
    return LATTICE[symbol] ** 3 / (8 if symbol == "Si" else 2)


def _alloy(model: ETNPotential, rng: np.random.Generator, size: tuple[int, int, int]) -> Atoms:
    """A crystal of random elements on the lattice of the elements, at the mean of their volumes."""
    if model.species == ("Si",):
        return bulk("Si", "diamond", a=LATTICE["Si"], cubic=max(size) > 1) * (size if max(size) > 2 else (1, 1, 1))
    atoms = bulk(model.species[0], "bcc", a=1.0, cubic=True) * size
    atoms.symbols[:] = rng.choice(model.species, len(atoms))
    scale = (2.0 * np.mean([_volume(symbol) for symbol in atoms.symbols])) ** (1 / 3)
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def _scaled(atoms: Atoms, scale: float) -> Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * scale, scale_atoms=True)
    return scaled


def curves(model: ETNPotential) -> dict[str, Any]:
    """Where energies rise all the way from equilibrium to 0.6 of its lengths, and the falls in eV/atom elsewhere."""
    falls = {}
    paths = list(crystals(model))
    for name, atoms in paths:
        around = np.arange(1.1, 0.6, -0.005)
        near = energies(model, [_scaled(atoms, s) for s in around])
        start = around[_valley(near, int(np.argmin(np.abs(around - 1.0))))]
        values = energies(model, [_scaled(atoms, start * s) for s in SCALES]) / len(atoms)
        if (fall := _fall(values)) > 0.0:
            falls[name] = fall
    return {"paths": len(paths), "rising": len(paths) - len(falls), "falls": falls}


def _valley(values: Array, place: int) -> int:
    """The minimum that one comes to downhill from a place."""
    while True:
        first = max(place - 1, 0)
        lower = first + int(np.nanargmin(values[first : place + 2]))
        if lower == place:
            return place
        place = lower


def pairs(model: ETNPotential) -> dict[str, Any]:
    """Where energies rise as pairs come closer: from 2 A on, or else from the distance in A at which they begin to."""
    found, paths = {}, 0
    crystal = bulk("Si", "diamond", a=LATTICE["Si"], cubic=True) * (2, 2, 2)
    for first, second in combinations_with_replacement(model.species, 2):
        alone = Atoms([first, second], [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
        if model.species != ("Si",):
            crystal = _alloy(model, np.random.default_rng(1), (3, 3, 3))
        inside = crystal.copy()
        inside.symbols[0] = first
        others = inside.get_distances(0, range(1, len(inside)), mic=True)
        j = 1 + int(np.argmin(others))
        inside.symbols[j] = second
        for name, atoms, other in (
            (f"{first}-{second} alone", alone, 1),
            (f"{first}-{second} in a crystal", inside, j),
        ):
            values = energies(model, [_pushed(atoms, other, r) for r in DISTANCES])
            paths += 1
            if (fall := _fall(values)) > 0.0:
                falling = np.flatnonzero(~(np.diff(values) > -1e-6))
                found[name] = {"rises from": round(float(DISTANCES[falling[-1] + 1]), 2), "fall": fall}
    return {"paths": paths, "rising": paths - len(found), "falls": found}


def _pushed(atoms: Atoms, j: int, r: float) -> Atoms:
    pushed = atoms.copy()
    vector = atoms.get_distance(0, j, mic=bool(atoms.pbc.any()), vector=True)
    shift = 0.5 * (1.0 - r / np.linalg.norm(vector)) * vector
    pushed.positions[0] += shift
    pushed.positions[j] -= shift
    return pushed


def _fall(values: Array) -> float:
    """By how much values fall altogether in eV; infinite where one is missing."""
    if np.isnan(values).any():
        return np.inf
    fall = np.maximum(-np.diff(values), 0.0)
    return float(fall.sum()) if fall.max() > 1e-6 else 0.0


def dynamics(model: ETNPotential, steps: int) -> dict[str, Any]:
    """Energy drift, volume and smallest distance at 5000 K, without a thermostat and at 100 GPa."""
    found: dict[str, Any] = {}
    for ensemble in ("NVE", "NPT"):
        atoms = _alloy(model, np.random.default_rng(0), (2, 2, 2) if model.species == ("Si",) else (3, 3, 3))
        if model.species == ("Si",):
            atoms = bulk("Si", "diamond", a=LATTICE["Si"], cubic=True) * (2, 2, 2)
        atoms.calc = ETNCalculator(model, threads=1)
        # Half of the kinetic energy of a perfect crystal goes into its vibrations.
        temperature = TEMPERATURE * (2.0 if ensemble == "NVE" else 1.0)
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=np.random.default_rng(1))
        Stationary(atoms)
        if ensemble == "NVE":
            run: Any = VelocityVerlet(atoms, STEP * units.fs)
        else:
            run = MTKNPT(
                atoms, STEP * units.fs, temperature_K=TEMPERATURE, pressure_au=PRESSURE * units.GPa,
                tdamp=100 * units.fs, pdamp=1000 * units.fs,
            )  # fmt: skip
        rows: list[tuple[float, ...]] = []

        def note(atoms: Atoms = atoms, rows: list[tuple[float, ...]] = rows) -> None:
            distances = atoms.get_all_distances(mic=True) + 99.0 * np.eye(len(atoms))
            rows.append(
                (
                    atoms.get_total_energy() / len(atoms),
                    atoms.get_temperature(),
                    atoms.get_volume() / len(atoms),
                    float(distances.min()),
                    -float(atoms.get_stress()[:3].mean()) / GPA,
                )
            )

        run.attach(note, interval=10)
        begin = time.monotonic()
        run.run(steps)
        energy, kelvin, volume, nearest, pressure = np.array(rows).T
        late = slice(len(rows) // 2, None)
        found[ensemble] = {
            "atoms": len(atoms), "steps": steps, "seconds": round(time.monotonic() - begin, 1),
            "temperature": float(kelvin[late].mean()), "pressure": float(pressure[late].mean()),
            "volume": [float(volume.min()), float(volume[late].mean()), float(volume.max())],
            "smallest distance": float(nearest.min()),
        }  # fmt: skip
        if ensemble == "NVE":
            found[ensemble]["largest change of energy (eV/atom)"] = float(np.abs(energy - energy[0]).max())
            found[ensemble]["drift (eV/atom)"] = float(energy[-1] - energy[0])
        print(ensemble, found[ensemble], flush=True)
    return found


def relaxations(model: ETNPotential) -> dict[str, Any]:
    """Where relaxations of small random crystals end."""
    reference = model.metadata["formation_references"]
    rng = np.random.default_rng(2)
    sizes = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 1))
    calculator = ETNCalculator(model, threads=1)
    counts = dict.fromkeys(("known basin", "elsewhere, above", "elsewhere, below", "not converged", "collapsed"), 0)
    notes = []
    for k in range(RELAXATIONS):
        atoms = _alloy(model, rng, sizes[k % len(sizes)])
        usual, scale = atoms.get_volume(), rng.uniform(0.8, 1.3)
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        atoms.positions += 0.02 * rng.normal(size=(len(atoms), 3))
        atoms.calc = calculator
        end, energy, volume = "collapsed", np.nan, np.nan
        try:
            moving: Any = FrechetCellFilter(atoms)
            optimiser = BFGS(moving, logfile=None)
            for _ in range(MOST_STEPS):
                converged = optimiser.run(fmax=FORCE, steps=1)
                if converged or atoms.get_volume() < COLLAPSED * usual:
                    break
            if atoms.get_volume() < COLLAPSED * usual:
                raise StructureError("collapsed")
            energy = (atoms.get_potential_energy() - sum(reference[s] for s in atoms.symbols)) / len(atoms)
            volume = atoms.get_volume() / usual
            end = "known basin" if converged else "not converged"
            if converged and not _within(energy, BASIN_ENERGY):
                end = "elsewhere, above" if energy > BASIN_ENERGY[1] else "elsewhere, below"
            elif converged and not _within(volume, BASIN_VOLUME):
                end = "elsewhere, above"
        except (EtnGpuError, ValueError, RuntimeError, np.linalg.LinAlgError) as error:
            notes.append(f"{atoms.symbols} from {scale:.2f}: {type(error).__name__} {error}")
        counts[end] += 1
        if end not in ("known basin", "collapsed"):
            notes.append(f"{atoms.symbols} from {scale:.2f}: {end}, {energy:.3f} eV/atom, volume {volume:.2f}")
    return {"relaxations": RELAXATIONS, **counts, "notes": notes}


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def errors(model: ETNPotential) -> dict[str, Any]:
    """Test errors with and without terms, and the atoms that the terms see as outside of the domain."""
    data = DATA_SETS[SETS[model.species]]
    labels = read_labelled(data.path("test.extxyz.gz"))
    outside, atoms, worst = 0, 0, 1.0
    if model.term_tables is not None:
        for first in range(0, len(labels), 100):
            batch = StructureBatch.build(labels.atoms[first : first + 100], model.species, model.cutoff)
            environments = Environments.of(batch)
            sites = SiteTerms(model.term_tables, environments.geometry, environments.vectors)
            beyond = (sites.weights < 1.0) | (sites.sites[:, 5] > 0.0)
            outside, atoms = outside + int(beyond.sum()), atoms + batch.n_atoms
            worst = min(worst, float(sites.weights.min()))
    return {
        "test structures": len(labels), "atoms": atoms, "atoms outside": outside, "least weight": worst,
        "with": mean_errors(model, labels), "without": mean_errors(model.with_terms(None), labels),
    }  # fmt: skip


def measure(model: ETNPotential, parts: list[str], steps: int) -> dict[str, Any]:
    """The parts that were asked for."""
    found: dict[str, Any] = {}
    plain = model.with_terms(None)
    for part in parts:
        print(f"{part} ...", flush=True)
        if part == "dynamics":
            found[part] = dynamics(model, steps)
        elif part == "errors":
            found[part] = errors(model)
        else:
            function = {"curves": curves, "pairs": pairs, "relaxations": relaxations}[part]
            found[part] = {"with": function(model), "without": function(plain)}
        print(json.dumps(found[part]), flush=True)
    return found


def rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table: model, part, with terms, without."""
    for name, entry in report["models"].items():
        for part in ("curves", "pairs"):
            if part in entry:
                shown = [f"{entry[part][k]['rising']} of {entry[part][k]['paths']} rise" for k in ("with", "without")]
                yield name, part, shown[0], shown[1]
        for ensemble, md in entry.get("dynamics", {}).items():
            change = md.get("largest change of energy (eV/atom)")
            energy = "" if change is None else f"energy within {1e3 * change:.2g} meV/atom, "
            text = f"{md['steps']} steps: {energy}{md['volume'][1]:.1f} A^3/atom, "
            text += f"distances from {md['smallest distance']:.2f} A"
            yield name, ensemble, text, "–"
        if "relaxations" in entry:
            shown = [
                ", ".join(f"{n} {end}" for end, n in entry["relaxations"][k].items() if isinstance(n, int) and n)
                for k in ("with", "without")
            ]
            yield name, "relaxations", shown[0], shown[1]
        if "errors" in entry:
            e = entry["errors"]
            shown = [f"{e[k]['energy_mae']:.4f} meV/atom, {e[k]['forces_mae']:.5f} eV/A" for k in ("with", "without")]
            yield name, f"test errors, {e['atoms outside']} of {e['atoms']} atoms outside", shown[0], shown[1]


def main() -> int:
    """Measure and print; exit status 2 where a model or data are not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model files, or names of shipped models")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=10_000, help="of dynamics; default: 10000")
    options = parser.parse_args()
    path = common.RESULTS / "physics.json"
    report: dict[str, Any] = {"models": {}}
    try:
        for name in options.models:
            model = load(name)
            found = measure(model, options.parts, options.steps)
            if path.exists():  # it may have grown meanwhile
                report = json.loads(path.read_text())
            entry = report["models"].setdefault(Path(name).stem, {})
            entry |= {**found, "machine": common.machine()}
            common.save("physics", report)
    except EtnGpuError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(("model", "part", "with terms", "without"), list(rows(report)), text_columns=4))
    return 0


if __name__ == "__main__":
    sys.exit(main())
