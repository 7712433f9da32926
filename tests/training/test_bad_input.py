"""What cannot be trained ends with a clear error, as early as it can be known; odd data give a model all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread

import etn_gpu
from etn_gpu.errors import BackendError, DataError, StructureError, TrainingError
from etn_gpu.training import Event, TrainingConfig, TrainingReport, train
from etn_gpu.training import run as training_run
from etn_gpu.training.initial import initial_parameters

Configure = Callable[..., TrainingConfig]
Store = Callable[..., Path]


@pytest.fixture
def frames(alloys: tuple[Path, Path]) -> list[Atoms]:
    """Six labelled alloys."""
    return list(iread(alloys[0], ":6"))


def test_missing_output_folder(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the folder .*nowhere does not exist; create it"):
        train(configure(output=tmp_path / "nowhere" / "m.etn"))


def test_output_is_a_folder(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is a folder; give the name of a file"):
        train(configure(output=tmp_path))


@pytest.mark.parametrize("name", ["m.json", "m.png", "m.extxyz"])
def test_output_with_the_name_of_another_format(configure: Configure, tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match=r"a model file is written, and the suffix \..* name it like model\.etn"):
        train(configure(output=tmp_path / name))


@pytest.mark.parametrize(("data", "output"), [("a", "a"), ("a.json", "a.etn")])
@pytest.mark.parametrize("option", ["train_file", "valid_file"])
def test_data_that_the_run_would_overwrite(
    configure: Configure, tmp_path: Path, data: str, output: str, option: str
) -> None:
    (tmp_path / data).write_text("precious")
    with pytest.raises(TrainingError, match=f"cannot write .*{data}: it is the input file .*{data}; choose another"):
        train(configure(output=tmp_path / output, **{option: tmp_path / data}))
    assert (tmp_path / data).read_text() == "precious"


def test_unknown_backend(configure: Configure) -> None:
    with pytest.raises(BackendError, match="'abacus' is not a backend"):
        train(configure(backend="abacus"))


@pytest.mark.parametrize("option", ["train_file", "valid_file"])
class TestFile:
    def test_missing(self, configure: Configure, tmp_path: Path, option: str) -> None:
        with pytest.raises(DataError, match=r"none\.extxyz"):
            train(configure(**{option: tmp_path / "none.extxyz"}))

    def test_empty(self, configure: Configure, tmp_path: Path, option: str) -> None:
        (tmp_path / "empty.extxyz").touch()
        with pytest.raises(DataError, match=r"empty\.extxyz"):
            train(configure(**{option: tmp_path / "empty.extxyz"}))

    def test_no_structures(self, configure: Configure, tmp_path: Path, option: str) -> None:
        (tmp_path / "letter.extxyz").write_text("Dear all,\nplease find attached\n")
        with pytest.raises(DataError, match=r"letter\.extxyz"):
            train(configure(**{option: tmp_path / "letter.extxyz"}))

    def test_no_labels(self, configure: Configure, store: Store, frames: list[Atoms], option: str) -> None:
        bare = [Atoms(f.numbers, f.positions, cell=f.cell, pbc=f.pbc) for f in frames]
        with pytest.raises(DataError, match="no energy and no forces in any of 6 structures"):
            train(configure(**{option: store(bare)}))

    def test_labels_of_what_has_no_weight(
        self, configure: Configure, store: Store, frames: list[Atoms], option: str
    ) -> None:
        for atoms in frames:
            del atoms.arrays["REF_forces"], atoms.info["REF_stress"]
        with pytest.raises(TrainingError, match=r"frames\.extxyz has no label of what .*\(forces, stress\)"):
            train(configure(weights={"energy": 0.0}, **{option: store(frames)}))

    def test_forces_of_the_wrong_shape(
        self, configure: Configure, store: Store, frames: list[Atoms], option: str
    ) -> None:
        frames[2].arrays["REF_forces"] = np.zeros((8, 2))
        with pytest.raises(DataError, match=r"frame 2: REF_forces has shape \(8, 2\)"):
            train(configure(**{option: store(frames)}))

    @pytest.mark.parametrize(("name", "value"), [("energy", np.inf), ("forces", -np.inf), ("stress", np.inf)])
    def test_labels_that_are_not_finite(
        self, configure: Configure, store: Store, frames: list[Atoms], option: str, name: str, value: float
    ) -> None:
        if name == "energy":
            frames[4].info["REF_energy"] = value
        else:
            (frames[4].arrays if name == "forces" else frames[4].info)[f"REF_{name}"][1] = value
        with pytest.raises(DataError, match=rf"frames\.extxyz, frame 4: REF_{name} holds {value}"):
            train(configure(**{option: store(frames)}))

    def test_stresses_alone(self, configure: Configure, store: Store, frames: list[Atoms], option: str) -> None:
        for atoms in frames:
            del atoms.arrays["REF_forces"], atoms.info["REF_energy"]
        with pytest.raises(DataError, match="no energy and no forces in any of 6 structures"):
            train(configure(**{option: store(frames)}))

    def test_labels_beyond_all_reason(
        self, configure: Configure, store: Store, frames: list[Atoms], option: str
    ) -> None:
        """They stand for calculations that failed; one of them would be all that the loss sees."""
        frames[4].arrays["REF_forces"][:] = 1e99
        message = r"structure 4 \(counted from 0\): a label is 1e\+99 \(force in eV/A\), expected at most 1e\+07"
        with pytest.raises(DataError, match=message):
            train(configure(**{option: store(frames)}))

    @pytest.mark.parametrize(
        ("spoil", "complaint"),
        [
            (lambda atoms: atoms.positions.__setitem__(3, np.inf), "atom 3 is at"),
            (lambda atoms: atoms.positions.__setitem__(3, atoms.positions[1]), "are at one place"),
            (lambda atoms: atoms.set_cell([4.0, 4.0, 0.0]), "span no volume"),
        ],
        ids=["infinite position", "two atoms at one place", "no volume"],
    )
    def test_a_bad_structure_is_named(
        self,
        configure: Configure,
        store: Store,
        frames: list[Atoms],
        option: str,
        spoil: Callable[[Atoms], Any],
        complaint: str,
    ) -> None:
        spoil(frames[4])
        with pytest.raises(StructureError, match=rf"frames\.extxyz, structure 4 \(counted from 0\): .*{complaint}"):
            train(configure(**{option: store(frames)}))


def test_validation_on_an_element_that_training_lacks(
    configure: Configure, store: Store, label: Callable[..., Atoms]
) -> None:
    silver = label(Atoms("AgCu", [[0, 0, 0], [0, 0, 2.7]]))
    with pytest.raises(TrainingError, match=r"holds elements that the labelled structures of .* lack: Ag"):
        train(configure(valid_file=store([silver])))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_predictions_that_overflow(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no missing labels: the loss is not that of the rest."""

    def enormous(*arguments: Any) -> dict[str, Any]:
        return {name: 1e200 * values for name, values in initial_parameters(*arguments).items()}

    monkeypatch.setattr("etn_gpu.training.start.initial_parameters", enormous)
    with pytest.raises(TrainingError, match="the loss is not finite"):
        train(configure())


