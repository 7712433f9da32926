"""The models that come with the package: what their files tell, and that the errors they claim are theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import etn_gpu
from etn_gpu.potential.file import shipped_models
from etn_gpu.potential.metrics import Metrics
from etn_gpu.structures import read_labelled

#: Species and training file of each.
SHIPPED = {
    "mo": (("Mo",), "zuo2020_Mo"),
    "nbmotaw": (("Nb", "Mo", "Ta", "W"), "nbmotaw"),
    "si": (("Si",), "zuo2020_Si"),
}
every = pytest.mark.parametrize("name", list(SHIPPED))


def test_all_are_listed() -> None:
    assert sorted(shipped_models()) == list(SHIPPED)


@every
def test_file_tells_data_licence_and_citation(name: str) -> None:
    model = etn_gpu.load(name)
    assert set(model.species) == set(SHIPPED[name][0])
    assert model.metadata["name"] == name
    assert "BSD-3-Clause" in model.metadata["licence"]
    assert any("doi 10." in text for text in model.metadata["citation"])
    assert "github.com/" in model.metadata["training_data_origin"]
    assert model.metadata["training_data"]["structures"] > 100
    assert str(Path("/")) not in str(model.metadata["training"]["options"])  # no path of the machine that trained it


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float64") for name in SHIPPED),
        ("nbmotaw", "float32"),
        # what takes five seconds to compile each, and nothing but its numbers differs
        *(pytest.param(name, "float32", marks=pytest.mark.slow) for name in ("mo", "si")),
    ],
)
def test_crystal_and_its_forces(name: str, dtype: str) -> None:
    """The crystal of the first species is bound, and has no forces; rattled it is higher in energy."""
    model = etn_gpu.load(name)
    symbol = SHIPPED[name][0][0]
    crystal = bulk(symbol, cubic=True) * (2, 2, 2)
    rattled = crystal.copy()
    rattled.rattle(0.05, seed=1)
    perfect, moved = model.evaluate([crystal, rattled], dtype=dtype)
    assert np.abs(perfect["forces"]).max() < 1e-4
    assert perfect["energy"] < moved["energy"]
    assert perfect["energy"] / len(crystal) < -3.0
    assert 0.1 < np.abs(moved["forces"]).max() < 10.0


@every
def test_errors_are_those_that_the_file_tells(name: str, data_dir: Path) -> None:
    """On a part of the training file; the reported ones are averages over all of it."""
    model = etn_gpu.load(name)
    labels = read_labelled(data_dir / SHIPPED[name][1] / "train.extxyz.gz")
    chosen = np.random.default_rng(0).permutation(len(labels))[:100]
    metrics = Metrics()
    for i, result in zip(chosen, model.evaluate([labels.atoms[i] for i in chosen]), strict=True):
        metrics.add(result, **labels.of(i))
    told = model.metadata["errors"]["train"]
    assert metrics.forces.mae == pytest.approx(told["forces_mae"], rel=0.3)
    assert metrics.energy.mae == pytest.approx(told["energy_mae"], rel=0.5)
