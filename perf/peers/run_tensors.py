"""Tensor libraries beside ``etn_gpu.tensor``: nicole (GPL), e3nn (MIT) and cuequivariance-torch (Apache), one thread.

The job holds ``contractions``, a list of {multiplicity, lmax, legs, dtype}, ``product``, {left, right, out, batch}, and
``repeats``; the answer the least seconds of each. nicole's tensors are those of SU(2) with integer spins.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cuequivariance as cue
import cuequivariance_torch as cuet
import nicole
import torch
from common import timed
from e3nn import o3


def contraction(case: dict[str, Any], repeats: int) -> float:
    """Seconds of nicole for contracting two random three-leg tensors over one or two legs."""
    sectors = tuple(nicole.Sector(2 * l, case["multiplicity"]) for l in range(case["lmax"] + 1))
    directions = nicole.Direction.IN, nicole.Direction.OUT
    inward, outward = (nicole.Index(direction, nicole.SU2Group(), sectors) for direction in directions)
    dtype = getattr(torch, case["dtype"])
    first = nicole.Tensor.random((inward, outward, outward), itags=("a", "b", "x"), dtype=dtype)
    second = nicole.Tensor.random((inward, inward, outward), itags=("x", "b", "c"), dtype=dtype)
    axes = ((2,), (0,)) if case["legs"] == 1 else ((2, 1), (0, 1))
    return timed(lambda: nicole.contract(first, second, axes=axes), repeats).wall


def products(case: dict[str, Any], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of the fully connected tensor product, forward alone and with the gradients of inputs and weights."""
    names = case["left"], case["right"], case["out"]
    modules = {
        "e3nn": o3.FullyConnectedTensorProduct(*names),
        "cuequivariance-torch": cuet.FullyConnectedTensorProduct(
            *(cue.Irreps("O3", name) for name in names),
            layout=cue.ir_mul,
            shared_weights=True,
            internal_weights=True,
            method="naive",
        ),
    }
    x, y, cotangent = (torch.randn(case["batch"], o3.Irreps(name).dim) for name in names)
    x.requires_grad_()
    y.requires_grad_()

    def forward(module: Any) -> object:
        with torch.no_grad():
            return module(x, y)

    def both(module: Any) -> object:
        # nicole switches gradients off for the whole process.
        with torch.enable_grad():
            return torch.autograd.grad(module(x, y), [x, y, module.weight], cotangent)

    return {
        f"{name} {version(name)}": {
            "forward": timed(lambda module=module: forward(module), repeats).wall,  # type: ignore[misc]
            "both": timed(lambda module=module: both(module), repeats).wall,  # type: ignore[misc]
        }
        for name, module in modules.items()
    }


def main() -> None:
    """Do the job that the command line names and print the answer."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    job = json.loads(Path(sys.argv[1]).read_text())
    seconds = [contraction(case, job["repeats"]) for case in job["contractions"]]
    answer = {"contractions": seconds, "products": products(job["product"], job["repeats"])}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
