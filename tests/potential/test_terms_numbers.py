"""The numbers of the terms beside the network: those that are none, those that do nothing, and that they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etn_gpu.errors import NetworkError
from etn_gpu.potential import ETNPotential
from etn_gpu.potential.terms import Terms
from tests.potential.term_regions import NUMBERS, REGIONS, TERMS, assert_same_bits

MakePotential = Callable[..., ETNPotential]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repulsion": [[1.0, 2.0]]}, r"repulsion has shape \(1, 2\), expected \(2, 2, 2\) for 2 species"),
        ({"density": [[0, 0, 1, 2]]}, r"repulsion has shape \(2, 2, 2\), expected \(1, 1, 2\) for 1 species"),
        ({"density": np.zeros((0, 4))}, r"density has shape \(0, 4\), expected \(1, 4\) for 1 species"),
        ({"density": 3.0}, r"density has shape \(\), expected \(1, 4\)"),
        ({"embedding": [[np.nan, 1, 1, 0], [0, 1, 1, 0]]}, "embedding holds NaN or infinite values"),
        (
            {"embedding": [[0, 1, 1, 0], [0, -1, 1, 0]]},
            r"a cohesive energy above 0, .*; got \[0.0, -1.0, 1.0, 0.0\] for .* \[1\]",
        ),
        (
            {"embedding": [[0, 1, 0, 0], [0, 1, 1, 0]]},
            r"a density above 0 .*; got \[0.0, 1.0, 0.0, 0.0\] for species \[0\]",
        ),
        ({"embedding": [[0, 1, 1, -1], [0, 1, 1, 0]]}, r"a stiffness from 0 on .* for species \[0\]"),
        ({"density": [[0.5, 0.5, 1, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d .* or a = b = 0"),
        ({"density": [[0.5, 0.0, 1, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d .*; got \[0.5, 0.0, 1.0, 2.0\]"),
        ({"density": [[0, 0, 2, 2], [0, 0, 1, 2]]}, r"0 <= a < b < c < d"),
        ({"density": [[-1, 0.5, 2, 3], [0, 0, 1, 2]]}, r"0 <= a < b < c < d"),
        ({"bounds": [[0, 1, 1, 2], [0, 1, 2, 3]]}, r"floor < low < high < ceiling in eV .* for species \[0\]"),
        ({"distances": np.full((2, 2, 2), 1.0)}, r"0 <= inner < outer in A .* distances, or twice 0 for none"),
        ({"repulsion": np.full((2, 2, 2), -1.0)}, r"0 <= inner < outer in A .* repulsion"),
        (
            {"distances": [[[1, 2], [1, 2]], [[1, 2.5], [1, 2]]]},
            r"the terms' distances to be symmetric in the species; got \[1.0, 2.0\] for species \[0, 1\]",
        ),
    ],
)
def test_numbers_that_are_no_terms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Terms(**{**NUMBERS, **changes})


def test_terms_that_do_not_fit_the_potential(make_potential: MakePotential) -> None:
    with pytest.raises(NetworkError, match=r"the terms are for 2 species, the potential is for \('Al',\)"):
        make_potential(1).with_terms(TERMS)
    far = Terms(**{**NUMBERS, "distances": np.broadcast_to([1.0, 4.6], (2, 2, 2))})
    with pytest.raises(NetworkError, match=r"distances reach to 4.6 A, expected at most the cutoff .* 4.5 A"):
        make_potential(2).with_terms(far)
    with pytest.raises(NetworkError, match="terms are of energies; this potential has the covariant output 1x1o"):
        make_potential(2, target="1x1o").with_terms(TERMS)


def test_terms_are_copied_and_read_only() -> None:
    numbers = {name: np.array(values) for name, values in NUMBERS.items()}
    terms = Terms(**numbers)
    for array in numbers.values():
        array += 1.0
    assert terms == TERMS
    assert terms != Terms(**{**NUMBERS, "embedding": [[0, 1, 1, 0], [0, 1, 1, 0]]})
    with pytest.raises(ValueError, match="read-only"):
        terms.density[0, 0] = 1.0


def test_pairs_and_limits_that_are_none(backend: str, plain: ETNPotential) -> None:
    """Without radii and limits nothing is added, whatever the structure."""
    none, sites = np.zeros((2, 2, 2)), np.ones((2, 1))
    nothing = Terms(
        none, sites * [0.0, 0.0, 1e6, 2e6], none, sites * [0.0, 1.0, 1.0, 0.0], sites * [-2e6, -1e6, 1e6, 2e6]
    )
    many = list(REGIONS.values())
    results = zip(*(p.evaluate(many, backend=backend) for p in (plain, plain.with_terms(nothing))), strict=True)
    for before, after in results:
        assert_same_bits(after, before)