def test_no_file_is_left_by_a_run_that_never_began(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(configure(train_file=tmp_path / "none.extxyz"))
    assert list(tmp_path.iterdir()) == []


# -- odd sets that can be trained on ---------------------------------------------------------------------------------


@pytest.fixture
def fit(
    configure: Configure, store: Store, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrainingReport]:
    """`fit(frames, ...)` trains on them, by default with a held-out part; all that is written has to be finite."""

    def run(frames: list[Atoms], **options: Any) -> TrainingReport:
        monkeypatch.setattr(training_run, "REFITS", 1)
        defaults = {"valid_file": None, "valid_fraction": 0.3}
        config = configure(train_file=store(frames, "train.extxyz"), **(defaults | options))
        report = train(config, events.append)
        assert report.history[-1]["decrease"] >= 0
        written = json.loads(config.output.with_suffix(".json").read_text(), parse_constant=pytest.fail)
        assert written["train"] == report.train
        for result in etn_gpu.load(config.output).evaluate(frames):
            assert all(np.isfinite(values).all() for values in result.values())
        assert config.checkpoint.is_file()
        return report

    return run


def sizes(events: list[Event]) -> tuple[int, int]:
    """Structures that are trained and validated on."""
    [text] = [event.text for event in events if event.text.startswith("training on ")]
    words = text.replace(";", "").split()
    return int(words[2]), int(words[words.index("validating") + 2])


@pytest.mark.parametrize("names", [("forces",), ("energy",)])
def test_one_structure(
    fit: Callable[..., TrainingReport], frames: list[Atoms], events: list[Event], names: tuple[str, ...]
) -> None:
    """There is nothing to hold out, and energies or forces alone have to do."""
    for name in {"energy", "forces", "stress"}.difference(names):
        (frames[0].arrays if name == "forces" else frames[0].info).pop(f"REF_{name}")
    report = fit(frames[:1])
    assert sizes(events) == (1, 0)
    assert report.valid == {}
    assert {name for name in ("energy", "forces", "stress") if report.train[f"{name}_mae"] is not None} == set(names)


def test_identical_structures(fit: Callable[..., TrainingReport], frames: list[Atoms], events: list[Event]) -> None:
    """Validation on copies of what was trained on would be a lie: there is none."""
    report = fit([frames[0]] * 6, valid_fraction=0.5)
    assert sizes(events) == (6, 0)
    assert report.valid == {}


def test_copies_are_on_one_side_of_the_split(
    fit: Callable[..., TrainingReport], frames: list[Atoms], events: list[Event]
) -> None:
    """Six structures, twice each, of which a quarter is held out: one of the six, or two, never one and a half."""
    report = fit([*frames, *frames[::-1]], valid_fraction=0.25)
    assert sizes(events) in ((10, 2), (8, 4))
    assert report.valid["energy_mae"] is not None


def test_a_validation_file_with_copies_of_training_structures(
    fit: Callable[..., TrainingReport], store: Store, frames: list[Atoms], events: list[Event]
) -> None:
    fit(frames[:4], valid_file=store(frames[2:], "valid.extxyz"))
    [message] = [event.text for event in events if "copies of training structures" in event.text]
    assert message.startswith(f"2 of {len(frames) - 2} structures in ")


def test_isolated_atoms_only(fit: Callable[..., TrainingReport], events: list[Event]) -> None:
    """Atomic energies are all there is to learn; no atom has a neighbour, a force or a stress."""
    frames = []
    for k in range(8):
        atoms = Atoms("Cu" if k % 2 else "Au", [[0.1 * k, 0.0, 0.0]])
        atoms.info["REF_energy"] = -1.0 - (k % 2)
        atoms.arrays["REF_forces"] = np.zeros((1, 3))
        frames.append(atoms)
    report = fit(frames)
    assert sum(sizes(events)) == 8
    assert report.valid["energy_mae"] == pytest.approx(0.0, abs=1e-3)
    assert report.valid["forces_mae"] == 0.0


def test_an_element_of_one_structure_is_learnt_not_held_out(
    fit: Callable[..., TrainingReport],
    frames: list[Atoms],
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    events: list[Event],
) -> None:
    silver = label(make_alloy(np.random.default_rng(0), ["Ag"]))
    report = fit([*frames, silver], valid_fraction=0.9)
    assert report.train["energy_mae"] is not None
    assert report.architecture["species"] == ("Cu", "Ag", "Au")
    assert sum(sizes(events)) == 7


def test_a_single_energy_is_learnt_not_held_out(
    fit: Callable[..., TrainingReport], frames: list[Atoms], events: list[Event]
) -> None:
    """With it in the validation part the zero of energies would be arbitrary, and the best model chosen by it."""
    for atoms in frames[1:]:
        del atoms.info["REF_energy"]
    report = fit(frames, valid_fraction=0.8)
    assert report.train["energy_mae"] is not None
    assert report.valid["energy_mae"] is None
    assert not any("arbitrary zero" in event.text for event in events)


def test_a_wide_range_of_forces(
    fit: Callable[..., TrainingReport], frames: list[Atoms], label: Callable[..., Atoms]
) -> None:
    """One pair of atoms far too close, with 100 eV/A and more, among forces of 1 eV/A: all are fitted."""
    close = frames[0].copy()
    close.positions[1] = close.positions[0] + [0.0, 0.0, 1.5]
    label(close)
    assert np.abs(close.arrays["REF_forces"]).max() > 100
    report = fit([*frames[1:4], close], valid_fraction=0.0, max_iterations=7)
    assert report.train["forces_rmse"] is not None
    assert report.train["forces_rmse"] < 1.0


def test_an_energy_far_from_all_others(fit: Callable[..., TrainingReport], frames: list[Atoms]) -> None:
    """An energy of another reference, 1 keV/atom below: no fit, but a finite one whose errors say so."""
    frames[3].info["REF_energy"] -= 1e3 * len(frames[3])
    report = fit(frames, valid_fraction=0.0)
    assert report.train["energy_rmse"] is not None
    assert 1.0 < report.train["energy_rmse"] < 1e3
