"""Targets and quantities: what they are called, and the order of components inside and outside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from etn_gpu.errors import DataError
from etn_gpu.structures.targets import Quantity, Target
from etn_gpu.symmetry import Irreps

DIPOLE = Quantity("dipole", "1x1o", False, "e*A")
CHARGES = Quantity("charges", "1x0e", True, "")


def test_targets_have_names() -> None:
    assert Target.parse("dipole") == Target("dipole")
    assert Target.parse("atomic:charges", "q") == Target("charges", per_atom=True, key="q")
    assert [str(Target.parse(text)) for text in ("dipole", "atomic:x:y")] == ["dipole", "atomic:x:y"]


@pytest.mark.parametrize("text", ["energy", "", "Dipole", "atomic:", "atomic:positions", "atomic:Numbers", "dipole:mu"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(DataError, match=r"is no target: expected dipole, or atomic:NAME with the name of an array"):
        Target.parse(text)


def test_vectors_turn_as_the_harmonics_do() -> None:
    rng = np.random.default_rng(0)
    vectors, turn = rng.normal(size=(5, 3)), -Rotation.random(random_state=1).as_matrix()
    inside = DIPOLE.inside(vectors)
    np.testing.assert_array_equal(DIPOLE.cartesian(inside), vectors)
    np.testing.assert_allclose(DIPOLE.inside(vectors @ turn.T), inside @ Irreps("1x1o").wigner_d(turn).T, atol=1e-14)


def test_numbers_are_one_component() -> None:
    numbers = np.arange(4.0)
    assert CHARGES.inside(numbers).shape == (4, 1)
    np.testing.assert_array_equal(CHARGES.cartesian(CHARGES.inside(numbers)), numbers)


def test_quantities_in_words_and_as_json() -> None:
    assert str(DIPOLE) == "dipole (a vector for each structure, e*A)"
    assert str(CHARGES) == "charges (a number for each atom)"
    for quantity in (DIPOLE, CHARGES):
        assert Quantity.from_dict(quantity.to_dict()) == quantity


def test_units_that_are_not_known_do_not_disagree() -> None:
    assert CHARGES.agrees(Quantity("charges", "1x0e", True, "e"))
    assert not Quantity("charges", "1x0e", True, "e").agrees(Quantity("charges", "1x0e", True, "me"))
    assert not CHARGES.agrees(Quantity("charges", "1x1o", True, ""))
