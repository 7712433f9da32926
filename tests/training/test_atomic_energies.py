"""Reference energies that are given, or those of isolated atoms: exact, and never trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import iread
from numpy.typing import NDArray

import etn_gpu
from etn_gpu.errors import TrainingError
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.atomic_energies import cohesion_warnings, isolated_energies
from etn_gpu.training.data import Piece
from etn_gpu.training.fixed import Fixed
from etn_gpu.training.initial import reference_energies
from etn_gpu.training.problem import Problem
from etn_gpu.training.vector import ParameterVector

Array = NDArray[np.float64]
Configure = Callable[..., TrainingConfig]
GIVEN = {"Cu": -0.1234567890123456, "Au": 0.1}


def atom(symbol: str, energy: float, box: float | None = 12.0) -> Atoms:
    atoms = Atoms(symbol, [[0.1, 0.2, 0.3]], cell=None if box is None else [box] * 3, pbc=box is not None)
    atoms.info["REF_energy"] = energy
    return atoms


@pytest.mark.parametrize("method", ["gradient", "sweeps"])
@pytest.mark.parametrize("given", [GIVEN, {"Au": -1.0 / 3.0}])
def test_given_energies_stay_bit_for_bit(
    given: dict[str, float], method: str, configure: Configure, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    """In iterations, sweeps and refits; those that are not given are fitted and trained."""
    monkeypatch.setattr("etn_gpu.training.schedule.BETWEEN", 1)
    monkeypatch.setattr("etn_gpu.training.run.REFITS", 1)
    changes = {"method": method, "valid_file": None, "valid_fraction": 0.2, "max_iterations": 3}
    config = configure(reference_energies=given, **changes)
    report = train(config, events.append)
    assert report.refits == 1
    found = etn_gpu.load(config.output).reference_energies
    assert {symbol: found[symbol] for symbol in given} == given
    train(configure(**changes))
    free = etn_gpu.load(config.output).reference_energies
    assert all(free[symbol] != found[symbol] for symbol in free)
    assert report.history[-1]["loss"] < 0.1 * report.history[0]["loss"] / (1 - report.history[0]["decrease"])
    assert any(event.text.startswith("reference energies that are not trained, in eV: ") for event in events)


def test_no_other_gradient_changes(pieces: list[Piece], problem: Problem, theta: Array) -> None:
    fixed = Problem(
        problem.architecture, problem.weights, pieces, fixed=Fixed(np.array([np.nan, 2.0]), np.zeros(2, bool))
    )  # fmt: skip
    expected, found = (p.at(theta, pieces, 1.0).gradient() for p in (problem, fixed))
    place = problem.layout.slices["E0"].start + 1
    assert found[place] == 0.0 != expected[place]
    np.testing.assert_array_equal(np.delete(found, place), np.delete(expected, place))
    assert np.flatnonzero(fixed.held).tolist() == [place]
    assert not problem.held.any()


@pytest.fixture
def problem(pieces: list[Piece], architecture: Any, objective: Any) -> Problem:
    return Problem(architecture, objective.weights, pieces)


def test_places_of_fixed_parameters() -> None:
    layout = ParameterVector({"B0": (2, 1), "U": (2, 3), "A": (1, 3), "E0": (3,)})
    fixed = Fixed.of(("Cu", "Ag", "Au"), ("Cu", "Au"), {"Ag": -1.0, "Au": 9.0}, {"Cu": -2.0})
    np.testing.assert_array_equal(fixed.references, [-2.0, -1.0, np.nan])
    expected = [0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]
    np.testing.assert_array_equal(fixed.places(layout), np.array(expected, bool))
    assert not Fixed.nothing(3).places(layout).any()


def test_the_others_are_fitted_beside_them(pieces: list[Piece]) -> None:
    """Least squares in one unknown, by hand."""
    found = reference_energies(pieces, 2, np.array([np.nan, -1.5]))
    rows = []
    for piece in pieces:
        for s, (start, stop) in enumerate(
            zip(piece.batch.atom_offsets[:-1], piece.batch.atom_offsets[1:], strict=True)
        ):
            if np.isfinite(piece.energy[s]):
                share = float(np.mean(piece.batch.species_index[start:stop] == 0))
                rows.append((share, piece.energy[s] / (stop - start) + 1.5 * (1 - share)))
    a, b = np.array(rows).T
    np.testing.assert_allclose(found, [(a @ b) / (a @ a), -1.5], rtol=1e-10)
    np.testing.assert_array_equal(reference_energies(pieces, 2, np.array([1.0, 2.0])), [1.0, 2.0])
    np.testing.assert_array_equal(reference_energies(pieces, 2, np.full(2, np.nan)), reference_energies(pieces, 2))


class TestIsolated:
    def test_what_is_isolated(self) -> None:
        """The lowest of several; no primitive cell, no box that is too small, no atom without an energy."""
        crystal = bulk("Pt")
        crystal.info["REF_energy"] = -5.0
        unlabelled = Atoms("Ni", [[0, 0, 0]])
        unlabelled.arrays["REF_forces"] = np.zeros((1, 3))
        frames = [
            crystal, atom("Cu", -0.2), atom("Cu", -0.3, box=None), atom("Au", -0.1), atom("Ag", -1.0, box=3.5),
            unlabelled, atom("Cu", -0.25),
        ]  # fmt: skip
        assert isolated_energies(collect_labels(frames), 3.6) == {"Cu": -0.3, "Au": -0.1}
        assert isolated_energies(collect_labels(frames[:1]), 3.6) == {}

    def test_one_that_cannot_be_evaluated(self) -> None:
        broken = atom("Cu", -9.0)
        broken.positions[:] = np.nan
        assert isolated_energies(collect_labels([broken, atom("Au", -0.1)]), 3.6) == {"Au": -0.1}

    @pytest.mark.parametrize("weights", [{}, {"gas": 0.0}])
    def test_they_are_taken(
        self, weights: dict[str, float], configure: Configure, store: Callable[..., Path], alloys: tuple[Path, Path]
    ) -> None:
        atoms = [atom("Cu", -0.3), atom("Au", -0.1)]
        for gas in atoms:
            gas.info["config_type"] = "gas"
        data = store([*iread(alloys[0]), *atoms])
        config = configure(train_file=data, reference_energies="isolated", group_weights=weights)
        report = train(config)
        assert etn_gpu.load(config.output).reference_energies == {"Cu": -0.3, "Au": -0.1}
        assert report.history[0]["structures"] == (20 if weights else 22)
        assert report.groups["left_out" if weights else "train"]["gas"]["structures"] == 2

    def test_one_is_missing(self, configure: Configure, store: Callable[..., Path], alloys: tuple[Path, Path]) -> None:
        data = store([*iread(alloys[0], ":4"), atom("Cu", -0.3)])
        message = r"has none of Au: expected structures of a single atom .* within 3\.6 A\. Add them, give"
        with pytest.raises(TrainingError, match=message):
            train(configure(train_file=data, reference_energies="isolated"))


def test_energies_of_elements_that_are_not_there(configure: Configure, events: list[Event]) -> None:
    config = configure(reference_energies={**GIVEN, "Pt": 1.0}, max_iterations=1)
    train(config, events.append)
    assert etn_gpu.load(config.output).reference_energies == GIVEN
    assert any("reference energies of 1 elements that the data lack are not used: ['Pt']" in e.text for e in events)


def test_energies_of_other_calculations(pieces: list[Piece], configure: Configure) -> None:
    assert cohesion_warnings(pieces, np.zeros(2)) == ()
    [text] = cohesion_warnings(pieces, np.full(2, -1000.0))
    assert text.startswith("energies are 1")
    assert "are they of the same calculations?" in text
    report = train(configure(reference_energies={"Cu": -1e3, "Au": -1e3}, max_iterations=1))
    assert any("eV/atom from the reference energies given" in warning for warning in report.warnings)


def test_a_resumed_run_has_the_same_energies(configure: Configure) -> None:
    config = configure(reference_energies=GIVEN, max_iterations=1)
    train(config)
    again = configure(reference_energies=GIVEN, max_iterations=2, resume=config.checkpoint)
    assert train(again).iterations == 2
    assert etn_gpu.load(config.output).reference_energies == GIVEN
    with pytest.raises(TrainingError, match=r"reference_energies was {.*'Cu': -0\.1234.*}, is None"):
        train(configure(resume=config.checkpoint))


def test_a_warm_start_from_other_reference_energies(configure: Configure, tmp_path: Path) -> None:
    """Given ones go before those of the model."""
    train(configure(output=tmp_path / "base.etn", max_iterations=1))
    config = configure(init=tmp_path / "base.etn", preset=None, reference_energies={"Au": 0.25}, max_iterations=2)
    train(config)
    assert etn_gpu.load(config.output).reference_energies["Au"] == 0.25
