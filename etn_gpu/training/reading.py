"""The files of a training run, read and audited: those to train on as one set, and the one to validate on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etn_gpu.errors import TrainingError
from etn_gpu.structures import LabelAudit, LabelledSet, read_labelled
from etn_gpu.structures.joined import copies_between, join_labelled
from etn_gpu.structures.target_audit import TargetAudit
from etn_gpu.structures.targets import Quantity
from etn_gpu.training.config import Event, OnEvent, TrainingConfig
from etn_gpu.training.data import labelled, species_of


def read_training_files(
    config: TrainingConfig, on_event: OnEvent, check: Callable[[], None]
) -> tuple[LabelledSet, tuple[str, ...]]:
    """The structures of all files to train on, and the warnings of the audits, one audit for each file.

    Of several files, structures without a group are in one of the name of their file.
    """
    sets, warnings = [], []
    for path in config.train_files:
        labels = _read(path, config, check)
        audit = _audit(labels)
        on_event(Event("audit", text=str(audit)))
        sets.append(labels)
        warnings += [text if len(config.train_files) == 1 else f"{path.name}: {text}" for text in audit.warnings]
    for labels, count in copies_between(sets):
        text = (
            f"{count} of {len(labels)} structures in {labels.source} are copies of structures in files before it: they "
            "count several times"
        )
        on_event(Event("message", text=f"warning: {text}"))
        warnings.append(text)
    return join_labelled(sets), tuple(warnings)


def read_validation_file(
    path: Path,
    config: TrainingConfig,
    species: tuple[str, ...],
    trained: list[str],
    quantity: Quantity | None,
    on_event: OnEvent,
    check: Callable[[], None],
) -> LabelledSet:
    """The structures to validate on, checked against what is trained: properties, or a quantity."""
    labels = _read(path, config, check)
    on_event(Event("audit", text=str(_audit(labels))))
    if unknown := [symbol for symbol in species_of(labels, range(len(labels))) if symbol not in species]:
        known = ", ".join(map(str, config.train_files)) + ("" if config.init is None else f" and {config.init}")
        raise TrainingError(f"{path} holds elements that the labelled structures of {known} lack: {', '.join(unknown)}")
    if not labelled(labels, trained).size:
        raise TrainingError(f"{path} has no label of what is trained on ({', '.join(trained)}): it cannot validate")
    if labels.target is not None and (quantity is None or not labels.target.quantity.agrees(quantity)):
        raise TrainingError(f"{path} has {labels.target.quantity}, and {quantity} is trained on: expected the same")
    return labels


def _audit(labels: LabelledSet) -> LabelAudit | TargetAudit:
    return labels.audit() if labels.target is None else labels.target_audit()


def _read(path: Path, config: TrainingConfig, check: Callable[[], None]) -> LabelledSet:
    return read_labelled(
        path,
        keys=config.label_keys,
        target=config.target,
        before_frame=check,
        format=config.format,
        species=config.species,
    )
