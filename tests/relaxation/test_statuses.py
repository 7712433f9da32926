"""Every way to leave, each by a real structure; what is kept of the structures that were given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

import etn_gpu
from etn_gpu.potential import ETNPotential
from etn_gpu.relaxation import Limits, Relaxation

Alloys = Callable[..., list[Atoms]]


def crystal(a: float = 3.165, symbol: str = "Mo") -> Atoms:
    atoms: Atoms = bulk(symbol, "bcc", a=a, cubic=True)
    return atoms


def test_converged(model: ETNPotential, alloys: Alloys) -> None:
    (start,) = alloys(1)
    (one,) = etn_gpu.relax(model, start, cell="full")
    assert (one.status, one.message) == ("converged", "")
    assert max(one.residual_force or 0.0, one.residual_cell or 0.0) < 0.01
    assert one.initial_energy == pytest.approx(model.evaluate(start)[0]["energy"], abs=1e-9)
    assert one.energy is not None
    assert one.initial_energy is not None
    assert one.energy < one.initial_energy
    assert one.forces is not None
    assert one.stress is not None
    assert one.energies is not None
    assert one.grades is not None
    again = model.evaluate(one.atoms)[0]
    assert one.energy == again["energy"] == one.atoms.get_potential_energy()
    for found, name in ((one.forces, "forces"), (one.stress, "stress"), (one.energies, "energies")):
        assert np.array_equal(found, again[name])
    assert np.array_equal(one.grades, again["extrapolation_grades"])


def test_not_converged(model: ETNPotential, alloys: Alloys) -> None:
    (one,) = etn_gpu.relax(model, alloys(1), cell="full", steps=2)
    assert (one.status, one.steps) == ("not converged", 2)
    assert one.message.startswith("after 2 steps ")
    assert one.message.endswith("eV/A are left, fmax is 0.01")
    assert one.energy is not None


def nan_position() -> Atoms:
    atoms = crystal()
    atoms.positions[1, 2] = np.nan
    return atoms


def flat() -> Atoms:
    atoms = crystal()
    atoms.cell[2] = atoms.cell[1]
    return atoms


FAILED = {
    "unknown element Fe": crystal(2.87, "Fe"),
    "at one place": Atoms("Mo2", [[0, 0, 0], [0, 0, 1e-6]], cell=[4, 4, 4], pbc=True),
    "expected finite positions": nan_position(),
    "span no volume": flat(),
    "no atoms": Atoms(),
    "int is no structure": 3,
    "str is no structure": "Mo",
}


@pytest.mark.parametrize("text", FAILED)
def test_failed_takes_no_other_along(model: ETNPotential, text: str) -> None:
    given: list[Any] = [crystal(3.2), FAILED[text], crystal(3.2)]
    first, failed, last = etn_gpu.relax(model, given, cell="full")
    assert failed.status == "failed"
    assert text in failed.message
    assert (failed.steps, failed.energy, failed.initial_energy, failed.residual_force) == (0, None, None, None)
    assert first.status == last.status == "converged"


def test_a_pressure_needs_three_periodic_directions(model: ETNPotential) -> None:
    slab = crystal()
    slab.pbc = True, True, False
    (one,) = etn_gpu.relax(model, slab, cell="full", pressure=10)
    assert one.status == "failed"
    assert "got pbc = (True, True, False)" in one.message


EXPLODED = {
    "expanded: its volume is 1.": (crystal(2.85), Limits(volume=(0.9, 1.1))),
    "collapsed: its volume is 0.": (crystal(3.5), Limits(volume=(0.9, 1.1))),
    "its energy fell by": (crystal(3.0), Limits(energy=(-0.05, 1.0))),
    "its pressure is": (crystal(2.7), Limits(pressure=(-20.0, 20.0))),
    "A apart, the bound on the distance is 2.7": (crystal(2.9), Limits(distance=2.7)),
    "expanded: at 256 A^3/atom all of its atoms have thinner": (crystal(8.0), Limits()),
}


@pytest.mark.parametrize("text", EXPLODED)
def test_exploded_says_which_bound(backend: str, model: ETNPotential, text: str) -> None:
    start, limits = EXPLODED[text]
    exploded, fine = etn_gpu.relax(model, [start, crystal(3.17)], cell="full", limits=limits, backend=backend)
    assert exploded.status == "exploded"
    assert text in exploded.message
    assert fine.status == "converged"


def test_a_crystal_that_flies_apart_without_terms(model: ETNPotential) -> None:
    bare = model.with_terms(None)
    start = crystal(3.32 * 1.28, "Nb")
    assert etn_gpu.relax(model, start, cell="full")[0].status == "converged"
    (one,) = etn_gpu.relax(bare, start, cell="full")
    assert one.status == "exploded"
    assert one.message.startswith("expanded: its volume is 2.")


def test_a_structure_that_cannot_be_evaluated_any_more(model: ETNPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by atoms that fall into one another, which no shipped model lets happen."""
    from etn_gpu.relaxation import flight
    from etn_gpu.structures.validate import geometry_failures as checked

    count = iter(range(100))

    def later(*arguments: Any) -> Any:
        return checked(*arguments) | ({0: etn_gpu.errors.StructureError("at one place")} if next(count) == 2 else {})

    monkeypatch.setattr(flight, "geometry_failures", later)
    gone, fine = etn_gpu.relax(model, [crystal(3.3), crystal(3.2)], cell="full")
    assert (gone.status, gone.message, gone.steps) == ("exploded", "at one place", 2)
    assert fine.status == "converged"


def test_what_was_given_is_kept_and_not_changed(model: ETNPotential, alloys: Alloys) -> None:
    (start,) = alloys(1)
    start.info["name"] = "alloy"
    start.set_array("label", np.arange(len(start)))
    start.set_initial_magnetic_moments(np.ones(len(start)))
    start.set_constraint(FixAtoms([0]))
    before = start.copy()
    (one,) = etn_gpu.relax(model, start, cell="full")
    assert start == before
    assert start.calc is None
    assert one.atoms.info == {"name": "alloy"}
    assert set(one.atoms.arrays) == set(start.arrays)
    assert np.array_equal(one.atoms.arrays["label"], start.arrays["label"])
    assert not np.array_equal(one.atoms.positions, start.positions)
    assert len(one.atoms.constraints) == 1


def test_nothing_and_generators(model: ETNPotential) -> None:
    assert etn_gpu.relax(model, []) == []
    found = etn_gpu.relax(model, (crystal(a) for a in (3.1, 3.2)), cell="full")
    assert [one.status for one in found] == ["converged"] * 2
    assert etn_gpu.relax("nbmotaw", crystal(), steps=1)[0].status == "converged"


def test_a_stream_is_read_when_there_is_room(model: ETNPotential, alloys: Alloys) -> None:
    starts, read = alloys(30, ((1, 1, 1),)), []

    def stream() -> Iterator[tuple[str, Atoms]]:
        for k, atoms in enumerate(starts):
            read.append(k)
            yield f"number {k}", atoms

    outcomes = Relaxation(model, cell="full", atoms=8).run(stream())
    assert read == []
    keys = [next(outcomes)[0]]
    assert len(read) < 8
    keys += [key for key, _ in outcomes]
    assert sorted(keys) == sorted(f"number {k}" for k in range(30))
