"""Irrep and Irreps: parsing, printing, sums, sorting, simplification, and what they refuse."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import IrrepsError
from etn_gpu.symmetry import Irrep, Irreps, MulIrrep

irrep_strategy = st.builds(Irrep, st.integers(0, 8), st.sampled_from([1, -1]))
irreps_strategy = st.lists(st.tuples(st.integers(0, 12), irrep_strategy), max_size=6).map(Irreps)


def multiplicities(irreps: Irreps) -> Counter[Irrep]:
    counts: Counter[Irrep] = Counter()
    for mul, ir in irreps:
        counts[ir] += mul
    return +counts


# --- one irrep


@given(irrep_strategy)
def test_irrep_survives_printing_and_copying(ir: Irrep) -> None:
    assert Irrep.parse(str(ir)) == ir
    assert Irrep.parse(ir) is ir
    assert eval(repr(ir)) == ir
    assert pickle.loads(pickle.dumps(ir)) == ir
    assert hash(copy.deepcopy(ir)) == hash(ir)


def test_irrep_attributes() -> None:
    vector = Irrep.parse(" 1o ")
    assert (vector.l, vector.p, vector.dim, str(vector)) == (1, -1, 3, "1o")
    assert str(Irrep(2, 1)) == "2e"
    assert type(Irrep(np.int64(2), np.float64(-1.0)).p) is int  # type: ignore[arg-type]


def test_irreps_of_degree_and_parity_are_ordered() -> None:
    shuffled = [Irrep.parse(text) for text in ("2o", "0e", "1e", "0o", "2e", "1o")]
    assert [str(ir) for ir in sorted(shuffled)] == ["0o", "0e", "1o", "1e", "2o", "2e"]


@given(irrep_strategy, irrep_strategy)
def test_product_of_two_irreps_has_the_right_dimension_and_parity(first: Irrep, second: Irrep) -> None:
    product = list(first * second)
    assert sum(ir.dim for ir in product) == first.dim * second.dim
    assert {ir.p for ir in product} == {first.p * second.p}
    assert product == sorted(set(product))
    assert product == list(second * first)


def test_irrep_is_immutable_and_multiplies_only_irreps() -> None:
    ir = Irrep(1, -1)
    with pytest.raises(AttributeError):
        ir.l = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        ir * "1o"  # type: ignore[operator]


@pytest.mark.parametrize("text", ["", "1", "o1", "1x", "-1o", "1.0e", "1O", "²e", "1o 2e", "1000000000e", None, 1])
def test_unreadable_irrep(text: object) -> None:
    with pytest.raises(IrrepsError, match=r"as an irrep: expected a degree and a parity e or o"):
        Irrep.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("l", [-1, 1.0, "1", None])
def test_bad_degree(l: object) -> None:
    with pytest.raises(IrrepsError, match=r"the degree l of an irrep must be an integer >= 0, got"):
        Irrep(l, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("p", [0, 2, "e", None])
def test_bad_parity(p: object) -> None:
    with pytest.raises(IrrepsError, match=r"parity p of an irrep must be \+1 \(even\) or -1 \(odd\), got"):
        Irrep(1, p)  # type: ignore[arg-type]


# --- direct sums


@given(irreps_strategy)
def test_irreps_survive_printing_and_copying(irreps: Irreps) -> None:
    for copied in (
        Irreps(str(irreps)),
        Irreps(str(irreps).replace("+", " + ").replace("x", " x ")),
        Irreps(irreps),
        Irreps([(mul, str(ir)) for mul, ir in irreps]),
        eval(repr(irreps)),
        pickle.loads(pickle.dumps(irreps)),
        copy.deepcopy(irreps),
    ):
        assert copied == irreps
        assert hash(copied) == hash(irreps)
        assert str(copied) == str(irreps)


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("8x0e+6x1o", "8x0e+6x1o"),
        ("  1o +2x2e", "1x1o+2x2e"),
        ("0x3o+1e+1e", "0x3o+1x1e+1x1e"),
        ("", ""),
        ((), ""),
        (Irrep(1, -1), "1x1o"),
        ([(2, Irrep(0, 1)), [np.int32(3), "1o"]], "2x0e+3x1o"),
    ],
)
def test_irreps_are_read_from(given: str, printed: str) -> None:
    assert str(Irreps(given)) == printed


@given(irreps_strategy)
def test_slices_cover_the_leg_block_by_block(irreps: Irreps) -> None:
    slices = irreps.slices()
    assert len(slices) == len(irreps)
    components = np.arange(irreps.dim)
    assert [c for where in slices for c in components[where]] == list(range(irreps.dim))
    for block, where in zip(irreps, slices, strict=True):
        assert where.stop - where.start == block.dim == block.mul * (2 * block.ir.l + 1)


@given(irreps_strategy)
def test_counting(irreps: Irreps) -> None:
    counts = multiplicities(irreps)
    assert irreps.num_irreps == counts.total()
    assert irreps.dim == sum(mul * ir.dim for ir, mul in counts.items())
    for ir in [*counts, Irrep(9, 1)]:
        assert irreps.count(ir) == irreps.count(str(ir)) == counts[ir]
        assert (ir in irreps) == (str(ir) in irreps) == (counts[ir] > 0)
    if counts:
        assert irreps.lmax == max(ir.l for ir in counts)


@given(irreps_strategy, irreps_strategy, irreps_strategy)
def test_direct_sum(first: Irreps, second: Irreps, third: Irreps) -> None:
    total = first + second
    assert list(total) == [*first, *second]
    assert total.dim == first.dim + second.dim
    assert total == first + str(second) == str(first) + second
    assert (first + second) + third == first + (second + third)
    assert first + "" == "" + first == first


@given(irreps_strategy)
def test_sort_permutes_blocks_into_order(irreps: Irreps) -> None:
    ordered = irreps.sort()
    assert Counter(ordered) == Counter(irreps)
    assert [ir for _, ir in ordered] == sorted(ir for _, ir in irreps)
    assert ordered.sort() == ordered


def test_sort_is_stable() -> None:
    assert Irreps("3x1o+1x0e+2x1o").sort() == Irreps("1x0e+3x1o+2x1o")


@given(irreps_strategy)
def test_simplify_merges_neighbours_and_moves_nothing(irreps: Irreps) -> None:
    simple = irreps.simplify()
    assert [ir for mul, ir in simple for _ in range(mul)] == [ir for mul, ir in irreps for _ in range(mul)]
    assert all(mul > 0 for mul, _ in simple)
    assert all(a.ir != b.ir for a, b in itertools.pairwise(simple))
    assert simple.simplify() == simple


@given(irreps_strategy)
def test_sort_and_simplify_give_one_block_per_irrep(irreps: Irreps) -> None:
    assert dict((ir, mul) for mul, ir in irreps.sort().simplify()) == multiplicities(irreps)


def test_irreps_are_a_sequence_of_named_blocks() -> None:
    irreps = Irreps("8x0e+6x1o+4x2e")
    assert irreps[1] == MulIrrep(mul=6, ir=Irrep(1, -1))
    assert (irreps[1].mul, irreps[1].ir, irreps[1].dim, str(irreps[1])) == (6, Irrep(1, -1), 18, "6x1o")
    assert irreps[-2:] == Irreps("6x1o+4x2e")
    assert [block.mul for block in irreps] == [8, 6, 4]
    with pytest.raises(AttributeError):
        irreps.dim = 3  # type: ignore[misc]


def test_equality_means_the_same_blocks() -> None:
    assert Irreps("1o+1o") != Irreps("2x1o")
    assert Irreps("2x1o") != Irreps("2x1e")
    assert Irreps("1o") != "1o"
    assert len({Irreps("1o+0e"), Irreps("1x1o + 1x0e"), Irreps("0e+1o")}) == 2


def test_irreps_of_harmonics() -> None:
    assert Irreps.spherical_harmonics(3) == Irreps("0e+1o+2e+3o")
    with pytest.raises(IrrepsError, match=r"lmax must be an integer >= 0, got -1"):
        Irreps.spherical_harmonics(-1)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("8x", "8x"),
        ("1o++2e", ""),
        ("+1o", ""),
        ("1e+-1x1o", "-1x1o"),
        ("2*1o", "2*1o"),
        ("1o 2e", "1o 2e"),
        ("x1o", "x1o"),
    ],
)
def test_unreadable_irreps_name_the_term_and_the_whole(text: str, term: str) -> None:
    with pytest.raises(IrrepsError) as error:
        Irreps(text)
    assert f"cannot read {term!r} in the irreps {text!r}: expected terms such as 8x0e or 1o" in str(error.value)


@given(st.text(alphabet="0123456789xeo+ -", max_size=12))
def test_any_text_is_read_or_refused_with_our_error(text: str) -> None:
    try:
        irreps = Irreps(text)
    except IrrepsError:
        return
    assert Irreps(str(irreps)) == irreps


def test_unreadable_pairs() -> None:
    with pytest.raises(IrrepsError, match=r"the multiplicity in \(-1, '1o'\) must be an integer >= 0, got -1"):
        Irreps([(-1, "1o")])
    with pytest.raises(IrrepsError, match=r"the multiplicity in \('1o', 2\) must be an integer >= 0, got '1o'"):
        Irreps([("1o", 2)])  # type: ignore[list-item]
    with pytest.raises(IrrepsError, match=r"cannot make a block of irreps of '1o': expected"):
        Irreps(["1o"])  # type: ignore[list-item]
    with pytest.raises(IrrepsError, match=r"cannot make irreps of 3: expected a string such as '8x0e\+6x1o' or pairs"):
        Irreps(3)  # type: ignore[arg-type]
    with pytest.raises(IrrepsError, match=r"cannot read '1x1o' as an irrep"):
        Irreps([(1, "1x1o")])


def test_nothing_has_no_largest_degree() -> None:
    with pytest.raises(IrrepsError, match=r"Irreps\('0x2e'\) has no irrep, hence no largest degree"):
        _ = Irreps("0x2e").lmax


def test_irreps_add_only_irreps() -> None:
    with pytest.raises(TypeError):
        Irreps("1o") + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        1 + Irreps("1o")  # type: ignore[operator]
