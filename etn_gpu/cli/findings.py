"""What `etn-gpu evaluate` finds beside errors, whatever a model gives: failures, warnings, how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from etn_gpu.cli.console import compiled, per_atom
from etn_gpu.cli.progress import structure_progress
from etn_gpu.cli.reading import untried_lines
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console

    from etn_gpu.structures import Frame, LabelledSet

_FAILURES_SHOWN = 10
T = TypeVar("T")


@dataclass
class Findings:
    """Of all files. untried: for each file that could not be read to its end, how many structures were never tried;
    seconds: what the evaluation took."""

    failures: list[dict[str, Any]] = field(default_factory=list)
    untried: dict[str, int | None] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def warn(self, source: str, text: str) -> None:
        """Something about a file, or about several."""
        self.warnings.append({"source": source, "message": text})

    def fail(self, path: Path, index: int, text: str) -> None:
        """A structure that has no result."""
        self.failures.append({"source": str(path), "index": index, "message": text})

    def read(self, path: Path, reading: dict[str, Any]) -> LabelledSet:
        """The labelled structures of a file; broken frames have failed.

        Raises:
            DataError: a file that cannot be read, or has no labels.
        """
        from etn_gpu.structures import read_labelled

        broken: list[Frame] = []
        labels = read_labelled(path, broken=broken, **reading)
        for frame in broken:
            self.fail(path, frame.index, "" if frame.error is None else frame.error.reason)
            if frame.untried != 0:
                self.untried[str(path)] = frame.untried
        return labels

    def outcomes(
        self,
        path: Path,
        labels: LabelledSet,
        cutoff: float,
        batch_atoms: int,
        evaluate: Callable[[list[Atoms]], Sequence[T]],
    ) -> Iterator[tuple[int, T]]:
        """The place of each structure and what ``evaluate`` makes of it, in batches of so many atoms."""
        from etn_gpu.screening import BatchLimits
        from etn_gpu.screening.batching import Candidate, batches

        candidates = [Candidate(str(path), *pair) for pair in zip(labels.frames, labels.atoms, strict=True)]
        places = iter(range(len(candidates)))
        with structure_progress(len(candidates)) as advance:
            for batch in batches(candidates, cutoff, BatchLimits.for_atoms(batch_atoms)):
                start = perf_counter()
                outcomes = evaluate([c.atoms for c in batch if c.atoms is not None])
                self.seconds += perf_counter() - start
                yield from zip(islice(places, len(batch)), outcomes, strict=True)
                advance(len(batch), str(path))

    def tell_warnings(self, console: Console) -> None:
        """One line each."""
        for warning in self.warnings:
            text = escaped(f"{warning['source']}: warning: {warning['message']}")
            console.print(text, style="yellow", soft_wrap=True)

    def tell_rest(
        self, console: Console, n_structures: int, n_atoms: int, options: dict[str, Any], compilation: float
    ) -> None:
        """What failed and what was not tried; how many structures were evaluated, and how long that took."""
        for failure in self.failures[:_FAILURES_SHOWN]:
            where = escaped(f"{failure['source']} [{failure['index']}]: {failure['message']}")
            console.print(f"failed: {where}", style="red", soft_wrap=True)
        if (more := len(self.failures) - _FAILURES_SHOWN) > 0:
            console.print(f"... and {more} more failed; --json lists all", style="red")
        for line in untried_lines(self.untried):
            console.print(line, style="red", soft_wrap=True)
        console.print(
            f"{n_structures} structures, {n_atoms} atoms, {self.seconds:.2f} s{per_atom(self.seconds, n_atoms)}, "
            f"backend {options['backend']}, {options['dtype']}{compiled(compilation)}",
            soft_wrap=True,
        )
