"""Trains: bonds that carry something, cores, and ranks that allow no path."""

from __future__ import annotations

import pytest

from etn_gpu.errors import NetworkError
from etn_gpu.network import Train
from etn_gpu.symmetry import Irreps

FEATURE = Irreps("3x0e+2x1o+1x2e")


def train(feature: str, bonds: tuple[str, ...], target: str = "1x0e") -> Train:
    return Train(Irreps(feature), tuple(Irreps(b) for b in bonds), Irreps(target))


def test_cores_form_a_chain() -> None:
    network = train("3x0e+2x1o", ("2x0e+1x1o", "1x0e+2x1o"))
    assert network.order == 3
    legs = [(str(c.left), str(c.feature), str(c.out)) for c in network.cores]
    assert legs == [
        ("1x0e", "3x0e+2x1o", "2x0e+1x1o"),
        ("2x0e+1x1o", "3x0e+2x1o", "1x0e+2x1o"),
        ("1x0e+2x1o", "3x0e+2x1o", "1x0e"),
    ]
    assert [c.name for c in network.cores] == ["G1", "G2", "G3"]
    assert network.cores[0].size == 2 * 3 + 1 * 2
    assert network.cores[2].size == 1 * 3 + 2 * 2


@pytest.mark.parametrize(
    ("bonds", "target", "expected"),
    [
        (("2x0e+1x1e+1x1o",), "1x0e", ("2x0e+1x1o",)),  # one feature is never 1e
        (("2x0e+1x3o",), "1x0e", ("2x0e",)),  # nor 3o
        (("2x0e+4x2e", "1x1o"), "1x0e", ("2x0e+4x2e", "1x1o")),
        (("1x1o+2x1o",), "1x0e", ("3x1o",)),  # blocks of one irrep are merged
        (("1x2e+1x0e",), "1x0e", ("1x0e+1x2e",)),  # and sorted
        (("4x0e+0x1o",), "1x0e", ("4x0e",)),
        (("2x0e+2x1o", "2x0o+3x1e"), "1x1e", ("2x1o", "3x1e")),  # nothing leads to 0o, and from 0e to 1e
    ],
)
def test_sectors_without_a_path_are_cut(bonds: tuple[str, ...], target: str, expected: tuple[str, ...]) -> None:
    found = train(str(FEATURE), bonds, target).reachable_bonds
    assert tuple(map(str, found)) == tuple(str(Irreps(b).sort().simplify()) for b in expected)


def test_a_bond_is_cut_from_both_ends() -> None:
    """2e is reached from two features; two more bring it back to a scalar, one more does not."""
    longer = train("2x0e+2x1o", ("2x0e+2x1o", "2x0e+2x2e", "1x0e+1x1o"))
    assert longer.reachable_bonds[1] == Irreps("2x0e+2x2e")
    shorter = train("2x0e+2x1o", ("2x0e+2x1o", "2x0e+2x2e"))
    assert shorter.reachable_bonds[1] == Irreps("2x0e")


def test_order_below_two() -> None:
    with pytest.raises(NetworkError, match="a train needs order d >= 2, that is at least one bond; got no bonds"):
        train("1x0e", ())


@pytest.mark.parametrize("target", ["0x0e", ""])
def test_a_target_of_nothing(target: str) -> None:
    with pytest.raises(NetworkError, match="the target must have at least one irrep such as 1x0e or 1x1o, got"):
        train("1x0e+1x1o", ("1x0e+1x1o",), target)


def test_a_target_of_several_irreps_needs_a_way_to_each() -> None:
    several = train("1x0e+1x1o", ("1x0e+1x1o",), "3x0e+2x1o")
    assert several.cores[-1].out == Irreps("3x0e+2x1o")
    with pytest.raises(NetworkError, match=r"no path leads to 2e of the target 1x0e\+1x2e: the last bond, 2x0e"):
        train("1x0e+1x1o", ("2x0e",), "1x0e+1x2e")


@pytest.mark.parametrize(
    ("feature", "bonds", "target", "where"),
    [
        ("3x0e+2x1o", ("2x2e",), "1x0e", r"bond 1 \(2x2e\)"),
        ("3x0e+2x1o", ("0x0e",), "1x0e", r"bond 1 \(0x0e\)"),
        ("3x0e+2x1o", ("2x0e", "2x1e"), "1x0e", r"bond 1 \(2x0e\), bond 2 \(2x1e\)"),
        ("3x0e", ("2x0e",), "1x1o", r"bond 1 \(2x0e\)"),
        ("3x0e+2x1o", ("2x0e",), "1x1e", r"bond 1 \(2x0e\)"),
        ("3x0e+2x1o", ("2x0e+1x1o",), "1x0o", r"bond 1 \(2x0e\+1x1o\)"),
        ("", ("2x0e",), "1x0e", r"bond 1 \(2x0e\)"),
    ],
)
def test_ranks_that_allow_no_path(feature: str, bonds: tuple[str, ...], target: str, where: str) -> None:
    message = rf"no path from 1x0e through the feature leg .* to {target}: nothing passes {where}\. Give every bond"
    with pytest.raises(NetworkError, match=message):
        train(feature, bonds, target)


def test_a_feature_leg_that_names_an_irrep_twice() -> None:
    with pytest.raises(NetworkError, match=r"the leg 1x0e\+1x1o\+1x0e names an irrep twice"):
        train("1x0e+1x1o+1x0e", ("1x0e",))


def test_trains_are_values() -> None:
    assert train("1x0e", ("1x0e",)) == train("1x0e", ("1x0e",))
    assert hash(train("1x0e", ("1x0e",))) == hash(train("1x0e", ("1x0e",)))
