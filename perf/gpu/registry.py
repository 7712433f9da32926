"""A Program by the name of the backend, as :func:`etn_gpu.backend.run` gives it to users."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from gpu.program_checks import LIMITS, given
from gpu.section import Bench, Case, Code, Row, Section, compared, relative

from etn_gpu import backend
from etn_gpu.backend.cuda.device import CupyDevice

#: It has outputs on edges, on atoms, and sums over atoms.
PROGRAM = "parameter_gradient"


def cases(bench: Bench) -> Iterator[Case]:
    """Both precisions."""
    for dtype in bench.sizes.dtypes:
        code = Code(bench.sizes.presets[0], PROGRAM, dtype)
        yield Case(code.name, partial(_run, bench, dtype), (code,))


SECTION = Section("registry", 'Programs by backend="cuda" against NumPy', cases, until=0.9, measures=False)


def _run(bench: Bench, dtype: str) -> Row:
    """With samples, and without."""
    reason = backend.available()["cuda"]
    if reason is not None and not isinstance(bench.device, CupyDevice):
        return {"not_run": reason}
    asked = given(bench, bench.sizes.presets[0], PROGRAM)
    worst = 0.0
    for samples in (None, asked.samples):
        expected = backend.run(asked.program, asked.inputs, asked.geometry, backend="numpy", samples=samples)
        found = backend.run(
            asked.program, asked.inputs, asked.geometry, backend="cuda", dtype=np.dtype(dtype), samples=samples
        )
        worst = max(worst, *(relative(found[name], values) for name, values in expected.items()))
    return compared(worst, LIMITS[dtype], size=asked.geometry.n_atoms)
