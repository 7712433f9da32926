"""Train the shipped potential ``nbmotaw`` on the train split of its data set and put it into the package.

    ETN_GPU_DATA=/path/to/data python perf/train_shipped.py --time-limit 60m

Only the train split is read; 10 % of it are held out for validation. The test split is for ``etn-gpu evaluate``
afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from etn_gpu.cli.parsing import parse_time_limit
from etn_gpu.training import Event, TrainingConfig, train

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


def show(event: Event) -> None:
    """One line per event."""
    if event.kind in ("audit", "message"):
        print(event.text, flush=True)
    elif event.kind == "iteration":
        errors = {name: event.valid.get(name) for name in ("energy_mae", "forces_mae", "stress_mae")}
        print(f"{event.iteration:4d} {event.elapsed:7.0f} s  loss {event.loss:.4g}  validation {errors}", flush=True)


def main() -> int:
    """Run the training; exit status 2 where ETN_GPU_DATA is not set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-limit", default="60m")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--resume", type=Path, default=None)
    parser.add_argument(
        "--output", type=Path, default=Path("nbmotaw.etn"), help="copy it to etn_gpu/potential/models/ when it is good"
    )
    options = parser.parse_args()
    data = os.environ.get("ETN_GPU_DATA")
    if not data:
        print("set ETN_GPU_DATA to the folder that holds nbmotaw/train.extxyz.gz", file=sys.stderr)
        return 2
    config = TrainingConfig(
        train_file=Path(data) / "nbmotaw" / "train.extxyz.gz",
        output=options.output,
        preset=options.preset,
        time_limit=parse_time_limit(options.time_limit),
        resume=options.resume,
        metadata=NBMOTAW,
    )
    train(config, show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
