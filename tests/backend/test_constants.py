"""Frozen arrays: nothing writes to them, and what is kept for one is found without reading it; for others it is not."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from etn_gpu.backend.constants import content, frozen
from etn_gpu.backend.cpu.lowering import lower
from etn_gpu.backend.parameters import fold
from etn_gpu.potential import Architecture, ETNPotential
from etn_gpu.potential.programs import programs

ARCHITECTURE = Architecture(("Mo", "W"), 4.0, 1.0, 3, (2, 1), 2, 1, ("2x0e+1x1o",))


def potential(seed: int) -> ETNPotential:
    rng = np.random.default_rng(seed)
    return ETNPotential(ARCHITECTURE, {k: rng.normal(size=v) for k, v in ARCHITECTURE.parameter_shapes.items()})


def test_nothing_writes_to_a_frozen_array() -> None:
    source = np.arange(6).reshape(2, 3)
    array = frozen(source)
    source[0, 0] = 9
    assert array.dtype == np.float64
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    for view in (array, array.ravel(), array[:, 1:]):
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            view.flags.writeable = True


def test_the_content_of_a_frozen_array_is_one_object() -> None:
    array = frozen(np.arange(6.0).reshape(2, 3))
    assert content(array) is content(array.ravel()) is content(array.reshape(3, 2))
    # parts, and what is in another order, are read
    assert content(array[1]) == np.array([3.0, 4.0, 5.0]).tobytes()
    assert content(array.T) == array.T.tobytes() != content(array)
    assert content(array.astype(np.float32)) == content(array)
    assert content(frozen(np.zeros((0, 3)))) == b""
    assert content(frozen(3.0)) == np.float64(3.0).tobytes()


def test_parameters_that_change_are_folded_again() -> None:
    program, columns = programs(ARCHITECTURE).energy, lower(programs(ARCHITECTURE).energy, np.dtype("f8")).parameters
    given = {name: np.array(values).ravel() for name, values in potential(0).parameters.items()}
    before = fold(program, columns, given, "float64")
    assert fold(program, columns, given, "float64") is before
    given["W"][0] += 1.0
    after = fold(program, columns, given, "float64")
    assert not np.array_equal(before, after)
    fixed = {name: frozen(values) for name, values in given.items()}
    assert fold(program, columns, fixed, "float64") is after


def test_parameters_of_copies_are_frozen_as_well() -> None:
    model = potential(1)
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for name, values in other.parameters.items():
            assert np.array_equal(values, model.parameters[name])
            assert isinstance(values.base, bytes)
