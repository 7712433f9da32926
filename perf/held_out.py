"""Fixed parts of a training file that are held out, for comparisons that must not touch the test split."""

from __future__ import annotations

from pathlib import Path

from ase.io import write

from etn_gpu.structures import LabelledSet, read_labelled
from etn_gpu.training.data import species_of, split_validation

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
        chosen = _some(labels, chosen, structures)
        _write(labels, {fit: chosen, held: reported})
    return fit, held


def fold_files(source: Path, folder: Path, folds: int, structures: int | None = None) -> list[tuple[Path, Path]]:
    """Files in ``folder`` to train on and to report on, one pair for each fold: every structure is reported on once.

    Folds have a like share of every config_type, and copies of a structure are never apart. Structures whose element no
    other fold has are in none. ``structures`` is about how many to take in all (default: all of them).

    Raises:
        DataError: the source cannot be read.
    """
    pairs = [(folder / f"fit-{k}.extxyz", folder / f"fold-{k}.extxyz") for k in range(folds)]
    if not all(path.exists() for pair in pairs for path in pair):
        labels = read_labelled(source)
        left = _some(labels, list(range(len(labels))), structures)
        everything = sorted(left)
        for k, (fit, fold) in enumerate(pairs):
            left, out = split_validation(labels, 1 / (folds - k), SEED, left) if k < folds - 1 else ([], sorted(left))
            known = set(species_of(labels, sorted({*everything} - {*out})))
            reported = [i for i in out if set(labels.atoms[i].symbols) <= known]
            _write(labels, {fit: sorted({*everything} - {*reported}), fold: reported})
    return pairs


def _some(labels: LabelledSet, indices: list[int], structures: int | None) -> list[int]:
    """About so many of the structures, with a like share of every config_type; all where None is given."""
    if structures is None or structures >= len(indices):
        return indices
    return split_validation(labels, structures / len(indices), SEED, indices)[1]


def _write(labels: LabelledSet, files: dict[Path, list[int]]) -> None:
    for path, indices in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [labels.atoms[i] for i in indices])
