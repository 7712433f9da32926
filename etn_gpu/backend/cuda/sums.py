"""Energies of atoms, sums over edges and over structures on a device.

The same bits in every run, whatever the timing of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Device, DeviceArray
from etn_gpu.backend.cuda.launcher import Module
from etn_gpu.errors import BackendError

#: Rows that one block reduces; more are cut into chunks, so that one large structure keeps the whole device busy.
CHUNK = 2048
_LANES_PER_ATOM = 8


@dataclass(frozen=True)
class Segments:
    """Consecutive rows that are reduced to one each, cut into chunks: rows of each chunk, chunks of each segment."""

    chunk_offsets: DeviceArray
    segment_offsets: DeviceArray
    n_rows: int

    @staticmethod
    def upload(device: Device, offsets: NDArray[np.int64], chunk: int = CHUNK) -> Segments:
        """The segments offsets[k] .. offsets[k+1]-1 of the rows of an array; offsets [n+1] begin with 0."""
        sizes = np.diff(offsets)
        chunks = -(-sizes // chunk)
        segment_offsets = np.concatenate(([0], np.cumsum(chunks)))
        within = np.arange(segment_offsets[-1]) - np.repeat(segment_offsets[:-1], chunks)
        starts = np.repeat(offsets[:-1], chunks) + chunk * within
        chunk_offsets = np.append(starts, offsets[-1]).astype(np.int64)
        return Segments(device.to_device(chunk_offsets), device.to_device(segment_offsets), int(offsets[-1]))

    @property
    def n_segments(self) -> int:
        """How many segments there are."""
        return len(self.segment_offsets) - 1

    @property
    def n_chunks(self) -> int:
        """How many chunks there are."""
        return len(self.chunk_offsets) - 1


class Sums:
    """The kernels of ``sums.cu`` on a device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._module = Module.of_source(device, "sums.cu")
        self._threads = self._module["segment_sum_float64"].signature.threads

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return self._module.launches

    def energies(self, values: DeviceArray, references: DeviceArray, species: DeviceArray) -> DeviceArray:
        """Energies [N] of atoms in eV, float64: ``values`` [N], float32 or float64, and the ``references`` [n_species],
        float64, of their ``species`` [N].

        Raises:
            BackendError: arrays that do not fit.
        """
        if values.shape != species.shape:
            raise BackendError(f"energies {values.shape} and species {species.shape} of atoms do not fit together")
        energies = self._device.empty(values.shape, np.float64)
        self._module[f"add_references_{_real(values)}"].over(
            len(values), values=values, references=references, species=species, energies=energies, n_atoms=len(values)
        )
        return energies

    def forces_and_virials(
        self, gradient: DeviceArray, vectors: DeviceArray, reverse: DeviceArray, edge_offsets: DeviceArray
    ) -> tuple[DeviceArray, DeviceArray]:
        """Forces [N, 3] in eV/A and virials [N, 6] in eV (xx, yy, zz, yz, xz, xy) of atoms, in float64.

        gradient [E, 3]: the energy differentiated by the edge vectors, float32 or float64; vectors [E, 3]; reverse [E];
        edge_offsets [N+1]. F_i = sum_e (g_e - g_reverse(e)), W_i = sum_e x_e g_e over the edges e of atom i.

        Raises:
            BackendError: arrays that do not fit.
        """
        n_atoms = len(edge_offsets) - 1
        if not gradient.shape == vectors.shape == (len(reverse), 3):
            raise BackendError(
                f"gradients {gradient.shape}, vectors {vectors.shape} and reverse edges {reverse.shape} of edges do "
                "not fit together: expected [E, 3], [E, 3] and [E]"
            )
        forces = self._device.empty((n_atoms, 3), np.float64)
        virials = self._device.empty((n_atoms, 6), np.float64)
        self._module[f"edge_sums_{_real(gradient)}"].over(
            n_atoms, _LANES_PER_ATOM, gradient=gradient, vectors=vectors, reverse=reverse, edge_offsets=edge_offsets,
            forces=forces, virials=virials, n_atoms=n_atoms,
        )  # fmt: skip
        return forces, virials

    def sum(self, values: DeviceArray, segments: Segments) -> DeviceArray:
        """Sums of rows [n, k] or of numbers [n] over each segment, in float64: [n_segments, k] or [n_segments].

        Raises:
            BackendError: not as many rows as the segments have, or a number of columns that does not divide 192.
        """
        return self._reduce(f"segment_sum_{_real(values)}", "segment_sum_float64", values, segments)

    def minimum(self, values: DeviceArray, segments: Segments) -> DeviceArray:
        """The least of float64 numbers [n] or of each column of rows [n, k] in each segment; inf for empty ones."""
        return self._reduce("segment_min_float64", "segment_min_float64", values, segments)

    def _reduce(self, first: str, second: str, values: DeviceArray, segments: Segments) -> DeviceArray:
        columns = values.shape[1] if values.ndim == 2 else 1
        if len(values) != segments.n_rows or columns < 1 or self._threads % columns:
            raise BackendError(
                f"an array of shape {values.shape} cannot be reduced over segments of {segments.n_rows} rows: expected "
                f"that many rows, and a number of columns that divides {self._threads}"
            )
        partial = self._device.empty((segments.n_chunks, columns), np.float64)
        self._module[first].launch(
            segments.n_chunks, values=values, offsets=segments.chunk_offsets, results=partial, columns=columns
        )
        shape = (segments.n_segments, *values.shape[1:])
        results = self._device.empty(shape, np.float64)
        self._module[second].launch(
            segments.n_segments, values=partial, offsets=segments.segment_offsets, results=results, columns=columns
        )
        return results


def _real(array: DeviceArray) -> str:
    name = str(array.dtype)
    if name not in ("float32", "float64"):
        raise BackendError(f"an array of {name} was given, expected float32 or float64")
    return name
