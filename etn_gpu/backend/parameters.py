"""Steps between parameters: what they are folded into before a batch, and what follows its sums over atoms.

They hold no batch, so every backend leaves them to NumPy, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from etn_gpu.backend import numpy_backend
from etn_gpu.backend.columns import Columns
from etn_gpu.backend.constants import content
from etn_gpu.backend.phases import split
from etn_gpu.plan.program import Program, Step

Array = NDArray[np.floating]


def fold(program: Program, columns: Columns, inputs: Mapping[str, Array], dtype: DTypeLike) -> Array:
    """The parameters ``columns``, given and folded, in one flat array [total] that must not be written to.

    Folding takes a millisecond or two: for a small structure longer than everything else, so a model is folded once.
    What is given is compared number by number unless it is :func:`~etn_gpu.backend.constants.frozen`.
    """
    given = tuple(content(inputs[v.name]) for v in program.parameter_inputs)
    return _fold(program, tuple(columns.items()), np.dtype(dtype).name, given)


@lru_cache(maxsize=16)
def _fold(
    program: Program, columns: tuple[tuple[str, tuple[int, int]], ...], dtype: str, given: tuple[bytes, ...]
) -> Array:
    values: dict[str, Array] = {}
    for v, numbers in zip(program.parameter_inputs, given, strict=True):
        values[v.name] = np.ndarray(v.size, np.float64, numbers)
    before, _, _ = split(program)
    _run(before, values, ())
    flat = np.empty(sum(size for _, (_, size) in columns), dtype)
    for name, (offset, size) in columns:
        flat[offset : offset + size] = values[name]
    flat.flags.writeable = False
    return flat


def parameter_outputs(
    program: Program, columns: Columns, parameters: Array, sums: Columns, rows: Array, dtype: np.dtype
) -> dict[str, Array]:
    """The outputs in parameter space, [size] or [samples, size].

    parameters [total]: the folded ``columns``; rows [total] or [samples, total]: the sums over atoms ``sums``.
    """
    if not program.has_parameter_outputs:
        return {}
    values: dict[str, Array] = {}
    for name, (offset, size) in columns.items():
        values[name] = parameters[offset : offset + size].astype(np.float64)
    for name, (offset, size) in sums.items():
        values[name] = rows[..., offset : offset + size]
    _, _, after = split(program)
    _run(after, values, rows.shape[:-1])
    return _outputs(program, values, rows.shape[:-1], dtype)


def closing_outputs(
    program: Program, steps: Sequence[Step], given: Mapping[str, Array], dtype: np.dtype
) -> dict[str, Array]:
    """The outputs in parameter space of a Program of several passes, [size] or [samples, size].

    given: the parameters, and the sums over atoms of the passes, [size] or [samples, size]; steps: those between them.
    """
    if not program.has_parameter_outputs:
        return {}
    inputs = {v.name for v in program.parameter_inputs}
    read = {n for step in steps for term in step.terms for n in term.operands}
    made = {step.out.name for step in steps}
    values: dict[str, Array] = {name: np.asarray(given[name], np.float64) for name in (read | inputs) - made}
    values |= {name: values[name].ravel() for name in inputs}
    for step in steps:
        shapes = [values[n].shape[:-1] for term in step.terms for n in term.operands]
        _run([step], values, max(shapes, key=len, default=()))
    return _outputs(program, values, max((value.shape[:-1] for value in values.values()), key=len), dtype)


def _outputs(program: Program, values: Mapping[str, Array], lead: tuple[int, ...], dtype: np.dtype) -> dict[str, Array]:
    """The outputs in parameter space, all with the axes ``lead`` of samples."""
    found = {name: program.values[value] for name, value in program.outputs}
    return {
        name: np.broadcast_to(values[value.name], (*lead, value.size)).astype(dtype)
        for name, value in found.items()
        if value.space == "param"
    }


def _run(steps: Sequence[Step], values: dict[str, Array], lead: tuple[int, ...]) -> None:
    """Add the values of ``steps`` to ``values``; ``lead`` is (samples,) after a sum over atoms sample by sample."""
    for step in steps:
        out = np.zeros((*lead, step.out.size))
        for term in step.terms:
            at = [values[name] for name in term.operands]
            at.insert(term.slot, out)
            numpy_backend.apply_parameter_term(term, at)
        values[step.out.name] = out
