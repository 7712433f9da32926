"""Named parameter arrays as one vector and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.potential import Architecture
from etn_gpu.training.vector import ParameterVector

SHAPES = st.dictionaries(
    st.text("abcXYZ", min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    min_size=1,
)


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_round_trip(shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    layout = ParameterVector(shapes)
    vector = np.random.default_rng(seed).normal(size=layout.size)
    arrays = layout.unpack(vector)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    np.testing.assert_array_equal(layout.pack(arrays), vector)
    assert list(arrays) == list(shapes)


@given(SHAPES, st.integers(1, 4))
def test_join_keeps_samples(shapes: dict[str, tuple[int, ...]], samples: int) -> None:
    """One sample included, whatever the shapes: a row for each."""
    layout = ParameterVector(shapes)
    vectors = np.random.default_rng(0).normal(size=(samples, layout.size))
    flat = {name: vectors[:, where] for name, where in layout.slices.items()}
    np.testing.assert_array_equal(layout.join(flat), vectors)


def test_unpacked_arrays_are_copies() -> None:
    layout = ParameterVector({"a": (2,)})
    vector = np.zeros(2)
    layout.unpack(vector)["a"][:] = 1.0
    assert not vector.any()


def test_size_is_that_of_the_architecture(architecture: Architecture) -> None:
    assert ParameterVector(architecture.parameter_shapes).size == architecture.n_parameters
