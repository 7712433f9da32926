"""What users run: lists of ase.Atoms by a shipped model, in parts that take turns in both queues of the device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gpu.crystals import SPECIES, Structures, bcc, ragged
from gpu.models import potential
from gpu.packages import obstacle
from gpu.program_checks import LIMITS
from gpu.section import Bench, Case, Code, Row, Section, compared, not_run, relative

from etn_gpu.backend.cuda.device import Device
from etn_gpu.errors import StructureError
from etn_gpu.potential import on_device
from etn_gpu.potential.results import Result

if TYPE_CHECKING:
    from ase import Atoms

#: What lists of structures need beside NumPy.
PACKAGES = ("ase", "numba", "safetensors")


def cases(bench: Bench) -> Iterator[Case]:
    """Both precisions, then memory that runs out."""
    name, dtypes = bench.sizes.potential, bench.sizes.dtypes
    reason = obstacle(*PACKAGES)
    if reason is not None:
        yield Case(f"structures, {name}", partial(not_run, reason))
        return
    for dtype in dtypes:
        yield Case(f"structures, {name}, {dtype}", partial(_structures, bench, dtype), (Code(name, "gradient", dtype),))
    needs = (Code(name, "gradient", dtypes[0]),)
    yield Case(f"too little memory, {name}, {dtypes[0]}", partial(_too_little_memory, bench, dtypes[0]), needs)


SECTION = Section("structures", "Lists of structures, as users have them, against NumPy", cases, 0.88, measures=False)


def atoms(structures: Structures) -> list[Atoms]:
    """The structures of a batch as those of ASE."""
    from ase import Atoms

    made = []
    for s in range(structures.n_structures):
        one = structures.only(s)
        symbols = [SPECIES[k] for k in one.species]
        made.append(Atoms(symbols, positions=one.positions, cell=one.cells[0], pbc=one.pbc[0]))
    return made


def _structures(bench: Bench, dtype: str) -> Row:
    """In parts, in one part, and by NumPy; one structure has two atoms at one place."""
    rng, cells = bench.rng(), bench.sizes.check_cells
    many = [*atoms(ragged(rng, cells)), *atoms(bcc(rng, (2, 2, 1), 4 * cells))]
    broken = many[0].copy()
    broken.positions[1] = broken.positions[0]
    place = len(many) // 2
    many.insert(place, broken)
    model = potential(bench.sizes.potential, bench.seed)
    evaluate = partial(
        on_device.evaluate_each_on_device, model, many, forces=True, stress=True, dtype=dtype, device=bench.device
    )
    whole = evaluate()
    with _changed(on_device, "PART_ATOMS", bench.sizes.part_atoms), _recorded(bench.device, "queue") as queues:
        found = evaluate()
    errors = [s for s, outcome in enumerate(found) if isinstance(outcome, StructureError)]
    expected = model.evaluate([a for s, a in enumerate(many) if s != place], backend="numpy", dtype="float64")
    right_errors = errors == [place] and "at one place" in str(found[place])
    row = compared(
        _difference(found, expected) if right_errors else np.inf,
        LIMITS[dtype],
        size=sum(map(len, many)),
        structures=len(many),
        started=len(queues) // 2,
        both_queues={number for (number,) in queues} == {0, 1},
        same_in_parts=_same(whole, found),
        right_errors=right_errors,
    )
    return row | {"passed": row["passed"] and row["both_queues"] and row["same_in_parts"]}


def _too_little_memory(bench: Bench, dtype: str) -> Row:
    """A quarter of the memory that a list takes in one part: it is halved until its parts fit, and no bit changes."""
    if bench.sizes.crowd == 0:
        return {"not_run": "needs a GPU and its memory pool"}
    import cupy

    pool, device = cupy.get_default_memory_pool(), bench.device
    many = atoms(bcc(bench.rng(), (bench.sizes.check_cells,) * 3, bench.sizes.crowd))
    model = potential(bench.sizes.potential, bench.seed)
    evaluate = partial(
        on_device.evaluate_each_on_device, model, many, forces=True, stress=True, dtype=dtype, device=device
    )
    evaluate()  # what is made once and kept takes no part in what follows
    device.release()
    before = pool.used_bytes()
    whole = evaluate()
    taken = pool.total_bytes() - before
    device.release()
    limit = pool.get_limit()
    pool.set_limit(size=pool.used_bytes() + taken // 4)
    try:
        with _recorded(device, "release") as releases:
            found = evaluate()
    finally:
        pool.set_limit(size=limit)
    same = _same(whole, found)
    return {"passed": same and len(releases) > 0, "size": sum(map(len, many)), "bytes": taken, "cut": len(releases)}


def _difference(found: Sequence[Result | StructureError], expected: Sequence[Result]) -> float:
    """The largest of all properties; inf where a structure lacks one."""
    results = [result for result in found if not isinstance(result, StructureError)]
    if [r.keys() for r in results] != [r.keys() for r in expected]:
        return np.inf
    names = dict.fromkeys(name for result in expected for name in result)
    return max(relative(*(_joined(of, name) for of in (results, expected))) for name in names)


def _joined(results: Sequence[Result], name: str) -> np.ndarray:
    return np.concatenate([np.ravel(result[name]) for result in results if name in result])


def _same(first: Sequence[Result | StructureError], second: Sequence[Result | StructureError]) -> bool:
    """Whether two lists of outcomes have the same bits."""
    for one, other in zip(first, second, strict=True):
        if isinstance(one, StructureError) or isinstance(other, StructureError):
            if str(one) != str(other):
                return False
        elif one.keys() != other.keys() or not all(np.array_equal(one[name], other[name]) for name in one):
            return False
    return True


@contextlib.contextmanager
def _changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _recorded(device: Device, name: str) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments of all calls of a method of the device."""
    method, calls = getattr(device, name), list[tuple[Any, ...]]()

    def noting(*arguments: Any) -> Any:
        calls.append(arguments)
        return method(*arguments)

    setattr(device, name, noting)
    try:
        yield calls
    finally:
        delattr(device, name)
