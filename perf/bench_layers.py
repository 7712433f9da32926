"""What layers of message passing cost beside one layer: energy, forces and stress of one crystal, one thread.

    python perf/bench_layers.py [--preset standard] [--cells 10] [--rounds 7]

Random parameters, float64, the numba backend, neighbour list excluded; the models take turns, and the least processor
time of each counts. Operations are those of the Programs, all passes together. Written to
perf/results/bench_layers.json.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from common import bcc_crystal, machine, print_table, save

from etn_gpu.network import MessageLayer
from etn_gpu.plan.count import work
from etn_gpu.plan.passes import parts_of
from etn_gpu.potential import PRESETS, ETNPotential, preset_architecture
from etn_gpu.potential.presets import MESSAGES
from etn_gpu.potential.programs import programs
from etn_gpu.structures import StructureBatch

SPECIES = ("Nb", "Mo", "Ta", "W")
CUTOFF, INNER = 5.0, 1.8
EXPECTED = {
    "two layers / one layer (target: at most)": 2.2,
    "operations, two layers / one layer": 1.7,
    "one head of attention / none": 1.5,
}


def models(preset: str) -> dict[str, tuple[MessageLayer, ...]]:
    """Layers of each model."""
    first = PRESETS[preset].with_layers(2, None).layers
    return {
        "one layer": (),
        "scalars only": (replace(first[0], hidden="4x0e"),),
        f"two layers, {MESSAGES.hidden}": first,
        "attention": tuple(replace(layer, attention=1) for layer in first),
        "three layers": first * 2,
    }


def random_model(preset: str, layers: tuple[MessageLayer, ...]) -> ETNPotential:
    """A potential with random parameters: what they are costs nothing."""
    architecture = replace(preset_architecture(preset, SPECIES, CUTOFF, INNER), layers=layers)
    rng = np.random.default_rng(0)
    return ETNPotential(
        architecture, {name: 0.1 * rng.normal(size=shape) for name, shape in architecture.parameter_shapes.items()}
    )


def operations(model: ETNPotential, batch: StructureBatch) -> float:
    """Operations per atom of energies and gradients."""
    found = (work(part).total(batch.n_atoms, batch.n_edges) for part in parts_of(programs(model.architecture).gradient))
    return sum(found) / batch.n_atoms


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=("small", "standard", "large"), default="standard")
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print("Expected")
    print_table(("figure", "value"), list(EXPECTED.items()))
    batch = StructureBatch.build([bcc_crystal(SPECIES, options.cells)], SPECIES, CUTOFF)
    found = {name: random_model(options.preset, layers) for name, layers in models(options.preset).items()}
    least = dict.fromkeys(found, float("inf"))
    for _ in range(options.rounds + 1):  # the first compiles
        for name, model in found.items():
            start = time.process_time()
            model.evaluate_batch(batch, threads=1, backend="numba")
            least[name] = min(least[name], time.process_time() - start)
    rows: list[dict[str, Any]] = []
    for name, model in found.items():
        rows.append(
            {
                "model": name,
                "us/atom": 1e6 * least[name] / batch.n_atoms,
                "/ one layer": least[name] / least["one layer"],
                "operations per atom": operations(model, batch),
                "parameters": model.n_parameters,
            }
        )
    print(f"{options.preset}, {batch.n_edges / batch.n_atoms:.1f} neighbours, one thread, float64")
    print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    save("bench_layers", {**machine(), "preset": options.preset, "expected": EXPECTED, "rows": rows})


if __name__ == "__main__":
    main()
