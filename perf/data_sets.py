"""The data sets that models are compared on: published splits, parts of the test splits, figures of other potentials.

They are looked for in the folder that the environment variable ETN_GPU_DATA names: ``<set>/train.extxyz.gz`` and the
test files below. Units of the figures: meV/atom, eV/A, GPa.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etn_gpu.errors import DataError

MINUTE = 60.0
PUBLISHED = "published"
#: The fitted potential that its authors published, evaluated on the same test structures as ours.
RECOMPUTED = "published potential, errors computed anew"


@dataclass(frozen=True)
class Figure:
    """Mean absolute errors of another potential: energy in meV/atom, forces in eV/A, stress in GPa."""

    potential: str
    energy: float
    forces: float
    stress: float | None = None
    parameters: int | None = None
    origin: str = PUBLISHED


@dataclass(frozen=True)
class Part:
    """Structures of a test file that are averaged over: those whose config_type ``belongs``."""

    name: str
    figures: tuple[Figure, ...] = ()
    file: str = "test.extxyz.gz"
    belongs: Callable[[str], bool] = field(default=lambda config_type: True)


@dataclass(frozen=True)
class DataSet:
    """A training file, seconds that training on it may take, parts of its test split, metadata of models from it."""

    name: str
    time_limit: float
    parts: tuple[Part, ...]
    metadata: dict[str, Any]

    def path(self, file: str = "train.extxyz.gz") -> Path:
        """Where a file of the set is.

        Raises:
            DataError: ETN_GPU_DATA is not set, or there is no such file.
        """
        folder = os.environ.get("ETN_GPU_DATA")
        if not folder:
            raise DataError(f"set ETN_GPU_DATA to the folder that holds {self.name}/{file}")
        path = Path(folder).resolve() / self.name / file
        if not path.is_file():
            raise DataError(f"ETN_GPU_DATA has no file {self.name}/{file}")
        return path


def _quaternary(config_type: str) -> bool:
    return config_type.startswith("Multinary")


def _zuo(element: str) -> dict[str, Any]:
    """Zuo et al. 2020 as distributed with the code of the paper."""
    return {
        "name": element.lower(),
        "description": f"{element}; energies are VASP PBE total energies.",
        "training_data_origin": (
            "github.com/materialsvirtuallab/mlearn, commit 10c427a5480c6281c15c64efaf869b03be04818f, "
            f"data/{element}/training.json"
        ),
        "licence": "BSD-3-Clause (training data and model)",
        "citation": [
            "Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi 10.1021/acs.jpca.9b08723",
            "M. Hodapp, A. Shapeev, Equivariant tensor network potentials, arXiv:2304.08226 (2023)",
        ],
    }


NBMOTAW = {
    "name": "nbmotaw",
    "description": "Nb-Mo-Ta-W alloys; energies are VASP PBE total energies.",
    "training_data_origin": (
        "github.com/materialsvirtuallab/snap, commit 5fc2251b45c72dea0c9799d7aad3e3261a077a5b, "
        "NbMoTaW/training/*.json: every group without 'Test' in its name that the repository holds; "
        "no ternary and no quaternary structure"
    ),
    "licence": "BSD-3-Clause (training data and model)",
    "citation": [
        "X.-G. Li, C. Chen, H. Zheng, Y. Zuo, S. P. Ong, npj Comput. Mater. (2020), doi 10.1038/s41524-020-0339-0",
        "M. Hodapp, A. Shapeev, Equivariant tensor network potentials, arXiv:2304.08226 (2023)",
    ],
}

ACAC = {
    "name": "acac",
    "description": "Acetylacetone at 300 K, total energies of an isolated molecule.",
    "training_data_origin": (
        "github.com/davkovacs/BOTNet-datasets, commit 29e6d467317e4b5967b7ea5cbee54de953fa0d45, "
        "dataset_acac, train_300K"
    ),
    "licence": "MIT (training data)",
    "citation": ["I. Batatia et al., arXiv:2205.06643 (2022)"],
}

#: Published errors of Zuo et al. as tabulated in ACEpotentials.jl (examples/zuobench/error_table.jl).
DATA_SETS = {
    data.name: data
    for data in (
        DataSet(
            "zuo2020_Mo",
            40 * MINUTE,
            (
                Part(
                    "all",
                    (
                        Figure("GAP, Zuo 2020", 2.24, 0.09),
                        Figure("MTP, Zuo 2020", 2.83, 0.09, parameters=329),
                        Figure("MTP, Zuo 2020", 2.938, 0.0901, 0.509, 329, RECOMPUTED),
                        Figure("qSNAP, Zuo 2020", 2.770, 0.1838, 0.595, origin=RECOMPUTED),
                        Figure("SNAP, Zuo 2020", 5.485, 0.2065, 1.226, origin=RECOMPUTED),
                    ),
                ),
            ),
            _zuo("Mo"),
        ),
        DataSet(
            "zuo2020_Si",
            40 * MINUTE,
            (
                Part(
                    "all",
                    (
                        Figure("GAP, Zuo 2020", 2.91, 0.07),
                        Figure("MTP, Zuo 2020", 2.21, 0.06),
                        Figure("MTP, Zuo 2020", 2.313, 0.0560, 0.231, origin=RECOMPUTED),
                        Figure("qSNAP, Zuo 2020", 3.806, 0.1157, 0.269, origin=RECOMPUTED),
                        Figure("SNAP, Zuo 2020", 6.439, 0.1327, 0.376, origin=RECOMPUTED),
                    ),
                ),
            ),
            _zuo("Si"),
        ),
        DataSet(
            "nbmotaw",
            150 * MINUTE,
            (
                Part(
                    "elements and binary alloys",
                    (
                        Figure("SNAP, Li 2020", 5.06, 0.109, origin=RECOMPUTED),
                        Figure("MTP, Yin 2021", 5.29, 0.094, origin=RECOMPUTED),
                    ),
                    belongs=lambda config_type: not _quaternary(config_type),
                ),
                Part(
                    "quaternary alloys",
                    (
                        Figure("SNAP, Li 2020 (trained on such)", 5.88, 0.189, origin=RECOMPUTED),
                        Figure("MTP, Yin 2021 (trained on such)", 1.93, 0.130, origin=RECOMPUTED),
                    ),
                    belongs=_quaternary,
                ),
            ),
            NBMOTAW,
        ),
        DataSet(
            "acac",
            20 * MINUTE,
            (Part("300 K", file="test_300K.extxyz.gz"), Part("600 K", file="test_600K.extxyz.gz")),
            ACAC,
        ),
    )
}
