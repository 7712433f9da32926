"""Data sets as they come: labels missing here and there, clusters, single atoms, single structures, duplicates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import etn_gpu
from etn_gpu.training import Event, TrainingConfig, TrainingReport, train

Configure = Callable[..., TrainingConfig]
NOTHING = {f"{name}_{kind}" for name in ("energy", "forces", "stress") for kind in ("mae", "rmse")}


@pytest.fixture
def fit(configure: Configure, store: Callable[..., object], events: list[Event]) -> Callable[..., TrainingReport]:
    """`fit(frames, ...)` trains on all of them for three iterations and checks that it is a fit."""

    def run(frames: list[Atoms], **options: object) -> TrainingReport:
        defaults = {"valid_file": None, "valid_fraction": 0.0, "max_iterations": 3}
        config = configure(train_file=store(frames, "train.extxyz"), **(defaults | options))
        report = train(config, events.append)
        first = report.history[0]
        assert report.history[-1]["loss"] < 0.5 * first["loss"] / (1 - first["decrease"])
        for result in etn_gpu.load(config.output).evaluate(frames):
            assert np.isfinite(result["energy"])
            assert np.isfinite(result["forces"]).all()
        return report

    return run


def alloys(make: Callable[..., Atoms], label: Callable[..., Atoms], *patterns: tuple[str, ...]) -> list[Atoms]:
    """One labelled alloy for each pattern of labels; an empty pattern stands for all."""
    rng = np.random.default_rng(0)
    return [label(make(rng), *names) for names in patterns]


def known(report: TrainingReport) -> set[str]:
    return {name.split("_")[0] for name, value in report.train.items() if value is not None}


@pytest.mark.parametrize(
    "pattern",
    [("energy",), ("forces",), ("energy", "stress"), ("forces", "stress"), ("energy", "forces")],
    ids="+".join,
)
def test_the_same_labels_everywhere(
    pattern: tuple[str, ...],
    fit: Callable[..., TrainingReport],
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    events: list[Event],
) -> None:
    report = fit(alloys(make_alloy, label, *[pattern] * 6))
    assert known(report) == set(pattern)
    unknown_zero = any("energies will have an arbitrary zero" in event.text for event in events)
    assert unknown_zero == ("energy" not in pattern)


@pytest.mark.usefixtures("plots")
@pytest.mark.filterwarnings("ignore::etn_gpu.errors.ModelWarning")
@pytest.mark.filterwarnings("error")
def test_energies_only_can_be_plotted(
    fit: Callable[..., TrainingReport],
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    configure: Configure,
) -> None:
    fit(alloys(make_alloy, label, *[("energy",)] * 4))
    assert configure().output.with_suffix(".png").is_file()


def test_labels_in_some_frames_only(
    fit: Callable[..., TrainingReport], make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    patterns = [(), ("energy",), ("forces",), ("energy", "forces"), ("energy",), ("forces", "stress")]
    assert known(fit(alloys(make_alloy, label, *patterns))) == {"energy", "forces", "stress"}


def test_clusters_and_isolated_atoms_beside_crystals(
    fit: Callable[..., TrainingReport],
    make_alloy: Callable[..., Atoms],
    make_cluster: Callable[..., Atoms],
    label: Callable[..., Atoms],
) -> None:
    rng = np.random.default_rng(0)
    frames = [label(make_alloy(rng)), label(make_cluster(rng)), label(Atoms("Cu", [[0.0, 0.0, 0.0]]))]
    assert known(fit(frames)) == {"energy", "forces", "stress"}


def test_clusters_only(
    fit: Callable[..., TrainingReport], make_cluster: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    """Without a cell there is no stress."""
    rng = np.random.default_rng(0)
    assert known(fit([label(make_cluster(rng)) for _ in range(5)])) == {"energy", "forces"}


def test_one_structure(
    fit: Callable[..., TrainingReport],
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    events: list[Event],
) -> None:
    report = fit(alloys(make_alloy, label, ()), valid_fraction=0.3)
    assert "training on 1 structures (8 atoms), validating on 0" in events[1].text
    assert report.valid == {}


def test_one_structure_of_one_element_with_one_atom(configure: Configure, store: Callable[..., object]) -> None:
    """Every array has its smallest shape; all forces vanish, only the energy can be fitted."""
    atoms = bulk("Cu", a=3.7)
    atoms.info["REF_energy"] = -3.0
    report = train(configure(train_file=store([atoms]), valid_file=None, max_iterations=4))
    assert report.train["energy_mae"] == pytest.approx(0.0, abs=1e-3)


def test_no_neighbours_within_the_cutoff(
    configure: Configure, store: Callable[..., object], label: Callable[..., Atoms]
) -> None:
    """The reference energies are all there is to fit; they fit exactly."""
    frames = [Atoms(symbol, [[0.0, 0.0, 0.0]], cell=[9.0] * 3, pbc=True) for symbol in ("Cu", "Au", "Cu")]
    for atoms, energy in zip(frames, (-1.0, -2.0, -1.0), strict=True):
        atoms.info["REF_energy"] = energy
        atoms.arrays["REF_forces"] = np.zeros((1, 3))
    config = configure(train_file=store(frames), valid_file=None, valid_fraction=0.0)
    report = train(config)
    assert report.train["energy_mae"] == pytest.approx(0.0, abs=1e-3)
    model = etn_gpu.load(config.output)
    assert model.minimum_distances.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert model.evaluate(frames[1])[0]["energy"] == pytest.approx(-2.0, abs=1e-3)


def test_duplicates(
    fit: Callable[..., TrainingReport], make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    [frame] = alloys(make_alloy, label, ())
    fit([frame] * 5)


def test_conflicting_duplicates(
    fit: Callable[..., TrainingReport], make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    """The same structure with energies 0.8 eV apart: the fit ends between them."""
    [frame] = alloys(make_alloy, label, ("energy",))
    other = frame.copy()
    other.info["REF_energy"] += 0.8
    report = fit([frame, other])
    assert report.train["energy_mae"] == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_zero_weight_leaves_a_property_out_but_reports_it(
    name: str,
    fit: Callable[..., TrainingReport],
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
) -> None:
    report = fit(alloys(make_alloy, label, (), (), ()), weights={name: 0.0})
    assert known(report) == {"energy", "forces", "stress"}


def test_weights_shift_the_balance(
    fit: Callable[..., TrainingReport], make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    frames = alloys(make_alloy, label, *[()] * 6)
    heavy, light = (fit(frames, weights={"energy": weight}, max_iterations=4).train for weight in (10.0, 0.001))
    for name, ordered in (("energy_mae", (heavy, light)), ("forces_mae", (light, heavy))):
        smaller, larger = (errors[name] for errors in ordered)
        assert smaller is not None
        assert larger is not None
        assert smaller < larger


def test_an_element_without_any_label_is_not_in_the_model(
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    configure: Configure,
    store: Callable[..., object],
    events: list[Event],
) -> None:
    """Its predictions would be random numbers."""
    frames = alloys(make_alloy, label, (), (), ())
    silver = Atoms("Ag2", [[0, 0, 0], [0, 0, 2.7]])
    config = configure(train_file=store([*frames, silver], "train.extxyz"), valid_file=None, valid_fraction=0.0)
    train(config, events.append)
    assert etn_gpu.load(config.output).species == ("Cu", "Au")
    assert "training on 3 structures" in events[1].text


def test_an_element_absent_from_validation(
    configure: Configure, store: Callable[..., object], make_alloy: Callable[..., Atoms], label: Callable[..., Atoms]
) -> None:
    copper = label(make_alloy(np.random.default_rng(0), ["Cu"]))
    report = train(configure(valid_file=store([copper])))
    assert report.valid["energy_mae"] is not None
    assert etn_gpu.load(configure().output).species == ("Cu", "Au")
