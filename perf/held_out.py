"""A fixed part of a training file that is held out, for comparisons that must not touch the test split."""

from __future__ import annotations

from pathlib import Path

from ase.io import write

from etn_gpu.structures import read_labelled
from etn_gpu.training.data import split_validation

#: Share of the training file that is held out, and the seed that decides which.
HELD_OUT, SEED = 0.2, 0


def split_file(source: Path, folder: Path, structures: int | None = None) -> tuple[Path, Path]:
    """Files in ``folder`` to train on and to report on, both with a like share of every config_type.

    What is held out depends on ``source`` alone; ``structures`` is about how many of the others to train on (default:
    all of them). Training holds out a part of its own file once more, to decide by.

    Raises:
        DataError: the source cannot be read.
    """
    fit, held = folder / "fit.extxyz", folder / "held-out.extxyz"
    if not (fit.exists() and held.exists()):
        labels = read_labelled(source)
        chosen, reported = split_validation(labels, HELD_OUT, SEED, range(len(labels)))
        if structures is not None and structures < len(chosen):
            _, chosen = split_validation(labels, structures / len(chosen), SEED, chosen)
        folder.mkdir(parents=True, exist_ok=True)
        for path, indices in ((fit, chosen), (held, reported)):
            write(path, [labels.atoms[i] for i in indices])
    return fit, held
