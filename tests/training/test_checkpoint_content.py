"""What a checkpoint may hold: every field with what is wrong, archives that only look right, anything at all."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etn_gpu.errors import TrainingError
from etn_gpu.potential import Architecture, Preset, shipped_models
from etn_gpu.training import TrainingConfig, train
from etn_gpu.training.checkpoint import Progress

ARCHITECTURE = Architecture(("Cu", "Au"), 3.6, 1.5, 2, (2, 1, 1), 2, 1, ("2x0e+1x1o", "1x0e+1x1o"))
PRESET = ARCHITECTURE.to_dict()
IDENTITY = {"train_file": "train.xyz", "cutoff": 3.6}


def entry(iteration: int) -> dict[str, Any]:
    return {
        "iteration": iteration, "elapsed": 1.0 * iteration, "loss": 0.1, "decrease": 0.3, "structures": 7,
        "complete": False, "score": np.inf, "train": {"energy_mae": 0.1, "stress_mae": None}, "valid": {},
    }  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(7)
    theta, best = (rng.normal(size=ARCHITECTURE.n_parameters) for _ in range(2))
    swept = {"sweep": 1, "bonds": list(ARCHITECTURE.bonds), "discarded_weights": [0.0, 0.1]}
    state = dict(rng.bit_generator.state)
    history = [entry(1), entry(2) | swept, entry(3)]
    Progress(IDENTITY, PRESET, PRESET, theta, PRESET, best, 0.5, 1e-3, 4, 3, 10.0, state, history).save(
        tmp_path / "c.ckpt.npz"
    )
    return tmp_path / "c.ckpt.npz"


def load(path: Path) -> Progress:
    return Progress.load(path, IDENTITY, PRESET)


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["header"])), {name: file[name] for name in ("theta", "best_theta")}


def set_at(header: dict[str, Any], place: str, value: Any) -> None:
    *where, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    inner: Any = header
    for key in where:
        inner = inner[key]
    inner[last] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("architecture.cutoff", 4.0, "architecture.cutoff is 4.0, but the rest of the file says 3.6"),
        ("best_architecture.species", ["Cu", "Ag"], "best_architecture.species is .*'Ag'.*, but the rest"),
        ("architecture.n_radial", 3, "architecture.n_radial is 3, but the rest of the file says 2"),
        ("architecture.bonds", ["2x0e+1x1o"], "architecture.bonds is .*, expected a list of 2 items"),
        ("architecture.bonds", ["9x0e", "1x0e"], r"theta has shape \(\d+,\), its architecture \d+ parameters"),
        ("architecture.bonds", ["9x9", "1x0e"], "architecture: cannot read '9x9'"),
        ("architecture.bonds", [3, "1x0e"], r"architecture.bonds\[0\] is 3, expected a string"),
        ("architecture", [], r"architecture is \[\], expected a dictionary"),
        ("preset", "small", "preset is 'small', expected a dictionary"),
        ("identity", [], r"identity is \[\], expected a dictionary"),
        ("best_score", float("nan"), "best_score is nan, expected a number of at least 0"),
        ("best_score", "0.5", "best_score is '0.5', expected a number"),
        ("damping", 0.0, "damping is 0.0, expected a finite number above 0"),
        ("damping", float("inf"), "damping is inf, expected a finite number above 0"),
        ("active", True, "active is True, expected an integer of at least 1"),
        ("active", -4, "active is -4, expected an integer of at least 1"),
        ("iteration", 2.0, "iteration is 2.0, expected an integer of at least 1"),
        ("iteration", 7, "the history has not the iterations 1 to 7"),
        ("elapsed", -1.0, "elapsed is -1.0, expected a finite number of at least 0"),
        ("random_state.bit_generator", "MT19937", "random_state.bit_generator is 'MT19937', expected 'PCG64'"),
        ("random_state.state.state", 2**128, "random_state.state.state is .*, expected an integer from 0 to"),
        ("random_state.state.inc", 4, "random_state.state.inc is 4, expected an odd integer"),
        ("random_state.state", None, "random_state.state is None, expected a dictionary"),
        ("random_state.has_uint32", 2, "random_state.has_uint32 is 2, expected an integer from 0 to 1"),
        ("history", {}, "history is {}, expected a list"),
        ("history.0", 3, r"history\[0\] is 3, expected a dictionary"),
        ("history.0.complete", 1, r"history\[0\].complete is 1, expected true or false"),
        ("history.1.decrease", None, r"history\[1\].decrease is None, expected a number"),
        ("history.1.train.energy_mae", "x", r"history\[1\].train.energy_mae is 'x', expected a number"),
        ("history.1.discarded_weights", [None], r"history\[1\].discarded_weights\[0\] is None, expected a number"),
        ("more", 1, "it has the unknown entry 'more'"),
    ],
)
def test_a_wrong_value_is_named(place: str, value: Any, message: str, path: Path) -> None:
    header, arrays = parts(path)
    set_at(header, place, value)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    with pytest.raises(TrainingError, match=f"is not a readable checkpoint of etn-gpu train: {message}"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda theta: theta[:-1], r"theta has shape \(\d+,\), its architecture"),
        (lambda theta: theta * np.nan, "theta holds NaN or infinite values"),
        (lambda theta: theta.astype(np.float32), r"its member theta\.npy is no text and no vector of float64"),
        (lambda theta: theta[:, None], r"its member theta\.npy is no text and no vector"),
        (lambda theta: np.array(3.0), r"its member theta\.npy is no text and no vector"),
        (lambda theta: np.array("text"), r"its member theta\.npy is a text"),
    ],
)
def test_wrong_parameters(change: Callable[[Any], Any], message: str, path: Path) -> None:
    header, arrays = parts(path)
    np.savez(path, header=np.array(json.dumps(header)), **(arrays | {"theta": change(arrays["theta"])}))
    with pytest.raises(TrainingError, match=message):
        load(path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_archives_that_only_look_right(path: Path) -> None:
    """A shape that is a lie would take 8 PB, a bomb as much as it says: neither is unpacked."""
    good = members(path)
    lie = good["theta.npy"].replace(f"({ARCHITECTURE.n_parameters},)".encode(), b"(999999999999999,)")
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object))
    stored, packed = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    for changes, how, message in (
        ({"theta.npy": lie}, stored, "theta.npy is no text and no vector of float64, or it is damaged"),
        ({"theta.npy": good["theta.npy"][:40]}, stored, "theta.npy is no text"),
        ({"theta.npy": b""}, stored, "theta.npy is no text"),
        ({"theta.npy": objects.getvalue()}, stored, "theta.npy is no text"),
        ({"header.npy": good["theta.npy"]}, stored, "header.npy is a vector"),
        ({"more.npy": good["theta.npy"]}, stored, "its members are .*'more.npy'"),
        ({"../evil.npy": b""}, stored, "its members are .*evil"),
        ({}, packed, "are compressed or encrypted"),
    ):
        with zipfile.ZipFile(path, "w", how) as archive:
            for name, content in (good | changes).items():
                archive.writestr(name, content)
        with pytest.raises(TrainingError, match=message):
            load(path)


def test_other_kinds_of_file_are_named(path: Path) -> None:
    for content, kind in (
        (shipped_models()["mo"].read_bytes(), "it is a model of etn_gpu; a model has no state of its training"),
        (b"MTP\nversion = 1.1.0\n", r"it is an MTP potential \(MLIP\)"),
        (b"", "it is an empty file"),
    ):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=kind):
            load(path)


_ODD: list[Any] = [
    None, True, 0, -1, 2**200, 0.5, 1e308, "", "x", "1x0e", "999999999x50e", "\ud800", [], [[]], ["Cu"], {}, {"a": 1},
    float("nan"), float("inf"),
]  # fmt: skip


def places(value: Any, at: str = "") -> Iterator[str]:
    if at:
        yield at.removeprefix(".")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, f"{at}.{key}")


def test_any_damage_is_refused_or_makes_a_sound_checkpoint(path: Path) -> None:
    header, arrays = parts(path)
    intact, rng = path.read_bytes(), random.Random(0)
    everywhere = list(places(header))
    refused: list[str] = []
    for number in range(400):
        if number % 4 == 0:
            content = bytearray(intact)
            for _ in range(rng.choice([1, 20])):
                content[rng.randrange(len(content))] = rng.randrange(256)
            path.write_bytes(content)
        elif number % 4 == 1:
            path.write_bytes(intact[: rng.randrange(len(intact))])
        else:
            changed = copy.deepcopy(header)
            set_at(changed, rng.choice(everywhere), rng.choice(_ODD))
            np.savez(path, header=np.array(json.dumps(changed)), **arrays)
        try:
            found = load(path)
        except TrainingError as error:
            refused.append(str(error))
            continue
        np.random.default_rng().bit_generator.state = found.random_state
        assert Architecture.from_dict(found.architecture).n_parameters == len(found.theta)
        found.save(path)
        load(path)
    assert len(refused) > 250
    assert not any("\n" in message for message in refused)


# -- in a run --------------------------------------------------------------------------------------------------------


def test_another_cutoff_inside_is_not_resumed(configure: Callable[..., TrainingConfig]) -> None:
    config = configure(max_iterations=1)
    train(config)
    header, arrays = parts(config.checkpoint)
    for name in ("architecture", "best_architecture"):
        header[name]["cutoff"] = 3.0
    np.savez(config.checkpoint, header=np.array(json.dumps(header)), **arrays)
    with pytest.raises(TrainingError, match=r"architecture\.cutoff is 3\.0, but the rest of the file says 3\.6"):
        train(configure(resume=config.checkpoint))


@pytest.mark.parametrize("iterations", [1, 2])
def test_huge_parameters_end_in_an_error(configure: Callable[..., TrainingConfig], iterations: int) -> None:
    """With an iteration to come, and with nothing left but to write the model."""
    config = configure(max_iterations=1)
    train(config)
    header, arrays = parts(config.checkpoint)
    huge = {name: 1e200 * array for name, array in arrays.items()}
    np.savez(config.checkpoint, header=np.array(json.dumps(header)), **huge)
    before = config.output.read_bytes()
    with pytest.raises(TrainingError, match="not finite"):
        train(configure(resume=config.checkpoint, max_iterations=iterations))
    assert config.output.read_bytes() == before


def test_sizes_of_ones_own_that_are_very_large(configure: Callable[..., TrainingConfig]) -> None:
    wide = Preset(200, (2, 1), ("2x0e+1x1o",), 1, 1)
    with pytest.raises(TrainingError, match=r"200 radial functions \(100\).*allow_large=True, or choose smaller sizes"):
        train(configure(preset=wide))
    assert configure(preset=wide, allow_large=True).allow_large
