"""What test_killed_cluster.py kills: a run with two workers, in a process of its own.

    python -m tests.screening.cluster_run FOLDER SUFFIX DEADLY INPUTS...

It prints a line when the first rows are written. Workers take some milliseconds for each batch; where DEADLY is not 0,
one batch in as many ends the process that works on it the first time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from etn_gpu.files import unfinished
from etn_gpu.potential import BatchResult
from etn_gpu.screening import BatchLimits, Screening
from etn_gpu.structures import StructureBatch

from .conftest import LennardJones

SECONDS = 0.02


class Slow(LennardJones):
    """Takes its time, and dies of some batches once, for which it leaves a file."""

    def __init__(self, folder: Path, deadly: int) -> None:
        super().__init__()
        self._folder, self._deadly = folder, deadly

    def evaluate_batch(self, batch: StructureBatch, **options: Any) -> BatchResult:
        time.sleep(SECONDS)
        name = hashlib.sha256(batch.vectors.tobytes()).hexdigest()
        if self._deadly and int(name, 16) % self._deadly == 0 and not (died := self._folder / f"{name}.died").exists():
            died.touch()
            os._exit(9)
        return super().evaluate_batch(batch, **options)


def screening(folder: Path, inputs: list[Path], suffix: str, deadly: int = 0, **options: Any) -> Screening:
    """The run; notes how far it has come after each batch."""
    unfinished._INTERVAL = unfinished._SHARE = 0.0
    folder.mkdir(exist_ok=True)
    model: Any = Slow(folder.parent, deadly)
    return Screening(
        model, [*inputs], folder / "out.csv", structures=folder / f"out.extxyz{suffix}", keep=["number"],
        limits=BatchLimits.for_atoms(100), **options,
    )  # fmt: skip


def main() -> None:
    """Run."""
    folder, suffix, deadly, *inputs = sys.argv[1:]
    run = screening(Path(folder), [*map(Path, inputs)], suffix, int(deadly), resume=True, workers=2)
    for number, _ in enumerate(run):
        if number == 0:
            print("written", flush=True)


if __name__ == "__main__":
    main()
