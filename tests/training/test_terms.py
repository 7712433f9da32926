"""Training ends with terms beside the network; repulsion that reaches into the data is taken from the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from numpy.typing import NDArray

from etn_gpu.backend.terms import SiteTerms
from etn_gpu.errors import TrainingError
from etn_gpu.potential import ETNPotential, load
from etn_gpu.potential.kernel import Environments
from etn_gpu.potential.metrics import Metrics
from etn_gpu.structures import LabelledSet, StructureBatch, read_labelled
from etn_gpu.training import Event, TrainingConfig, train
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.terms import repulsion_radii, with_repulsion, without_repulsion
from tests.training.conftest import CUTOFF, SPECIES, with_labels

Array = NDArray[np.float64]
Configure = Callable[..., TrainingConfig]


def mean_errors(model: ETNPotential, labels: LabelledSet) -> dict[str, float | None]:
    metrics = Metrics()
    for i, result in enumerate(model.evaluate(list(labels.atoms))):
        metrics.add(result, **labels.of(i))
    return {f"{name}_mae": getattr(metrics, name).mae for name in ("energy", "forces", "stress")}


@pytest.mark.parametrize("reach", [1.0, 1.2])
def test_a_model_with_terms_and_its_errors(configure: Configure, reach: float) -> None:
    events: list[Event] = []
    config = configure(repulsion="zbl", repulsion_reach=reach, max_iterations=6)
    report = train(config, events.append)
    model = load(config.output)
    assert model.terms is not None
    assert model.metadata["calibration"]["checks"] > 20
    assert any("on which" in event.text for event in events if event.kind == "message")

    # Errors are those of the whole model against the whole labels.
    for part, errors in ((config.train_file, report.train), (config.valid_file, report.valid)):
        assert isinstance(part, Path)
        for name, value in mean_errors(model, read_labelled(part)).items():
            assert value == pytest.approx(errors[name], rel=1e-9)
    assert report.train["forces_mae"] is not None
    assert report.train["forces_mae"] < 0.4

    labels = read_labelled(config.train_files[0])
    batch = StructureBatch.build(labels.atoms, model.species, model.cutoff)
    environments = Environments.of(batch)
    assert model.term_tables is not None
    sites = SiteTerms(model.term_tables, environments.geometry, environments.vectors).sites
    assert (sites[:, 0] == 1.0).all()
    assert (sites[:, 5] > 0.0).any() == (reach > 1.0)


def test_a_run_on_emt_is_held_apart(configure: Configure) -> None:
    """Copper and gold a few iterations long: energies rise from equilibrium down to 0.6 of the lengths."""
    config = configure(repulsion="zbl", max_iterations=6)
    train(config)
    model = load(config.output)
    scales = np.arange(1.06, 0.599, -0.01)
    for symbols in ("Cu4", "Au4", "Cu3Au", "Cu2Au2"):
        atoms = bulk("Cu", a=4.0, cubic=True)
        atoms.symbols = Atoms(symbols).symbols
        many = []
        for scale in scales:
            many.append(atoms.copy())
            many[-1].set_cell(atoms.cell * scale, scale_atoms=True)
        energies = np.array([r["energy"] for r in model.evaluate(many)])
        assert np.diff(energies[int(np.argmin(energies)) :]).min() > 0.0
        assert energies.argmin() < 20


@pytest.mark.usefixtures("whole_iterations")  # a network that has learnt little meets its bounds on other structures
def test_without_repulsion_the_model_is_the_network(configure: Configure) -> None:
    reports = [train(configure(repulsion=kind)) for kind in ("zbl", "none")]
    assert load(configure().output).terms is None
    assert reports[0].train == reports[1].train
    assert reports[0].valid == reports[1].valid


def test_held_out_structures_are_in_the_domain_of_a_refitted_model(configure: Configure) -> None:
    config = configure(repulsion="zbl", valid_file=None, valid_fraction=0.3)
    report = train(config)
    assert report.refits
    model = load(config.output)
    plain = model.with_terms(None)
    labels = read_labelled(config.train_files[0])
    for a, b in zip(model.evaluate(labels.atoms), plain.evaluate(labels.atoms), strict=True):
        assert np.array_equal(a["forces"], b["forces"])


def test_isolated_atoms_among_the_labels(
    configure: Configure, tmp_path: Path, make_alloy: Callable[..., Atoms]
) -> None:
    rng = np.random.default_rng(0)
    frames = [with_labels(make_alloy(rng)) for _ in range(8)]
    for symbol, energy in (("Cu", 3.5), ("Au", 3.8)):
        frames.append(Atoms(symbol, info={"REF_energy": energy}))
    write(tmp_path / "isolated.extxyz", frames)
    config = configure(repulsion="zbl", train_file=tmp_path / "isolated.extxyz", valid_file=None, valid_fraction=0.0)
    train(config)
    model = load(config.output)
    assert model.evaluate(Atoms("Au"))[0]["energy"] == pytest.approx(3.8, abs=1e-9)
    assert model.evaluate(Atoms("Cu"))[0]["energy"] == pytest.approx(3.5, abs=1e-9)


def test_a_warm_start_keeps_the_terms_of_what_the_data_lack(
    configure: Configure, tmp_path: Path, make_alloy: Callable[..., Atoms]
) -> None:
    first = configure(repulsion="zbl", output=tmp_path / "first.etn")
    train(first)
    rng = np.random.default_rng(3)
    write(tmp_path / "copper.extxyz", [with_labels(make_alloy(rng, ["Cu"])) for _ in range(6)])
    config = configure(
        repulsion="zbl", init=tmp_path / "first.etn", train_file=tmp_path / "copper.extxyz", valid_file=None,
        valid_fraction=0.0, preset=None, cutoff=None,
    )  # fmt: skip
    train(config)
    before, after = load(first.output).terms, load(config.output).terms
    assert before is not None
    assert after is not None
    gold = SPECIES.index("Au")
    np.testing.assert_array_equal(after.density[gold], before.density[gold])
    assert not np.array_equal(after.density[1 - gold], before.density[1 - gold])


# -- labels without repulsion ------------------------------------------------------------------------------------------


def whole_and_reduced(pieces: Sequence[Piece], config: TrainingConfig) -> tuple[list[Piece], Array]:
    radii = repulsion_radii(pieces, SPECIES, CUTOFF, config)
    assert radii is not None
    return without_repulsion(pieces, radii), radii


def test_what_is_taken_from_labels_is_the_repulsion_of_the_model(
    configure: Configure, pieces: list[Piece], labels: LabelledSet
) -> None:
    """A model whose network is nothing: its energies, forces and stresses are those of the pairs."""
    reduced, radii = whole_and_reduced(pieces, configure(repulsion="zbl", repulsion_reach=1.3))
    found = 0
    for piece, other in zip(pieces, reduced, strict=True):
        batch = piece.batch
        numbers = {"Cu": 29, "Au": 79}
        for s in range(batch.n_structures):
            part = slice(batch.atom_offsets[s], batch.atom_offsets[s + 1])
            expected = sum(
                0.5
                * zbl(
                    numbers[SPECIES[batch.species_index[i]]],
                    numbers[SPECIES[batch.species_index[j]]],
                    r,
                    *radii[batch.species_index[i], batch.species_index[j]],
                )
                for i in range(part.start, part.stop)
                for j, r in neighbours(batch, i)
            )
            taken = piece.energy[s] - other.energy[s]
            assert np.isnan(taken) or taken == pytest.approx(expected, abs=1e-9)
            found += expected > 0.01
    assert found > 2


def neighbours(batch: StructureBatch, i: int) -> list[tuple[int, float]]:
    edges = range(batch.edge_offsets[i], batch.edge_offsets[i + 1])
    return [(int(batch.neighbour[e]), float(np.linalg.norm(batch.vectors[e]))) for e in edges]


def zbl(a: int, b: int, r: float, inner: float, outer: float) -> float:
    if r >= outer:
        return 0.0
    x = r / (0.8854 * 0.529177 / (a**0.23 + b**0.23))
    phi = sum(
        s * np.exp(-d * x) for s, d in ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
    )
    t = min(max((r - inner) / (outer - inner), 0.0), 1.0)
    return float(14.399645 * a * b / r * phi * (1 - t**3 * (10 - 15 * t + 6 * t * t)))


def test_forces_and_stresses_are_derivatives_of_the_energy_that_is_taken(configure: Configure) -> None:
    """Central differences, of a crystal that is moved and strained."""
    config = configure(repulsion="zbl", repulsion_reach=1.3)
    rng = np.random.default_rng(2)
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.symbols[1] = "Au"
    atoms.positions += 0.1 * rng.normal(size=(4, 3))
    radii = repulsion_radii([piece_of(atoms)], SPECIES, CUTOFF, config)

    def taken(moved: Atoms) -> tuple[float, Array, Array]:
        piece = piece_of(moved)
        (other,) = without_repulsion([piece], radii)
        return piece.energy[0] - other.energy[0], piece.forces - other.forces, (piece.stress - other.stress)[0]

    energy, forces, stress = taken(atoms)
    assert energy > 0.1
    step = 1e-4
    for i, k in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[i, k] += sign * step
            ends.append(taken(moved)[0])
        assert forces[i, k] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-5)
    for row, column, place in ((0, 0, 0), (1, 2, 3)):
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += 0.5 * sign * step
            strain[column, row] += 0.5 * sign * step
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ strain, scale_atoms=True)
            ends.append(taken(moved)[0])
        assert stress[place] == pytest.approx((ends[0] - ends[1]) / (2 * step * atoms.get_volume()), abs=1e-7)


def piece_of(atoms: Atoms) -> Piece:
    labelled = with_labels(atoms.copy())
    from etn_gpu.structures.labels import collect_labels

    (piece,) = cut_pieces(collect_labels([labelled]), [0], SPECIES, CUTOFF)
    return piece


def test_what_is_taken_is_given_back(configure: Configure, pieces: list[Piece]) -> None:
    reduced, radii = whole_and_reduced(pieces, configure(repulsion="zbl", repulsion_reach=1.3))
    for piece, other in zip(pieces, with_repulsion(reduced, radii), strict=True):
        for name in ("energy", "forces", "stress"):
            np.testing.assert_allclose(getattr(other, name), getattr(piece, name), rtol=0, atol=1e-10)
    assert with_repulsion(pieces, None) == without_repulsion(pieces, None) == pieces


@pytest.mark.parametrize("options", [{}, {"repulsion": "none"}])
def test_usually_nothing_is_taken(configure: Configure, pieces: list[Piece], options: dict[str, Any]) -> None:
    assert repulsion_radii(pieces, SPECIES, CUTOFF, configure(**options)) is None


# -- options -----------------------------------------------------------------------------------------------------------


def test_checkpoints_of_runs_without_these_options_still_fit(configure: Configure) -> None:
    identity = configure(repulsion="zbl").identity()
    assert "repulsion" not in identity
    assert "repulsion_reach" not in identity
    assert configure(repulsion="none").identity() == identity | {"repulsion": "none"}
    assert configure(repulsion="zbl", repulsion_reach=1.1).identity() == identity | {"repulsion_reach": 1.1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repulsion": "morse"}, "'morse' is no repulsion; choose one of zbl, none"),
        ({"repulsion": "zbl", "repulsion_reach": 0.9}, "from 1 to 2 times as far as the closest pairs .*, got 0.9"),
        ({"repulsion": "zbl", "repulsion_reach": float("nan")}, "from 1 to 2 times .*, got nan"),
        ({"repulsion": "none", "repulsion_reach": 1.2}, "a reach of 1.2 is given, but no repulsion"),
    ],
)
def test_options_that_cannot_be_meant(configure: Configure, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        configure(**options)
