"""Checkpoints: everything that a run needs to go on exactly, written atomically."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.files import write_atomically
from etn_gpu.potential.content import parse_json
from etn_gpu.potential.described import ContentError, shortened
from etn_gpu.potential.file_kinds import CHECKPOINT, MODEL, describe
from etn_gpu.training.archive import read_archive
from etn_gpu.training.checkpoint_content import check_checkpoint

FORMAT_VERSION = 4


@dataclass
class Progress:
    """Where a run stands after an iteration.

    ``preset`` is the architecture that the options ask for; sweeps adapt the ranks, so that the present parameters and
    the best ones so far each have an architecture of their own.
    """

    identity: dict[str, Any]
    preset: dict[str, Any]
    architecture: dict[str, Any]
    theta: NDArray[np.float64]
    best_architecture: dict[str, Any]
    best_theta: NDArray[np.float64]
    best_score: float
    damping: float
    active: int
    iteration: int
    elapsed: float
    random_state: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write ``path``; an interrupted write leaves the earlier checkpoint as it was.

        Raises:
            TrainingError: the file cannot be written.
        """
        fields = {k: v for k, v in vars(self).items() if not isinstance(v, np.ndarray)}
        header = json.dumps({"format_version": FORMAT_VERSION, **fields})
        content = io.BytesIO()
        np.savez(content, header=np.array(header), theta=self.theta, best_theta=self.best_theta)
        write_atomically(path, content.getvalue(), TrainingError, "the checkpoint")

    @staticmethod
    def load(path: Path, identity: dict[str, Any], preset: dict[str, Any]) -> Progress:
        """Read a checkpoint of the run with these options and this preset architecture.

        Raises:
            TrainingError: there is no such file, it is no checkpoint, or one of another run.
        """
        try:
            there = path.is_file()
        except OSError as error:
            raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from None
        if not there:
            raise TrainingError(f"there is no checkpoint {path}; a run writes MODEL.ckpt.npz beside its model")
        header, arrays = _read(path)
        progress = Progress(**arrays, **header)
        was = progress.identity
        if different := {
            k: (was.get(k), identity.get(k)) for k in {**identity, **was} if was.get(k) != identity.get(k)
        }:
            changes = "; ".join(f"{k} was {shortened(old)}, is {new!r}" for k, (old, new) in different.items())
            raise TrainingError(
                f"the checkpoint {path} belongs to another run: {changes}. Resume with the same options and data."
            )
        if progress.preset != json.loads(json.dumps(preset)):
            raise TrainingError(
                f"the checkpoint {path} belongs to another architecture: {progress.preset}, expected "
                f"{preset}. Resume with the version of etn_gpu that wrote it."
            )
        return progress


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a checkpoint, as :mod:`etn_gpu.training.checkpoint_content` describes them."""
    try:
        arrays: dict[str, Any] = read_archive(path, ("header", "theta", "best_theta"))
        header = parse_json(_of_type(str, "header", arrays.pop("header")), finite=False)
        for name, array in arrays.items():
            _of_type(np.ndarray, name, array)
        _check_version(path, header)
        check_checkpoint(header, arrays)
    except ContentError as error:
        raise TrainingError(f"{path} is not a readable checkpoint of etn-gpu train: {_reason(path, error)}") from None
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror or error}") from None
    return header, arrays


def _of_type(kind: type, name: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ContentError(f"its member {name}.npy is {'a vector' if kind is str else 'a text'}")
    return value


def _check_version(path: Path, header: Any) -> None:
    """Takes the version, before which nothing is known of the header, out of it."""
    if not isinstance(header, dict) or "format_version" not in header:
        raise ContentError("its header does not tell its format version")
    version = header.pop("format_version")
    if version != FORMAT_VERSION or type(version) is not int:
        raise TrainingError(
            f"the checkpoint {path} has format version {shortened(version)}, this version reads {FORMAT_VERSION}"
        )


def _reason(path: Path, error: ContentError) -> str:
    """What is wrong, or what the file is if it is something else altogether."""
    kind = describe(path)
    if kind is None or kind == CHECKPOINT:
        return str(error)
    return f"it is {kind}" + ("; a model has no state of its training" if kind == MODEL else "")
