"""The folder of a run: whatever is in it is whole, and a run that goes on begins where the last one was stopped.

run.json               the options of the run
labels.*               every structure that the teacher was asked for
teacher.log            what the teacher printed
round-1/chosen.extxyz  the structures of a round before they are labelled; empty where nothing was to be chosen
round-1/train.extxyz   all labels so far that are trained on, valid.extxyz those that are validated on
round-1/student.etn    the student of the round, beside it the report of its training
final/                 the same for the last training, on all labels
test/chosen.extxyz     the structures of the comparison, the same when more rounds follow
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etn_gpu import files
from etn_gpu.errors import LearningError
from etn_gpu.learning.config import LearningConfig
from etn_gpu.learning.label_files import frame_text
from etn_gpu.learning.labels import Row
from etn_gpu.learning.samples import Sample
from etn_gpu.learning.structure_frames import structure_frame, structure_of
from etn_gpu.structures import read_structures

FORMAT = 1
_OPTIONS = "run.json"


class Folder:
    """Access to the folder of a run by what is in it; made by :func:`opened`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, name: str) -> Path:
        """The folder of a part of the run, 'round-3' for instance, which is there afterwards."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def chosen(self, name: str) -> list[Sample] | None:
        """The choice of a part of the run, None where there is none yet."""
        path = self.path / name / "chosen.extxyz"
        if not path.exists():
            return None
        if not path.stat().st_size:
            return []
        found = []
        for frame in read_structures(path):
            if frame.atoms is None:
                raise LearningError(f"{path} cannot be read: {frame.error}. Remove the file; the choice is made again.")
            found.append(Sample(str(frame.atoms.info.get("origin", "")), structure_of(frame.atoms)))
        return found

    def keep_chosen(self, name: str, samples: Sequence[Sample]) -> None:
        """Writes the choice of a part of the run."""
        text = "".join(structure_frame(sample.atoms, [f"origin={sample.origin}"]) for sample in samples)
        files.write_atomically(
            self.stage(name) / "chosen.extxyz", text.encode(), LearningError, "the chosen structures"
        )

    def forget(self, name: str) -> None:
        """Removes a part of the run."""
        shutil.rmtree(self.path / name)

    def facts(self, name: str) -> dict[str, Any]:
        """What is known of a part of the run."""
        path = self.path / name / "facts.json"
        found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return found

    def keep_facts(self, name: str, facts: dict[str, Any]) -> None:
        """Adds to what is known of a part of the run."""
        text = files.json_text(self.facts(name) | facts)
        files.write_atomically(
            self.stage(name) / "facts.json", text.encode(), LearningError, "what a round amounted to"
        )


@contextmanager
def opened(config: LearningConfig, given: str) -> Iterator[Folder]:
    """The folder of a run, which no other run uses meanwhile; ``given`` is a checksum of the given structures.

    Raises:
        LearningError: there is a run already and it is neither to go on nor to be replaced, the options are others, or
            the folder cannot be written.
    """
    path, identity = config.folder, config.identity() | {"checksum of the structures": given}
    with files.locked([path], LearningError):
        options = _options(path)
        if options is None:
            if config.resume:
                raise LearningError(
                    f"there is no run to go on with: {path / _OPTIONS} does not exist. Begin it without --resume."
                )
            if path.exists() and any(not file.name.startswith(".") for file in path.iterdir()):
                raise LearningError(
                    f"the folder {path} exists and is none of a run of learning: choose another name for the model, or "
                    "move the folder away"
                )
            _begin(path, identity)
        elif config.resume:
            _check_same(path, options, identity)
        elif config.overwrite or not _has_labels(path):
            _clear(path, keep_labels=options.get("teacher") == identity["teacher"])
            _begin(path, identity)
        else:
            raise LearningError(
                f"{path} holds a run already: go on with it by --resume, begin anew in its place by --overwrite "
                "(resume=True, overwrite=True in Python), or choose another name for the model"
            )
        yield Folder(path)


def write_labelled(path: Path, rows: Iterable[Row]) -> None:
    """Writes structures with the teacher's labels, to train on or to validate on."""
    text = "".join(map(frame_text, rows))
    files.write_atomically(path, text.encode(), LearningError, "the labelled structures")


def _begin(path: Path, identity: dict[str, Any]) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise LearningError(f"cannot make the folder {path}: {error.strerror or error}") from None
    text = files.json_text({"format": FORMAT, "options": identity})
    files.write_atomically(path / _OPTIONS, text.encode(), LearningError, "the options of the run")


def _options(path: Path) -> dict[str, Any] | None:
    """The options of the run in a folder, None where there is none."""
    if path.exists() and not path.is_dir():
        raise LearningError(f"{path} is no folder: choose another name for the model")
    try:
        content = json.loads((path / _OPTIONS).read_text("utf-8"))
        if content["format"] > FORMAT:
            raise LearningError(f"{path} is the folder of a newer version of etn_gpu (format {content['format']})")
        options: dict[str, Any] = content["options"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LearningError(f"{path / _OPTIONS} cannot be read ({type(error).__name__}); remove the folder") from None
    return options


def _has_labels(path: Path) -> bool:
    """Whether the teacher was asked for anything."""
    try:
        with open(path / "labels.csv", "rb") as file:
            return len(file.readlines(4096)) > 1
    except FileNotFoundError:
        return False


def _check_same(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in sorted(now):
        if before.get(name) != now.get(name):
            raise LearningError(
                f"{path} is another run: {name} was {before.get(name)}, is {now.get(name)}. Go on with the same "
                "options and structures, or begin anew with --overwrite."
            )


def _clear(path: Path, *, keep_labels: bool) -> None:
    """Removes what depends on the options of a run; what the same teacher was asked for holds whatever they are."""
    for part in [*path.glob("round-*"), path / "final", path / "test"]:
        shutil.rmtree(part, ignore_errors=True)
    if not keep_labels:
        for file in path.glob("labels.*"):
            file.unlink(missing_ok=True)
