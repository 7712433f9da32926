"""What the shipped models say of structures that nobody should trust, and what holds their atoms apart."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu import ETNPotential

CRYSTALS = {
    "nbmotaw": {"Nb": ("bcc", 3.31), "Mo": ("bcc", 3.165), "Ta": ("bcc", 3.32), "W": ("bcc", 3.172)},
    "mo": {"Mo": ("bcc", 3.165)},
    "si": {"Si": ("diamond", 5.43)},
}
VOLUME_OF_W = 3.172**3 / 2


@pytest.fixture(scope="module", params=sorted(CRYSTALS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> ETNPotential:
    return etn_gpu.potential.load(name)


def test_untrusted_structures_are_extrapolations_in_nbmotaw() -> None:
    """Those that the screening once called ok: the first had -18 eV/atom and rank 1."""
    structures = {
        "bcc Mo at 0.78": bulk("Mo", "bcc", a=0.78 * 3.165),
        "bcc W at 0.80": bulk("W", "bcc", a=0.80 * 3.172),
        "bcc W at 0.84": bulk("W", "bcc", a=0.84 * 3.172),
        "bcc W at 1.4": bulk("W", "bcc", a=1.4 * 3.172),
        "fcc W": bulk("W", "fcc", a=(4 * VOLUME_OF_W) ** (1 / 3)),
        "simple cubic W": bulk("W", "sc", a=VOLUME_OF_W ** (1 / 3)),
        "diamond W": bulk("W", "diamond", a=(8 * VOLUME_OF_W) ** (1 / 3)),
        **{f"isolated {symbol}": Atoms(symbol) for symbol in CRYSTALS["nbmotaw"]},
        **{
            f"{a}{b} at {d} A": Atoms([a, b], [[0.0] * 3, [0.0, 0.0, d]])
            for a, b in combinations_with_replacement(CRYSTALS["nbmotaw"], 2)
            for d in (1.5, 2.0, 2.5, 3.0, 4.0)
        },
    }
    results = etn_gpu.potential.load("nbmotaw").evaluate(list(structures.values()))
    trusted = [kind for kind, result in zip(structures, results, strict=True) if not result.extrapolating]
    assert not trusted


def test_the_crystals_themselves_are_known(name: str, model: ETNPotential) -> None:
    cells = [bulk(symbol, *crystal) for symbol, crystal in CRYSTALS[name].items()]
    assert all(result["extrapolation_grade"] < 1.0 for result in model.evaluate(cells))


def test_energy_rises_under_compression(name: str, model: ETNPotential) -> None:
    """Monotonically from equilibrium to 0.6 of the lattice constant."""
    scales = np.arange(1.0, 0.595, -0.01)
    for symbol, (lattice, a) in CRYSTALS[name].items():
        cells = [bulk(symbol, lattice, a=a * scale) for scale in scales]
        energies = np.array([result["energy"] for result in model.evaluate(cells, stress=False)])
        least = int(np.argmin(energies))
        assert scales[least] >= 0.98, symbol
        assert (np.diff(energies[least:]) > 0.0).all(), symbol


def test_pairs_are_repelled(name: str, model: ETNPotential) -> None:
    """Down to 0.5 A from where repulsion begins, alone and where one atom of a crystal is pushed towards a neighbour.

    From 2 A to there a pair may be drawn together a little: the bond of Mo2 is 1.94 A long.
    """
    assert model.terms is not None
    distances = np.arange(2.0, 0.49, -0.05)
    for a, b in combinations_with_replacement(CRYSTALS[name], 2):
        dimers = [Atoms([a, b], [[0.0] * 3, [0.0, 0.0, d]]) for d in distances]
        crystals = []
        lattice, constant = CRYSTALS[name][a]
        host = bulk(a, lattice, a=constant, cubic=True).repeat(3)
        direction = host.positions[1] - host.positions[0]
        host.symbols[1] = b
        for d in distances:
            crystal = host.copy()
            crystal.positions[1] = crystal.positions[0] + direction * d / np.linalg.norm(direction)
            crystals.append(crystal)
        outer = model.terms.repulsion[model.species.index(a), model.species.index(b), 1]
        close = distances[:-1] <= outer - 0.05
        for kind, structures in (("dimer", dimers), ("crystal", crystals)):
            energies = np.array([result["energy"] for result in model.evaluate(structures, stress=False)])
            rises = np.diff(energies)
            assert (rises[close] > 0.0).all(), f"{a}-{b}, {kind}"
            assert np.minimum(rises, 0.0).sum() > -0.5, f"{a}-{b}, {kind}"
