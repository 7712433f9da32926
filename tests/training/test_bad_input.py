"""What cannot be trained ends with a clear error, before training where it can be known then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread

from etn_gpu.errors import BackendError, DataError, StructureError, TrainingError
from etn_gpu.training import TrainingConfig, train

Configure = Callable[..., TrainingConfig]
Store = Callable[..., Path]


@pytest.fixture
def frames(alloys: tuple[Path, Path]) -> list[Atoms]:
    """Six labelled alloys."""
    return list(iread(alloys[0], ":6"))


def test_missing_output_folder(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the folder .*nowhere of the output model does not exist; create it"):
        train(configure(output=tmp_path / "nowhere" / "m.etn"))


def test_output_is_a_folder(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is a folder; give the name of a model file"):
        train(configure(output=tmp_path))


@pytest.mark.parametrize("name", ["m.json", "m.png"])
def test_output_that_the_report_would_overwrite(configure: Configure, tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match="would be overwritten by its report"):
        train(configure(output=tmp_path / name))


@pytest.mark.parametrize(("data", "output"), [("a.extxyz", "a.extxyz"), ("a.json", "a.etn")])
@pytest.mark.parametrize("option", ["train_file", "valid_file"])
def test_data_that_the_run_would_overwrite(
    configure: Configure, tmp_path: Path, data: str, output: str, option: str
) -> None:
    (tmp_path / data).write_text("precious")
    with pytest.raises(TrainingError, match=f"would overwrite its own data .*{data}; choose another output name"):
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


def test_labels_beyond_all_reason(configure: Configure, store: Store, frames: list[Atoms]) -> None:
    frames[0].arrays["REF_forces"][:] = 1e200
    with pytest.raises(TrainingError, match="the loss is not finite"), np.errstate(over="ignore"):
        train(configure(train_file=store(frames)))


def test_no_file_is_left_by_a_run_that_never_began(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(configure(train_file=tmp_path / "none.extxyz"))
    assert list(tmp_path.iterdir()) == []
