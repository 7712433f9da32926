"""How an atom stage is planned: loops, values that are not held, levels; and what NVRTC makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.backend.cuda import nvrtc, sources
from etn_gpu.backend.cuda.inlining import inlined
from etn_gpu.backend.cuda.levels import Schedule, Work, schedule
from etn_gpu.backend.cuda.loops import Nest, nests
from etn_gpu.backend.cuda.operands import Factors, Operands, Place, coupling
from etn_gpu.backend.cuda.pieces import pieces
from etn_gpu.plan.operations import Couple, CoupleBlock, Mix, MixBlock
from etn_gpu.plan.program import Step, Term, Value
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.presets import preset_architecture
from etn_gpu.potential.programs import Programs, programs
from etn_gpu.symmetry import clebsch_gordan
from tests.backend.cuda.atom_tiles import Case


@pytest.fixture(scope="module")
def standard() -> Programs:
    return programs(preset_architecture("standard", ("Nb", "Mo", "Ta", "W"), 5.0, 1.5))


def rows_of(nest: Nest) -> list[tuple[int, ...]]:
    base, outer, inner = (np.array(v, int) for v in (nest.base, nest.outer, nest.inner))
    return [
        tuple((base + i * outer + j * inner).tolist()) for i in range(nest.counts[0]) for j in range(nest.counts[1])
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), max_size=20))
def test_loops_run_through_all_rows_in_order(rows: list[tuple[int, int]]) -> None:
    found = nests(rows)
    assert [row for nest in found for row in rows_of(nest)] == rows
    for nest in found:
        if nest.length > 1:
            assert [row for half in nest.halves() for row in rows_of(half)] == rows_of(nest)


def test_a_grid_is_one_nest() -> None:
    grid = [(3 + 10 * i + 2 * j, 7 * i, -j) for i in range(4) for j in range(5)]
    assert nests(grid) == [Nest((3, 0, 0), (4, 5), (10, 7, 0), (2, 0, -1))]
    assert nests([(1, 2)]) == [Nest((1, 2), (1, 1), (0, 0), (0, 0))]


@pytest.mark.parametrize("slot", [0, 1, 2])
@pytest.mark.parametrize("ls", [(1, 2, 3), (2, 1, 2), (2, 2, 2), (0, 3, 3), (1, 1, 1)])
def test_couplings_of_the_same_irreps_are_one_table_times_a_number(ls: tuple[int, int, int], slot: int) -> None:
    wanted = np.transpose(clebsch_gordan(*ls), (slot, *(s for s in range(3) if s != slot)))
    straight, swapped, factor = coupling(ls, slot, 1, 2 * ls[slot]) if ls[slot] else coupling(ls, slot, 0, 1)
    table = np.zeros_like(wanted[1:] if ls[slot] else wanted)
    for o, a, b, c in straight.entries:
        table[o, a, b] = factor * c
    np.testing.assert_allclose(table, wanted[1:] if ls[slot] else wanted, atol=1e-14)
    assert {(o, b, a, c) for o, a, b, c in straight.entries} == set(swapped.entries)
    others = [k for s, k in enumerate(ls) if s != slot]
    again = coupling((*others, ls[slot]), 2, 0, 2 * ls[slot] + 1)
    assert again[0] == coupling(ls, slot, 0, 2 * ls[slot] + 1)[0]


def test_products_and_their_cotangents_are_not_held(standard: Programs) -> None:
    case = Case.of_program(standard.gradient)
    chosen = inlined(case.steps, case.kept)
    expected = {s.out.name for s in case.steps if s.out.name.startswith(("G2:", "G3:"))} | {"T", "T~"}
    assert chosen.keys() == expected
    assert not inlined(case.steps, case.kept | expected)


def test_what_is_read_often_or_by_other_operations_is_held() -> None:
    a, x = Value("a", "atom", 4), Value("x", "atom", 4)
    product = Couple((4, 4, 16), (CoupleBlock((0, 0, 0), (0, 0, 0), (4, 4, 1), ((1, 0, 0), (0, 1, 0), (4, 1, 0))),))
    mix = Mix((16 * 40, 16, 40), (MixBlock(0, 16, 40, 16, 1, 0, 0),))
    outer = Step(Value("outer", "atom", 16), (Term(product, 2, ("a", "x")),))
    reads = tuple(Step(Value(f"h{k}", "atom", 40), (Term(mix, 2, ("w", "outer")),)) for k in range(3))
    assert inlined((outer, *reads[:2]), set()).keys() == {"outer"}
    assert not inlined((outer, *reads), set())
    coupled = Step(Value("back", "atom", 4), (Term(product, 0, ("x", "outer")),))
    assert not inlined((outer, reads[0], coupled), set())
    doubled = Couple((4, 4, 16), (*product.blocks, *product.blocks))
    assert not inlined((Step(outer.out, (Term(doubled, 2, ("a", "x")),)), reads[0]), set())
    assert (a.size, x.size) == doubled.sizes[:2]


def planned(case: Case, n_warps: int) -> Schedule:
    """Levels of a case whose inputs are all in tiles."""
    chosen = inlined(case.steps, case.kept)
    operands = Operands(chosen, {v.name: v.name for v in case.inputs}, Factors())
    works = [
        Work(s.out.name, s.out.size, Place("row", s.out.name), tuple(pieces(s, operands)))
        for s in case.steps
        if s.out.name not in chosen
    ]
    return schedule(works, n_warps)


@pytest.mark.parametrize("n_warps", [1, 4, 8, 16])
def test_levels_are_complete_and_balanced(standard: Programs, n_warps: int) -> None:
    case = Case.of_program(standard.gradient)
    plan = planned(case, n_warps)
    written: set[str] = set()
    for warps in plan.levels:
        assert len(warps) == n_warps
        now: dict[tuple[str, int], int] = {}
        for warp, tasks in enumerate(warps):
            for store in (store for task in tasks for store in task.stores):
                read = {p.name for p in store.piece.places if p.kind == "row"}
                assert read <= written, "what a level reads was written in levels before"
                assert store.target is not None
                assert store.piece.patch is not None
                for component in store.piece.patch.components:
                    assert now.setdefault((store.target.name, component), warp) == warp, "written by one warp"
        written |= {name for name, _ in now}
    assert {s.out.name for s in case.steps} - inlined(case.steps, case.kept).keys() <= written
    busy, most = sum(mean for _, mean in plan.costs), sum(most for most, _ in plan.costs)
    assert busy / most > (0.9 if n_warps <= 8 else 0.8)


@pytest.mark.parametrize("name", ["gradient", "parameter_gradient", "hessian_vector"])
def test_rows_that_live_at_the_same_time_do_not_overlap(standard: Programs, name: str) -> None:
    case = Case.of_program(getattr(standard, name))
    if case.gradients:
        case = Case(case.inputs, tuple(s for s in case.steps if s.out.space == "atom"), case.kept)
    plan = planned(case, 8)
    lives: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for number, warps in enumerate(plan.levels):
        for store in (store for tasks in warps for task in tasks for store in task.stores):
            assert store.target is not None
            assert store.piece.patch is not None
            last = store.piece.patch.components[-1] + 1
            sizes[store.target.name] = max(sizes.get(store.target.name, 0), last)
            for place in (*store.piece.places, store.target):
                lives.setdefault(place.name, []).append(number)
    held = {n: (lives[n][0], lives[n][-1], plan.first_rows[n], plan.first_rows[n] + sizes[n]) for n in sizes}
    for one in held:
        born, dies, first, stop = held[one]
        assert stop <= plan.rows
        for other, (b, d, f, s) in held.items():
            assert one == other or dies < b or d < born or stop <= f or s <= first, (one, other)


@pytest.mark.nvrtc
def test_a_small_kernel_spills_nothing(compiler: nvrtc.Compiler) -> None:
    """What the slow tests say of presets, whose kernels NVRTC compiles for 20 seconds."""
    architecture = Architecture(("Nb", "Mo", "Ta"), 5.0, 0.5, 3, (2, 2, 1), 2, 2, ("2x0e+1x1o+1x2e", "2x0e+1x1o"))
    stage = Case.of_program(programs(architecture).gradient).stage("float32")
    used = compiler.compile(sources.inline(stage.text, "atoms.cu"), "atoms.cu", 90).resources()["atoms"]
    assert used.registers <= 96
    assert (used.spilled, used.stack) == (0, 0)


class TestStandard:
    """The kernel that evaluates energies and forces of the standard preset."""

    @pytest.mark.nvrtc
    @pytest.mark.slow
    @pytest.mark.parametrize("architecture", [80, 90, 100])
    def test_registers_and_spills(self, compiler: nvrtc.Compiler, standard: Programs, architecture: int) -> None:
        stage = Case.of_program(standard.gradient).stage("float32")
        used = compiler.compile(sources.inline(stage.text, "atoms.cu"), "atoms.cu", architecture).resources()["atoms"]
        assert used.registers <= 128
        assert (used.spilled, used.stack) == (0, 0)

    @pytest.mark.nvrtc
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "dtype"), [("gradient", "float64"), ("parameter_gradient", "float32"), ("hessian_vector", "float32")]
    )
    def test_no_spills_elsewhere(
        self, compiler: nvrtc.Compiler, standard: Programs, name: str, dtype: str
    ) -> None:  # fmt: skip
        stage = Case.of_program(getattr(standard, name)).stage(dtype)
        used = compiler.compile(sources.inline(stage.text, "atoms.cu"), "atoms.cu", 90).resources()["atoms"]
        assert (used.spilled, used.stack) == (0, 0)

    def test_two_blocks_share_a_multiprocessor(self, standard: Programs) -> None:
        stage = Case.of_program(standard.gradient).stage("float32")
        assert stage.work_rows == 0
        assert stage.shared_bytes + 1024 <= 163 * 1024 // 2
        assert stage.balance > 0.9
