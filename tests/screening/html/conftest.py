"""Contents of reports: random alloys with a made-up energy, whose hull is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from etn_gpu.screening.html import BestStructure, ReportContent
from etn_gpu.screening.hull import EnergyHull

Make = Callable[..., ReportContent]


def alloy(counts: dict[str, int]) -> Atoms:
    atoms = bulk("W", "bcc", a=3.2, cubic=True) * (sum(counts.values()) // 2 + 1, 1, 1)
    atoms = atoms[: sum(counts.values())]
    atoms.set_chemical_symbols([symbol for symbol, n in counts.items() for _ in range(n)])
    return atoms


@pytest.fixture
def make() -> Make:
    """``make(elements, n)``: a report on n alloys of some elements; other fields as they are given."""

    def content(elements: tuple[str, ...] = ("Mo", "W"), n: int = 40, seed: int = 0, **fields: Any) -> ReportContent:
        rng = np.random.default_rng(seed)
        k = len(elements)
        counts = rng.integers(0, 3, size=(n, k)).astype(np.float64)
        counts[np.arange(n), rng.integers(k, size=n)] += 1
        shares = counts / counts.sum(axis=1, keepdims=True)
        mixing = -0.3 * (shares[:, :1] * (1.0 - shares[:, :1]))[:, 0]
        formation = mixing + rng.exponential(0.05, size=n)
        formation[shares.max(axis=1) == 1.0] += 0.01
        energy = formation - shares @ np.arange(9.0, 9.0 + k)
        hull = EnergyHull(elements, np.vstack([counts, np.eye(k)]), [*energy, *-np.arange(9.0, 9.0 + k)])
        above = hull.above(counts, energy)
        named = [{e: int(c) for e, c in zip(elements, row, strict=True) if c} for row in counts]
        formulas = ["".join(f"{e}{c if c > 1 else ''}" for e, c in sorted(row.items())) for row in named]
        grades = rng.lognormal(0.0, 0.6, size=n)
        status = np.where(grades > 1.5, "extrapolating", "ok").tolist()
        best = [
            BestStructure(
                {"formula": formulas[i], "n_atoms": sum(named[i].values()), "energy_above_hull": above[i]},
                alloy(named[i]),
            )
            for i in np.argsort(above, kind="stable")[:10]
        ]
        known: dict[str, Any] = {
            "model": "nbmotaw",
            "version": "0.1.0",
            "date": "2026-01-02",
            "species": elements,
            "order": 4,
            "cutoff": 5.15,
            "inputs": ["alloys.extxyz"],
            "options": {"rank": "energy_above_hull", "top": 10},
            "counts": {s: status.count(s) for s in ("ok", "extrapolating")} | {"failed": 0},
            "formulas": formulas,
            "n_atoms": counts.sum(axis=1),
            "energy_per_atom": energy,
            "formation_energy": formation,
            "energy_above_hull": above,
            "max_force": rng.lognormal(size=n),
            "pressure": rng.normal(scale=10.0, size=n),
            "volume_per_atom": rng.normal(16.0, 1.0, size=n),
            "extrapolation_grade": grades,
            "status": status,
            "message": [f"grade {g:.2f}" if s != "ok" else "" for g, s in zip(grades, status, strict=True)],
            "hull": hull,
            "grade_threshold": 1.5,
            "best": best,
            "ranked_by": "energy above hull",
            "seconds": 2.0,
            "compilation": 10.0,
        }
        return ReportContent(**(known | fields))

    return content
