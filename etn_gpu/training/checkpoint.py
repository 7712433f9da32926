"""Checkpoints: everything that a run needs to go on exactly, written atomically."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import TrainingError
from etn_gpu.files import write_atomically

FORMAT_VERSION = 4
#: What reading a file that is no checkpoint may raise, a foreign .npz or JSON included.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


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
        if not path.is_file():
            raise TrainingError(f"there is no checkpoint {path}; a run writes MODEL.ckpt.npz beside its model")
        try:
            with np.load(path, allow_pickle=False) as data:
                header = json.loads(str(data["header"]))
                theta, best_theta = data["theta"], data["best_theta"]
            version = header.pop("format_version")
            if version != FORMAT_VERSION:
                raise TrainingError(
                    f"the checkpoint {path} has format version {version}, this version reads {FORMAT_VERSION}"
                )
            progress = Progress(theta=theta, best_theta=best_theta, **header)
        except TrainingError:
            raise
        except UNREADABLE as error:
            raise TrainingError(f"{path} is not a readable checkpoint of etn-gpu train: {error}") from error
        if different := {
            k: (progress.identity.get(k), v) for k, v in identity.items() if progress.identity.get(k) != v
        }:
            changes = "; ".join(f"{k} was {old!r}, is {new!r}" for k, (old, new) in different.items())
            raise TrainingError(
                f"the checkpoint {path} belongs to another run: {changes}. Resume with the same options and data."
            )
        if progress.preset != json.loads(json.dumps(preset)):
            raise TrainingError(
                f"the checkpoint {path} belongs to another architecture: {progress.preset}, expected "
                f"{preset}. Resume with the version of etn_gpu that wrote it."
            )
        return progress
