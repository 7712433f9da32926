"""What a section of the suite is: cases that each give one row of figures, or fail alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etn_gpu.backend.cuda.device import Device

if TYPE_CHECKING:
    from gpu.prepare import Compilation

Row = dict[str, Any]


class Code(NamedTuple):
    """A Program of a model (see :func:`gpu.models.program_of`) in one precision, as something to be compiled."""

    model: str
    program: str
    dtype: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.program}, {self.model}, {self.dtype}"


@dataclass(frozen=True)
class Case:
    """One measurement or check: what it is called, and what makes its row, or several that are called otherwise.

    It is run only where all that it ``needs`` has been compiled.
    """

    name: str
    run: Callable[[], Row | list[Row]]
    needs: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """How much of everything: :data:`FULL` for a GPU, :data:`WATCHED` for one under compute-sanitizer, :data:`TINY` for
    the emulator."""

    #: The first preset and precision are those of the figures that count; the first crystal is theirs.
    presets: tuple[str, ...]
    dtypes: tuple[str, ...]
    programs: tuple[str, ...]
    #: The model that lists of structures are evaluated with, the atoms of a part of them, and the structures in the
    #: list that does not fit into memory, 0 where there is no memory pool that can be limited.
    potential: str
    part_atoms: int
    crowd: int
    #: Legs of the tensors that are decomposed.
    leg: str
    #: Cells along each direction of the crystals in the checks, random structures there, rows that are summed.
    check_cells: int
    random_structures: int
    rows: int
    #: Cubic cells of the crystal that large ones are copies of, and how many copies along each direction.
    block: tuple[int, int, int]
    copies: tuple[tuple[int, int, int], ...]
    #: (atoms, structures) of batches, the first of them that of the target.
    batches: tuple[tuple[int, int], ...]
    #: Cells along each direction for one core of the host, vectors in a product, numbers copied, threads, rounds.
    core_cells: int
    vectors: int
    copied: int
    threads: int
    rounds: int


_MILLION = (20, 20, 20)
FULL = Sizes(
    # Small ones come last: what takes long to compile must begin early.
    presets=("standard", "large", "small", "message-small"),
    dtypes=("float32", "float64"),
    programs=("gradient", "energy", "parameter_gradient", "hessian_vector"),
    potential="nbmotaw",
    part_atoms=50,
    crowd=64,
    leg="8x0e+6x1o+4x2e",
    check_cells=4,
    random_structures=60,
    rows=300_000,
    block=(4, 4, 4),
    copies=(_MILLION, (2, 2, 2), (4, 4, 5), (8, 10, 10), (40, 40, 49)),
    batches=((64, 1000), (64, 16_000), (16, 1000), (16, 64_000), (256, 1000), (256, 4000)),
    core_cells=16,
    vectors=100_000,
    copied=2**30,
    threads=2**20,
    rounds=4096,
)
TINY = Sizes(
    presets=("tiny",),
    dtypes=("float32", "float64"),
    programs=("parameter_gradient",),
    potential="tiny",
    part_atoms=20,
    crowd=0,
    leg="2x0e+2x1o",
    check_cells=2,
    random_structures=4,
    rows=3000,
    block=(2, 2, 2),
    copies=((1, 1, 2), (1, 1, 1)),
    batches=((16, 2),),
    core_cells=2,
    vectors=40,
    copied=1000,
    threads=256,
    rounds=3,
)
WATCHED = replace(TINY, presets=("small",), programs=FULL.programs, potential="small", check_cells=3)


class Clock:
    """Seconds that are left of a budget."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the budget is spent."""
        return share * self.seconds - self.spent


@dataclass
class Bench:
    """What all sections share: the device, how much to do, the seed of all random inputs, the time there is, the rows
    of earlier sections; the commit, where it is given; and what is being compiled, None on an emulator."""

    device: Device
    sizes: Sizes
    seed: int
    clock: Clock
    commit: str | None = None
    rows: dict[str, list[Row]] = field(default_factory=dict)
    compilation: Compilation | None = None

    def row(self, section: str, case: str) -> Row:
        """What a case of an earlier section gave; nothing where it was not run."""
        return next((row for row in self.rows.get(section, []) if row["case"] == case), {})

    def rng(self) -> np.random.Generator:
        """A new generator, the same each time in one run: a case does not depend on those before it."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Section:
    """``cases`` of a bench, begun only while less than the share ``until`` of the time is spent.

    ``measures`` is true for what means nothing on an emulator. Making cases starts nothing.
    """

    name: str
    title: str
    cases: Callable[[Bench], Iterable[Case]]
    until: float = 1.0
    measures: bool = True


def not_run(reason: str) -> Row:
    """The row of a check that could not be run: it has neither passed nor failed, and the suite is not complete."""
    return {"not_run": reason, "passed": None}


def compared(difference: float, limit: float, **more: Any) -> Row:
    """The row of a check: the largest relative difference, what it may be, and whether it is; NaN never passes."""
    return {"difference": difference, "limit": limit, "passed": bool(difference <= limit), **more}


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the largest expected magnitude; inf where shapes differ or something is not finite.

    Infinities at the same places are equal.
    """
    if found.shape != expected.shape:
        return math.inf
    same = found == expected
    if same.all():
        return 0.0
    with np.errstate(invalid="ignore"):
        error = np.abs(found[~same].astype(np.float64) - expected[~same]).max()
    finite = np.abs(expected[np.isfinite(expected)], dtype=np.float64)
    scale = finite.max(initial=0.0)
    return float(error / scale) if np.isfinite(error) and scale > 0.0 else math.inf


def bitwise(pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> Row:
    """The row of a check of pairs (found, expected) of arrays: their dtypes and bits must be the same."""
    worst = 0.0
    for found, expected in pairs:
        worst = max(worst, relative(found, expected) if found.dtype == expected.dtype else math.inf)
    return compared(worst, 0.0)
