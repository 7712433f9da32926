"""MACE with random weights on the same GPU: energies, forces and stress of a crystal, its list excluded.

64 scalar channels in two layers, its smallest usual size; both precisions; operators of e3nn.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from gpu.crystals import CUTOFF, SPECIES, Structures, bcc
from gpu.peers import WARM_UP, or_reason, torch_device
from gpu.section import Bench, Case, Row, Section
from gpu.throughput import headline
from gpu.timing import timed

from etn_gpu.backend.cuda.neighbours import NeighbourSearch

NUMBERS = {"Nb": 41, "Mo": 42, "Ta": 73, "W": 74}


def cases(bench: Bench) -> Iterator[Case]:
    """Both precisions, where MACE is installed."""
    if importlib.util.find_spec("mace") is not None:
        for dtype in bench.sizes.dtypes:
            yield Case(f"MACE 64x0e, {dtype}", partial(or_reason, partial(_rate, dtype), bench))


SECTION = Section("mace", "MACE: energies, forces and stress of one crystal, without its list", cases)


def _rate(dtype: str, bench: Bench) -> Row:
    import torch

    structures = bcc(bench.rng(), (bench.sizes.core_cells,) * 3)
    torch.manual_seed(bench.seed)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        network = _network().to(torch_device(bench))
        given = _graph(bench, structures)
        seconds = timed(bench.device, lambda: network(given, compute_force=True, compute_stress=True), warm_up=WARM_UP)
        forces = network(given, compute_force=True, compute_stress=True)["forces"]
    finally:
        torch.set_default_dtype(torch.float32)
    row: Row = {
        "version": version("mace-torch"),
        "atoms": structures.n_atoms,
        "atoms_per_second": structures.n_atoms / seconds.median,
        **seconds.row(),
    }
    row["sum_of_forces"] = float(forces.sum(0).abs().max() / forces.abs().max())
    crystal = headline(bench)
    if dtype == bench.sizes.dtypes[0] and "without_list" in crystal:
        row["etn_gpu_over_mace"] = crystal["without_list"] / row["atoms_per_second"]
    return row


def _network() -> Any:
    import torch
    from e3nn import o3

    modules = importlib.import_module("mace.modules")
    n = len(SPECIES)
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=n,
        hidden_irreps=o3.Irreps("64x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(n),
        avg_num_neighbors=50.0,
        atomic_numbers=[NUMBERS[s] for s in SPECIES],
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def _graph(bench: Bench, structures: Structures) -> dict[str, Any]:
    """One structure as MACE takes it, with our own neighbour list."""
    import torch

    found = NeighbourSearch(bench.device).find(structures.upload(bench.device), CUTOFF)
    offsets, neighbour, shifts = (bench.device.to_host(a) for a in (found.offsets, found.neighbour, found.shifts))
    centre = np.repeat(np.arange(structures.n_atoms), np.diff(offsets))
    cell, dtype = structures.cells[0], torch.get_default_dtype()
    reals = {
        "positions": structures.positions,
        "node_attrs": np.eye(len(SPECIES))[structures.species],
        "shifts": shifts @ cell,
        "unit_shifts": shifts,
        "cell": cell,
    }
    integers = {
        "edge_index": np.stack([centre, neighbour]),
        "batch": np.zeros(structures.n_atoms, np.int64),
        "ptr": structures.atom_offsets,
    }
    where = torch_device(bench)
    given = {name: torch.tensor(array, dtype=dtype, device=where) for name, array in reals.items()}
    return given | {name: torch.tensor(array, device=where) for name, array in integers.items()}
