"""Time the tensor layer beside its peers, one thread: contractions and the fully connected tensor product.

    python perf/bench_tensor.py [--repeats 20] [--environments FOLDER] [--without-peers]

Contractions of two three-leg tensors over one and over two legs, beside nicole's SU(2) tensors. All sectors have even
parity, so that both libraries hold the same blocks. The fully connected product of a batch of vectors, forward and
with the gradients of both inputs and of the weights, as a Program on the numba backend, beside e3nn and
cuequivariance-torch.

The peers live in a virtual environment of their own, made on the first run. Least wall time of the repeats: other work
on a machine only ever adds time. Figures go to perf/results/bench_tensor.json with date, commit and machine.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before NumPy loads its BLAS, but not where the tests import this file
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[_variable] = "1"

import numpy as np
from common import machine, print_table, save, timed
from peers.environments import CACHE, Environments, Peer, PeerError

from etn_gpu import tensor as tn
from etn_gpu.backend import Geometry, run
from etn_gpu.plan import (
    Core,
    CoreNode,
    NetworkExpression,
    Program,
    ProgramBuilder,
    VectorNode,
    lower_network,
    plan_contraction,
    vjp,
)
from etn_gpu.symmetry import Irreps

#: The extra index has torch without CUDA. Pinned, because 2.13.0+cpu counts as newer than 2.13.0, not than the latest.
PEER = Peer(
    "tensors",
    (
        *("nicole==0.4.2", "e3nn", "cuequivariance-torch", "torch==2.13.*", "ase", "numpy"),
        "--extra-index-url=https://download.pytorch.org/whl/cpu",
    ),
)
CONTRACTIONS = [
    {"legs": legs, "dtype": dtype, "multiplicity": multiplicity, "lmax": lmax}
    for legs in (1, 2)
    for dtype in ("float64", "float32")
    for multiplicity in (4, 16)
    for lmax in (2, 3)
]
LEFT, RIGHT, OUT, BATCH = "16x0e+16x1o+16x2e", "8x0e+8x1o+8x2e", "16x0e+16x1o+16x2e", 2000


def contraction(case: dict[str, Any], repeats: int) -> float:
    """Seconds of one contraction with the legs divided as in a train of cores: (a b | x) times (x | b c)."""
    leg = Irreps([(case["multiplicity"], f"{l}e") for l in range(case["lmax"] + 1)])
    rng = np.random.default_rng(0)
    first = tn.random([leg, leg], [leg], rng=rng, dtype=case["dtype"])
    second = tn.random([leg], [leg, leg], rng=rng, dtype=case["dtype"])
    pairs = [(2, 0)] if case["legs"] == 1 else [(2, 0), (1, 1)]
    return timed(lambda: tn.contract(first, second, pairs), repeats).wall


def product_programs() -> tuple[Program, Program]:
    """The fully connected product z of x and y, and the product with the gradients of x, y and the weights."""
    legs = dict(zip("abc", map(Irreps, (LEFT, RIGHT, OUT)), strict=True))
    core = Core("weights", *legs.values())
    network = NetworkExpression(
        (VectorNode("x", "a"), VectorNode("y", "b"), CoreNode(core, ("a", "b", "c"))), legs, "c"
    )
    builder = ProgramBuilder()
    builder.input("x", "atom", legs["a"].dim)
    builder.input("y", "atom", legs["b"].dim)
    builder.input("weights", "param", core.size)
    z = lower_network(builder, network, plan_contraction(network), {"x": "x", "y": "y"}, {"weights": "weights"})
    forward = builder.build({"z": z.name})
    return forward, vjp(forward, {"z": "z_bar"}, {"x": "x_bar", "y": "y_bar", "weights": "weights_bar"})


def product(repeats: int) -> dict[str, float]:
    """Seconds of the product as a Program on the numba backend, single precision."""
    forward, both = product_programs()
    rng = np.random.default_rng(0)
    inputs = {
        value.name: rng.standard_normal(value.size if value.space == "param" else (BATCH, value.size)).astype("float32")
        for value in both.inputs
    }
    geometry = Geometry(np.zeros(BATCH + 1, np.int64), np.zeros(BATCH, np.int32), np.zeros(0, np.int32))

    def seconds(program: Program) -> float:
        chosen = {value.name: inputs[value.name] for value in program.inputs}
        options: dict[str, Any] = {"backend": "numba", "dtype": "float32", "threads": 1}
        return timed(lambda: run(program, chosen, geometry, **options), repeats).wall

    return {"forward": seconds(forward), "both": seconds(both)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--environments", type=Path, default=CACHE, help="folder of the peers' virtual environments")
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    report: dict[str, Any] = machine()
    print(f"{report['processor']}, one thread, OPENBLAS_CORETYPE {report['OPENBLAS_CORETYPE']}\n")
    own = [contraction(case, options.repeats) for case in CONTRACTIONS]
    products = {"etn_gpu": product(options.repeats)}
    others: list[float | None] = [None] * len(own)
    if not options.without_peers:
        job = {
            "contractions": CONTRACTIONS,
            "product": {"left": LEFT, "right": RIGHT, "out": OUT, "batch": BATCH},
            "repeats": max(5, options.repeats // 4),
        }
        try:
            answer = Environments(options.environments).ask(PEER, job)
        except PeerError as error:
            parser.exit(1, f"{error}\n")
        others = answer["contractions"]
        products |= answer["products"]

    print(f"Contraction of two three-leg tensors, milliseconds\n{'-' * 50}")
    headers = ("legs", "precision", "multiplicity", "l up to", "etn_gpu", "nicole", "ratio")
    rows = [
        (*case.values(), 1e3 * t, other and 1e3 * other, other and other / t)
        for case, t, other in zip(CONTRACTIONS, own, others, strict=True)
    ]
    print_table(headers, rows)
    print(f"{LEFT} x {RIGHT} -> {OUT}, {BATCH} vectors, float32, milliseconds\n{'-' * 50}")
    print_table(
        ("library", "forward", "forward and backward"),
        [(name, 1e3 * t["forward"], 1e3 * t["both"]) for name, t in products.items()],
    )
    report["contractions"] = [
        {**case, "etn_gpu": t, "nicole": other} for case, t, other in zip(CONTRACTIONS, own, others, strict=True)
    ]
    report["products"] = products
    print(f"written to {save('bench_tensor', report)}")


if __name__ == "__main__":
    main()
