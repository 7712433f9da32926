"""The fully connected tensor product of a batch of vectors, forward and backward, beside e3nn on the same GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import numpy as np
from bench_tensor import LEFT, OUT, RIGHT, product_programs
from gpu.models import PRODUCT
from gpu.section import Bench, Case, Code, Row, Section
from gpu.timing import timed

from etn_gpu.backend.cuda.device import CupyDevice
from etn_gpu.backend.cuda.executable import DeviceGeometry
from etn_gpu.backend.cuda.executor import compiled
from etn_gpu.backend.cuda.slots import Slots
from etn_gpu.plan import Program

#: Calls after which PyTorch has compiled all that it compiles.
WARM_UP = 5


def cases(bench: Bench) -> Iterator[Case]:
    """Our own product, then the peers that are installed here."""
    needs = tuple(Code(PRODUCT, name, "float32") for name in ("forward", "both"))
    yield Case("etn_gpu", partial(_own, bench), needs)
    if importlib.util.find_spec("e3nn") is not None:
        yield Case("e3nn", partial(or_reason, _e3nn, bench))


SECTION = Section("peers", f"{LEFT} x {RIGHT} -> {OUT}, float32, milliseconds", cases, until=0.99)


def _own(bench: Bench) -> Row:
    """Milliseconds forward, and of the product with all gradients, as Programs on the device."""
    forward, both = product_programs()
    return {
        "vectors": bench.sizes.vectors,
        "forward": _milliseconds(bench, forward),
        "both": _milliseconds(bench, both),
    }


def _milliseconds(bench: Bench, program: Program) -> float:
    device, rng, n = bench.device, bench.rng(), bench.sizes.vectors
    executable = compiled(device, program, np.dtype(np.float32))
    inputs = {
        value.name: rng.standard_normal(value.size if value.space == "param" else (n, value.size))
        for value in program.inputs
    }
    parameters = executable.parameters(inputs)
    batched = {v.name: device.to_device(inputs[v.name]) for v in program.inputs if v.space == "atom"}
    species, whole = np.zeros(n, np.int32), np.array([0, n], np.int64)
    geometry = DeviceGeometry(
        device.zeros(n + 1, np.int64), device.zeros(0, np.int32), Slots.of_samples(device, species, whole)
    )
    return 1e3 * timed(device, lambda: executable.run(parameters, batched, geometry)).median


def torch_device(bench: Bench) -> str:
    """What PyTorch calls the device of the bench."""
    return "cuda" if isinstance(bench.device, CupyDevice) else "cpu"


def or_reason(peer: Callable[[Bench], Row], bench: Bench) -> Row:
    """The row of a peer, which finds the memory empty; what stops it is none of our failures."""
    bench.device.release()
    try:
        return peer(bench)
    except Exception as error:
        return {"not_run": f"{type(error).__name__}: {error}"}


def _e3nn(bench: Bench) -> Row:
    """The same of e3nn; matrix products in float32 proper, not in the tensor cores' tf32."""
    import torch
    from e3nn import o3

    torch.backends.cuda.matmul.allow_tf32 = False
    where, n = torch_device(bench), bench.sizes.vectors
    module = o3.FullyConnectedTensorProduct(LEFT, RIGHT, OUT).to(where)
    x, y, cotangent = (torch.randn(n, o3.Irreps(name).dim, device=where) for name in (LEFT, RIGHT, OUT))
    x.requires_grad_()
    y.requires_grad_()

    def forward() -> object:
        with torch.no_grad():
            return module(x, y)

    def both() -> object:
        return torch.autograd.grad(module(x, y), [x, y, module.weight], cotangent)

    return {
        "versions": f"e3nn {version('e3nn')}, torch {version('torch')}",
        "vectors": n,
        "forward": 1e3 * timed(bench.device, forward, warm_up=WARM_UP).median,
        "both": 1e3 * timed(bench.device, both, warm_up=WARM_UP).median,
    }
