"""What was expected before anything was measured, beside what was: one NVIDIA H200, preset standard, float32.

Floors of energies, forces and stress of 1 024 000 atoms with 50 neighbours, from operations and bytes that can be
counted, at 60 TFLOP/s and 4.8 TB/s, the most that the data sheet allows; for each atom:

================  ==========  =========  ==================================================================
stage             operations  bytes      what is read and written
================  ==========  =========  ==================================================================
list                           5.0 kB    neighbours, shifts, species, reverse edges, vectors: 100 an edge
edges0              30 k       6.0 kB    vectors, species; 1152 basis sums S
atoms1             122 k       9.2 kB    S; as many cotangents
edges2              77 k       6.6 kB    cotangents, vectors, species; gradients
forces, virials                2.2 kB    gradients, vectors, reverse edges
margins                        1.4 kB    vectors, species
================  ==========  =========  ==================================================================

Each is bound by the larger of two times, 2.0 ms for atoms1, which alone is bound by operations, 1.3 and 1.4 ms for the
edges: 6.6 ms in all, 155 million atoms per second, 5.5 ms without the list. Three tenths of that would be 46 million
atoms per second, more than the first target.

Instructions of warps for each atom, counted in the machine code for sm_90 (NVRTC 13.5, loops by hand; atoms1 by running
through its lists of tasks): list 3.4 k (a seventh of them for reverse edges), edges0 2.2 k, atoms1 4.6 k, of which
45 % are arithmetic on numbers, edges2 2.4 k, the rest 0.2 k; 12.8 k in all, 9.4 k without the list. 132 multiprocessors
that issue four in every cycle of 1.7 GHz could do 70 million atoms per second, 95 without the list; half of that is
expected, because atoms1 has 256 KB of code, twice what is kept near, and edges0 waits for shared memory.

Small batches pay for padding and for launches: 24 of our own kernels, two sorts and two cumulative sums, for which the
host takes about 1 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpu import ceilings, kernel_times, one_core, throughput
from gpu.section import Bench, Row


@dataclass(frozen=True)
class Expectation:
    """A figure: what was expected of it, ``least`` or at most, and where it is found; ``target`` where it must hold."""

    figure: str
    value: float
    least: bool
    find: Callable[[Bench], float | None]
    target: bool = False

    def row(self, bench: Bench) -> Row:
        """Expected and measured, and whether one meets the other; None where it was not measured."""
        found = self.find(bench)
        met = None if found is None else bool(found >= self.value if self.least else found <= self.value)
        kind = "target" if self.target else "prediction"
        bound = "at least" if self.least else "at most"
        return {"case": self.figure, "kind": kind, "bound": bound, "expected": self.value, "found": found, "met": met}


EXPECTATIONS = (
    Expectation(
        "atoms per second, 10^6 atoms, list included", 25e6, True,
        lambda b: throughput.headline(b).get("atoms_per_second"), True,
    ),
    Expectation(
        "atoms per second, 10^6 atoms, list included, prediction", 35e6, True,
        lambda b: throughput.headline(b).get("atoms_per_second"),
    ),
    Expectation(
        "atoms per second, 10^6 atoms, without list", 45e6, True,
        lambda b: throughput.headline(b).get("without_list"),
    ),
    Expectation(
        "share of the measured floor", 0.3, True,
        lambda b: b.row(kernel_times.SECTION.name, "all, float32").get("of_floor"), True,
    ),
    Expectation(
        "1000 structures of 64 atoms, time per atom / crystal", 1.5, False,
        lambda b: throughput.target_batch(b).get("time_per_atom_of_crystal"), True,
    ),
    Expectation(
        "GPU / one core of the host", 100.0, True,
        lambda b: b.row(one_core.SECTION.name, "float32").get("gpu_over_core"), True,
    ),
    Expectation("copy, bytes per second", 4.2e12, True, lambda b: ceilings.ceiling(b, "copy")),
    Expectation("float32 operations per second", 55e12, True, lambda b: ceilings.ceiling(b, "float32")),
    Expectation("float64 operations per second", 28e12, True, lambda b: ceilings.ceiling(b, "float64")),
    Expectation(
        "bytes of memory per atom, 10^6 atoms", 15e3, False,
        lambda b: throughput.headline(b).get("bytes_per_atom"),
    ),
)  # fmt: skip


def rows(bench: Bench) -> list[Row]:
    """All of them."""
    return [expectation.row(bench) for expectation in EXPECTATIONS]
