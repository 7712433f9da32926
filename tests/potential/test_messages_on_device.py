"""Potentials with message passing on a device: evaluations from positions on, relaxations, the check before both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.backend.cuda import sources
from etn_gpu.errors import BackendError
from etn_gpu.network import MessageLayer
from etn_gpu.potential import ETNPotential, on_device
from etn_gpu.potential.on_device import evaluate_each_on_device
from etn_gpu.potential.selfcheck import check_grade, check_terms
from etn_gpu.relaxation.device import DeviceFlight
from etn_gpu.relaxation.flight import CpuFlight, Flight
from etn_gpu.relaxation.held import Held
from etn_gpu.relaxation.options import Options
from etn_gpu.structures.admission import admit
from tests.emulator import EmulatedDevice, require_compiler

pytestmark = pytest.mark.emulator

MakePotential = Callable[..., ETNPotential]
TOLERANCES = {"float64": 1e-10, "float32": 2e-5}


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    require_compiler()
    return EmulatedDevice()


@pytest.fixture(scope="module")
def layered(make_potential: MakePotential) -> ETNPotential:
    """A potential that is small, for the emulator takes long to compile, with a layer that has attention."""
    layer = MessageLayer("1x0e+1x1o", ("1x0e+1x1o",), 1, 2, attention=1)
    return make_potential(2, channels=(2, 1), n_radial=3, bonds=("1x0e+1x1o",), layers=(layer,))


@pytest.fixture
def many(make_structures: Callable[[int], dict[str, Atoms]]) -> list[Atoms]:
    """Structures of every kind, a few of them."""
    structures = make_structures(2)
    return [structures[name] for name in ("slab", "tiny skewed", "isolated atom", "dimer and a far atom")]


def evaluate(model: ETNPotential, many: list[Atoms], device: EmulatedDevice, **changes: Any) -> list[Any]:
    options: dict[str, Any] = {"forces": True, "stress": True, "dtype": "float64", **changes}
    return evaluate_each_on_device(model, many, device=device, **options)


def assert_same(found: list[Any], expected: list[Any], relative: float) -> None:
    for result, wanted in zip(found, expected, strict=True):
        assert result.keys() == wanted.keys()
        for name, values in wanted.items():
            atol = relative * max(1.0, np.abs(values).max())
            np.testing.assert_allclose(result[name], values, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(("dtype", "with_terms"), [("float64", False), ("float32", True)])
def test_results_are_those_of_the_host(
    layered: ETNPotential, many: list[Atoms], device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch, dtype: str,
    with_terms: bool,
) -> None:  # fmt: skip
    """With terms beside the network and without them; in parts, with no other bits."""
    model = layered.with_terms(check_terms(2, layered.cutoff)) if with_terms else layered
    whole = evaluate(model, many, device, dtype=dtype)
    assert_same(whole, model.evaluate(many, backend="numpy"), TOLERANCES[dtype])
    monkeypatch.setattr(on_device, "PART_ATOMS", 5)
    assert_same(evaluate(model, many, device, dtype=dtype), whole, 0.0)


def test_energies_alone(layered: ETNPotential, many: list[Atoms], device: EmulatedDevice) -> None:
    found = evaluate(layered, many, device, forces=False, stress=False)
    assert_same(found, layered.evaluate(many, backend="numpy", forces=False, stress=False), 1e-10)


@pytest.mark.slow
def test_grades(layered: ETNPotential, many: list[Atoms], device: EmulatedDevice) -> None:
    model = layered.with_grade(check_grade(layered.architecture))
    expected = model.evaluate(many, backend="numpy", grade=True)
    assert_same(evaluate(model, many, device, grade=True), expected, 1e-8)


def test_sums_over_other_edges_are_noticed(layered: ETNPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first evaluation is compared with NumPy before results are given."""
    read, right = sources.read, "values[neighbour[first + edge] * size"
    assert right in read("exchanges.cu")
    monkeypatch.setattr(sources, "read", lambda name: read(name).replace(right, "values[neighbour[first] * size"))
    with pytest.raises(BackendError, match="the cuda backend does not agree with numpy for this model"):
        evaluate(layered, [bulk("Al")], EmulatedDevice())


def test_a_relaxation(layered: ETNPotential, device: EmulatedDevice) -> None:
    options = Options(cell="full")
    flights: list[Flight] = [
        DeviceFlight(layered, options, "float64", device),
        CpuFlight(layered, options, "numpy", "float64", 1, 10**7),
    ]
    structures = [bulk("Al", "bcc", a=3.2, cubic=True), bulk("Ni", "fcc", a=4.0)]
    structures[0].positions[1] += 0.1
    for flight in flights:
        flight.enter(admit(structures, layered.species, layered.cutoff), [Held.of(atoms) for atoms in structures])
    for _ in range(2):
        found, expected = (flight.measure() for flight in flights)
        for name in ("energies", "pressures", "atoms", "cell"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-8)
        for flight in flights:
            flight.step()
