"""The terms beside the network where atoms collapse."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from etn_gpu.potential import ETNPotential
from etn_gpu.structures import StructureBatch
from tests.potential.term_regions import CUTOFF, SPECIES, TERMS, assert_same_bits, crystal, dimer, sites_of


@pytest.fixture(scope="module")
def potential(plain: ETNPotential) -> ETNPotential:
    return plain.with_terms(TERMS)


@pytest.mark.parametrize("symbols", ["Al2", "AlNi", "Ni2"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_pair_is_repelled_down_to_nothing(backend: str, dtype: str, symbols: str, potential: ETNPotential) -> None:
    pairs = [dimer(symbols, r) for r in (0.8, 0.5, 0.3, 0.1, 0.002)]
    results = potential.evaluate(pairs, backend=backend, dtype=dtype)
    energies = [result["energy"] for result in results]
    assert energies == sorted(energies)
    assert 1e3 < energies[2] < energies[-1] < inf
    assert all(result["forces"][1] @ [0.6, 0, 0.8] > 100 for result in results)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_without_weight_may_overflow(backend: str, dtype: str, plain: ETNPotential) -> None:
    """Densely packed, sums over neighbours are large and their products beyond every limit: they do not count."""
    huge = {"float64": 1e200, "float32": 1e30}[dtype]
    parameters = {k: v * huge if k[0] in "AB" else v for k, v in plain.parameters.items()}
    both = [ETNPotential(plain.architecture, p, terms=TERMS) for p in (plain.parameters, parameters)]
    atoms = crystal(2.2, 0.02)
    assert not sites_of(atoms)[:, 0].any()
    with np.errstate(all="ignore"):
        network = (
            both[1]
            .with_terms(None)
            .evaluate_batch(StructureBatch.build([atoms], SPECIES, CUTOFF), backend=backend, dtype=dtype)
        )
        assert not np.isfinite(network.energies).any()
        expected, found = (p.evaluate(atoms, backend=backend, dtype=dtype)[0] for p in both)
    assert_same_bits(found, expected)
