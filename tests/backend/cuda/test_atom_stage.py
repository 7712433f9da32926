"""Atom stages on the emulator, against NumPy: every operation in every slot, and the steps of whole potentials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from etn_gpu.backend.columns import column_layout
from etn_gpu.backend.cuda.device import Device
from etn_gpu.errors import BackendError
from etn_gpu.plan.operations import Constant, Copy, CopyBlock, Couple, CoupleBlock, EdgeSum, Mix, MixBlock
from etn_gpu.plan.program import Step, Term, Value, identity
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.programs import Programs, programs
from tests.backend.cuda.atom_tiles import Case, Slots, check, run_stage
from tests.emulator import EmulatedDevice, run_in_order

pytestmark = pytest.mark.emulator


def atom(name: str, size: int) -> Value:
    return Value(name, "atom", size)


def param(name: str, size: int) -> Value:
    return Value(name, "param", size)


#: a [2 x 1, 2 x 2], b [1, 3 x 2], z: outer products, sums over multiplicities, a block that overlaps another one
COUPLE = Couple(
    (16, 16, 40),
    (
        CoupleBlock((1, 2, 2), (0, 1, 0), (2, 3, 1), ((1, 0, 0), (0, 1, 0), (3, 1, 0)), 0.7),
        CoupleBlock((2, 2, 0), (6, 1, 30), (2, 3, 1), ((1, 0, 0), (0, 1, 0), (0, 1, 0))),
        CoupleBlock((2, 2, 1), (6, 1, 31), (2, 2, 2), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), -1.3),
        CoupleBlock((2, 0, 2), (6, 0, 0), (2, 1, 1), ((1, 0, 0), (0, 0, 0), (3, 0, 0))),
    ),
)
MIX = Mix((70, 30, 40), (MixBlock(3, 7, 4, 3, 5, 0, 2), MixBlock(31, 6, 6, 5, 2, 16, 25)))
TABLE = Mix((140, 30, 40), (MixBlock(0, 3, 4, 3, 5, 0, 2), MixBlock(12, 5, 3, 5, 3, 15, 22)), species_stride=40)
#: rows that do not fit into the registers of a routine at once
WIDE = Mix((24, 3 * 50, 8 * 50), (MixBlock(0, 3, 8, 3, 50, 0, 0),))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_couplings(device: Device, dtype: str) -> None:
    a, b, z = atom("a", 16), atom("b", 16), atom("z", 40)
    steps = (
        Step(atom("to_z", 40), (Term(COUPLE, 2, ("a", "b"), 0.5), Term(COUPLE, 2, ("b", "a")))),
        Step(atom("to_a", 16), (Term(COUPLE, 0, ("b", "z")), Term(COUPLE, 0, ("b", "to_z"), -2.0))),
        Step(atom("to_b", 16), (Term(COUPLE, 1, ("a", "z")),)),
    )
    check(device, Case((a, b, z), steps, frozenset({"to_z", "to_a", "to_b"})), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixings(device: Device, dtype: str) -> None:
    inputs = (param("w", 70), param("t", 140), param("u", 24), atom("x", 30), atom("z", 40), atom("wide", 150))
    steps = (
        Step(atom("to_z", 40), (Term(MIX, 2, ("w", "x"), 0.5), Term(TABLE, 2, ("t", "x")))),
        Step(atom("to_x", 30), (Term(MIX, 1, ("w", "to_z")), Term(TABLE, 1, ("t", "z"), -1.5))),
        Step(atom("wider", 400), (Term(WIDE, 2, ("u", "wide")),)),
        Step(atom("narrower", 150), (Term(WIDE, 1, ("u", "wider")),)),
    )
    check(device, Case(inputs, steps, frozenset({"to_z", "to_x", "narrower"})), dtype)


def test_copies_and_constants(device: Device) -> None:
    blocks = (
        CopyBlock((0, 3), (20, 1, 1), ((1, 0, 0), (1, 0, 0))),
        CopyBlock((1, 30), (2, 3, 1), ((6, 1, 0), (1, 2, 0))),
    )
    copy = Copy((24, 50), blocks)
    steps = (
        Step(atom("z", 50), (Term(copy, 1, ("x",), 2.0), Term(Constant(50, 1, 20, 0.3), 0, (), -2.0))),
        Step(atom("back", 24), (Term(copy, 0, ("z",)),)),
        Step(atom("nothing", 5), ()),
        Step(atom("only", 3), (Term(Constant(3, 1, 1, 1.0), 0, ()),)),
        Step(atom("again", 24), (identity(atom("again", 24), "back"),)),
    )
    kept = frozenset({"z", "back", "nothing", "only", "again"})
    check(device, Case((atom("x", 24),), steps, kept), "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_weights(device: Device, dtype: str) -> None:
    """Sums over the atoms of each group: of held values, of tables over species, and of values that are not held."""
    inputs = (param("w", 70), atom("x", 30), atom("z", 40), atom("wide", 150), atom("wider", 400))
    steps = (
        Step(atom("y", 40), (Term(MIX, 2, ("w", "x")),)),
        Step(param("w~", 70), (Term(MIX, 0, ("x", "z"), 0.5), Term(MIX, 0, ("x", "y"), 2.0))),
        Step(param("t~", 140), (Term(TABLE, 0, ("x", "z")),)),
        Step(param("u~", 24), (Term(WIDE, 0, ("wide", "wider")),)),
    )
    check(device, Case(inputs, steps, frozenset({"y"})), dtype, n_atoms=150, n_groups=3)


def small(name: str) -> Case:
    """The atom steps of a Program of an order-3 potential of three species."""
    bonds = ("2x0e+1x1o+1x2e", "2x0e+1x1o")
    return Case.of_program(
        getattr(programs(Architecture(("Nb", "Mo", "Ta"), 5.0, 0.5, 3, (2, 2, 1), 2, 2, bonds)), name)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forces_of_a_potential_of_fourth_order(
    device: Device, potential: Callable[[int], Programs], dtype: str
) -> None:  # fmt: skip
    check(device, Case.of_program(potential(3).gradient), dtype)


@pytest.mark.parametrize(
    ("name", "dtype"), [("energy", "float32"), ("parameter_gradient", "float32"), ("hessian_vector", "float64")]
)
def test_atom_steps_of_a_potential(device: Device, name: str, dtype: str) -> None:
    check(device, small(name), dtype)


def test_everything_held(device: Device) -> None:
    case = small("parameter_gradient")
    held = check(device, case, "float64", inline=False)
    assert held.rows > 1.5 * case.stage("float64").rows


def test_rows_in_device_memory(device: Device) -> None:
    case = small("gradient")
    stage = check(device, case, "float64", most_shared=1000)
    assert (stage.shared_bytes, stage.work_rows) == (0, stage.rows)
    assert case.stage("float64").work_rows == 0


def test_the_same_bits_in_any_order(emulated: EmulatedDevice) -> None:
    case = small("parameter_gradient")
    species = np.arange(70, dtype=np.int32) % 3
    slots, inputs = Slots.of(species), case.random_inputs(70)
    results = []
    for order in (0, 1, 5):
        run_in_order(emulated, order)
        results.append(run_stage(emulated, case.stage("float32"), case, inputs, slots, "float32"))
    for outputs, gradients in results[1:]:
        assert np.array_equal(gradients, results[0][1])
        assert all(np.array_equal(outputs[name], results[0][0][name]) for name in outputs)


def test_groups_without_tiles(device: Device) -> None:
    case = small("parameter_gradient")
    check(device, case, "float32", n_atoms=33, n_groups=4)
    slots = Slots.of(np.empty(0, np.int32), 2)
    outputs, gradients = run_stage(device, case.stage("float32"), case, case.random_inputs(0), slots, "float32")
    assert not gradients.any()
    assert {name: array.shape for name, array in outputs.items()} == {n: (0, case.values[n].size) for n in case.kept}


def test_gradients_are_added(device: Device) -> None:
    case = Case((atom("x", 30), atom("z", 40)), (Step(param("w", 70), (Term(MIX, 0, ("x", "z")),)),), frozenset())
    inputs, slots = case.random_inputs(5), Slots.of(np.zeros(5, np.int32))
    stage = case.stage("float64")
    _, once = run_stage(device, stage, case, inputs, slots, "float64")
    twice = Slots(np.tile(slots.atoms, 2), np.tile(slots.species, 2), np.array([0, 2], np.int64))
    _, both = run_stage(device, stage, case, inputs, twice, "float64")
    np.testing.assert_array_equal(both, 2 * once)
    assert once.shape == (1, column_layout(case.gradients)["w"][1])


def test_operations_of_other_spaces() -> None:
    step = Step(atom("S", 4), (Term(EdgeSum((2, 2, 4), (), 1), 2, ("f", "y")),))
    case = Case((Value("f", "edge", 2), Value("y", "edge", 2)), (step,), frozenset({"S"}))
    with pytest.raises(BackendError, match="does not know the operation 'edge_sum' between atom values"):
        case.stage("float32")
    with pytest.raises(BackendError, match=r"values \['T'\] are to be kept, but no step of atoms makes them"):
        Case((atom("x", 3),), (), frozenset({"T"})).stage("float32")
