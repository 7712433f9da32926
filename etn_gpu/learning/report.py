"""What a run of learning amounts to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from etn_gpu.errors import LearningError
from etn_gpu.files import json_text, write_atomically


@dataclass
class LearningReport:
    """Options, rounds, the last training, and the comparison of student and teacher.

    Attributes:
        options: those of the run.
        rounds: for each round how many structures were met, chosen, labelled, failed and left out for large forces,
            errors of the student on them `before` it was trained on them, errors and seconds of the training.
        final: the last training, on all labels.
        test: how the structures of the comparison were met and labelled.
        errors: errors by origin of the structure, and by grade: energies in eV/atom, forces in eV/A, stress in eV/A^3.
        speed: microseconds per atom for energy, forces and stress; empty where they could not be measured.
    """

    options: dict[str, Any]
    rounds: list[dict[str, Any]]
    final: dict[str, Any]
    test: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """As JSON, in one piece; errors that are not finite, of structures that the student cannot evaluate, are null.

        Raises:
            LearningError: the file cannot be written.
        """
        write_atomically(path, json_text(self.to_dict()).encode(), LearningError, "the report")
