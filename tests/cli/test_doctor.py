"""`etn-gpu doctor` and `etn-gpu plan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import etn_gpu.backend
from etn_gpu.potential import Architecture, BatchResult, ETNPotential
from etn_gpu.potential.selfcheck import check_structures, largest_difference
from etn_gpu.structures import StructureBatch

Run = Callable[..., Any]


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two backends that can run here and one that cannot."""
    reasons = {"numpy": None, "numba": None, "cuda": "cupy is not installed"}
    monkeypatch.setattr(etn_gpu.backend, "available", lambda: reasons, raising=False)


def test_healthy_installation(run: Run, stand_in: Any, backends: None) -> None:
    finished = run("doctor")
    assert finished.code == 0, finished.out
    for word in ("python", "numpy", "ase", "not installed (optional)", "cores this process may use", "CUDA device"):
        assert word in finished.out
    lines = [line.split() for line in finished.out.splitlines() if line.startswith(("numpy  ", "numba  ", "cuda  "))]
    assert [line for line in lines if line[-1] == "ok"] == [
        ["numpy", "float64", "0.0e+00", "ok"],
        ["numpy", "float32", "0.0e+00", "ok"],
        ["numba", "float64", "0.0e+00", "ok"],
        ["numba", "float32", "0.0e+00", "ok"],
    ]
    assert "not available: cupy is not installed" in finished.out


@pytest.mark.parametrize("broken", ["energies", "forces", "stress", "nan", "raises"])
def test_backend_that_disagrees(
    run: Run, stand_in: Any, backends: None, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    evaluate = stand_in.evaluate_batch

    def disagree(batch: StructureBatch, *, backend: str, dtype: str) -> BatchResult:
        result: BatchResult = evaluate(batch, backend=backend, dtype=dtype)
        if backend == "numba" and dtype == "float32":
            if broken == "raises":
                raise RuntimeError("kernel [1] failed")
            if broken == "nan":
                assert result.forces is not None
                result.forces[3, 1] = np.nan
            else:
                getattr(result, broken)[0] *= 1.01
        return result

    monkeypatch.setattr(stand_in, "evaluate_batch", disagree)
    finished = run("doctor")
    assert finished.code == 1
    assert finished.out.count("FAILED") == 1
    assert ("RuntimeError: kernel [1] failed" if broken == "raises" else "2e-05 is allowed") in finished.out


def test_difference_is_relative(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = stand_in.evaluate_batch

    def scaled(batch: StructureBatch, *, backend: str, dtype: str) -> BatchResult:
        result: BatchResult = evaluate(batch, backend=backend, dtype=dtype)
        if backend == "other":
            assert result.forces is not None
            np.multiply(result.forces, 1.0 + 1e-6, out=result.forces)
        return result

    monkeypatch.setattr(stand_in, "evaluate_batch", scaled)
    difference = largest_difference(stand_in, lambda _, many: stand_in.evaluate(many, backend="other", dtype="float64"))
    assert difference == pytest.approx(1e-6, rel=1e-3)


def test_check_structures_cover_every_periodicity_and_species() -> None:
    structures = check_structures(("C", "H", "O"), 6.0)
    assert sorted(int(atoms.pbc.sum()) for atoms in structures) == [0, 2, 3]
    for atoms in structures:
        assert set(atoms.get_chemical_symbols()) == {"C", "H", "O"}
        distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
        assert 2.0 < distances.min() < 3.3


def test_plan_prints_the_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = Architecture(("Mo", "Nb", "Ta", "W"), 5.0, 1.0, 2, (2, 1), 1, 1, ("2x0e+1x1o", "2x0e"))
    parameters = {name: np.ones(shape) for name, shape in architecture.parameter_shapes.items()}
    told = {"licence": "MIT [data]", "citation": ["A, 2023", "B, 2024"], "training_data": {"atoms": 5}}
    model = ETNPotential(architecture, parameters, metadata=told)
    monkeypatch.setattr(model, "plan_report", lambda: "step 1: [atom, l] -> [x]\n400 flops per atom")
    monkeypatch.setattr(etn_gpu, "load", lambda name, **options: model, raising=False)
    finished = run("plan", "nbmotaw")
    assert finished.code == 0
    assert finished.out.splitlines() == [
        "nbmotaw: Mo Nb Ta W, cutoff 5 A",
        "energy                network",
        "bonds                 2x0e+1x1o | 2x0e",
        "step 1: [atom, l] -> [x]",
        "400 flops per atom",
        "extrapolation grade   none: the model has nothing to tell an extrapolation grade by; `etn-gpu grade MODEL "
        "train.extxyz --output NEW.etn` adds that from the structures it was trained on",
        "licence               MIT [data]",
        "cite                  A, 2023",
        "cite                  B, 2024",
    ]
