"""Files of moment tensor potentials: `.mtp` of MLIP-2 and MLIP-3, and `.almtp`.

Shapeev 2016, Multiscale Model. Simul. 14, 1153; Novikov et al. 2021, Mach. Learn.: Sci. Technol. 2, 025002 (MLIP-2);
Podryabinkin et al. 2023, J. Chem. Phys. 159, 084112 (MLIP-3). The formulas are in :mod:`etn_gpu.interop.mtp`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.files import write_atomically
from etn_gpu.interop.mtp_active_set import MARK, ActiveSet, read_active_set
from etn_gpu.interop.mtp_text import MtpText, shown

VERSION = "1.1.0"
BASIS = "RBChebyshev"
#: Monomials up to this degree and this many functions of the distance are straight-line code; published potentials
#: have at most 11 and 12.
LARGEST_DEGREE, LARGEST_BASIS = 16, 64


@dataclass(frozen=True, eq=False)
class MtpFile:
    """What a file says, number for number. S species, F radial functions, B functions of the distance.

    Args:
        potential_name, potential_tag: text.
        scaling: factor of the functions of the distance.
        types: [S] numbers of the species in the heads of the radial blocks.
        min_dist, max_dist: A.
        radial_coeffs: [S, S, F, B], centre, neighbour, function, basis.
        alpha_moments_count: number of moments.
        alpha_index_basic: [basic, 4] rows (mu, a, b, c).
        alpha_index_times: [products, 4] rows (i, j, m, k): moment k gets m times the product of moments i and j.
        alpha_moment_mapping: [scalars] the moments in the energy.
        species_coeffs: [S] eV.
        moment_coeffs: [scalars] eV.
        active_set: what stands behind the coefficients.
    """

    potential_name: str
    potential_tag: str
    scaling: float
    types: tuple[int, ...]
    min_dist: float
    max_dist: float
    radial_coeffs: NDArray[np.float64]
    alpha_moments_count: int
    alpha_index_basic: NDArray[np.int64]
    alpha_index_times: NDArray[np.int64]
    alpha_moment_mapping: NDArray[np.int64]
    species_coeffs: NDArray[np.float64]
    moment_coeffs: NDArray[np.float64]
    active_set: ActiveSet | None = None


def read_mtp_file(path: str | os.PathLike[str]) -> MtpFile:
    """Read a file.

    Raises:
        ModelFileError: there is none, it is no trained potential, cut off, or says something that is not done here; the
            message names the line.
    """
    name = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read the potential {name}: {error.strerror or error}") from None
    first, *_ = content.splitlines() or [b""]
    if first.strip() != b"MTP":
        begins = shown(first[:80].decode(errors="replace"))
        raise ModelFileError(f"{name} is no potential of MLIP: its first line is {begins}, expected MTP")
    before, mark, behind = content.partition(b"\n" + MARK)
    try:
        text = MtpText(before.decode(), name)
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{name} is damaged: byte {error.start} is no text; get a fresh copy of it") from None
    file = _Reader(text).file()
    if not mark:
        return file
    coefficients = file.radial_coeffs.size + file.species_coeffs.size + file.moment_coeffs.size
    return MtpFile(**{**vars(file), "active_set": read_active_set(MARK + behind, coefficients, name)})


def write_mtp_file(path: str | os.PathLike[str], file: MtpFile) -> None:
    """Write ``file`` as MLIP-2 does, all numbers with as many digits as they have.

    Raises:
        ModelFileError: the file cannot be written.
    """
    content = _text(file).encode()
    if file.active_set is not None:
        content += file.active_set.content
    write_atomically(path, content, ModelFileError, "the potential")


class _Reader:
    """Turns entries into numbers, and compares what the file says in several places."""

    def __init__(self, text: MtpText) -> None:
        self._text = text

    def file(self) -> MtpFile:
        text, entries = self._text, self._text.entries
        if (version := text.need("version")).value != VERSION:
            text.refuse(version.line, f"version {shown(version.value)}, expected {VERSION}")
        if (basis := text.need("radial_basis_type")).value != BASIS:
            text.refuse(basis.line, f"radial_basis_type {shown(basis.value)} is not done here, only {BASIS}")
        low, high = text.number("min_dist"), text.number("max_dist")
        if not (high > 0 and low < high):
            text.refuse(entries["max_dist"].line, f"max_dist is {high:g} A, expected more than 0 and min_dist {low:g}")
        basic, times, mapping = self._moments()
        types, radial = self._radial(basic)
        species = text.numbers("species_coeffs")
        moments = text.numbers("moment_coeffs")
        self._count("species_coeffs", len(species), "species_count", len(types))
        self._count("moment_coeffs", len(moments), "alpha_scalar_moments", len(mapping))
        return MtpFile(
            potential_name=entries["potential_name"].value if "potential_name" in entries else "",
            potential_tag=entries["potential_tag"].value if "potential_tag" in entries else "",
            scaling=text.number("scaling") if "scaling" in entries else 1.0,
            types=types,
            min_dist=low,
            max_dist=high,
            radial_coeffs=radial,
            alpha_moments_count=text.integer("alpha_moments_count"),
            alpha_index_basic=np.array(basic, np.int64).reshape(-1, 4),
            alpha_index_times=np.array(times, np.int64).reshape(-1, 4),
            alpha_moment_mapping=np.array(mapping, np.int64),
            species_coeffs=np.array(species),
            moment_coeffs=np.array(moments),
        )

    def _count(self, name: str, found: int, counted: str, expected: int) -> None:
        if found != expected:
            line = self._text.entries[name].line
            self._text.refuse(line, f"{name} has {found} items, expected {expected} ({counted})")

    def _moments(self) -> tuple[list[list[int]], list[list[int]], list[int]]:
        text = self._text
        n_moments = text.integer("alpha_moments_count", 1)
        basic, times = text.table("alpha_index_basic"), text.table("alpha_index_times")
        mapping = text.integers("alpha_moment_mapping")
        self._count("alpha_index_basic", len(basic), "alpha_index_basic_count", text.integer("alpha_index_basic_count"))
        self._count("alpha_index_times", len(times), "alpha_index_times_count", text.integer("alpha_index_times_count"))
        self._count("alpha_moment_mapping", len(mapping), "alpha_scalar_moments", text.integer("alpha_scalar_moments"))
        line = text.entries["alpha_index_basic"].line
        if not 0 < len(basic) <= n_moments:
            text.refuse(line, f"{len(basic)} basic moments, expected 1 to {n_moments} (alpha_moments_count)")
        for row in basic:
            if min(row) < 0 or sum(row[1:]) > LARGEST_DEGREE:
                text.refuse(line, f"the basic moment {row}: expected numbers >= 0, degrees up to {LARGEST_DEGREE}")
        self._check_products(times, len(basic), n_moments)
        if outside := [k for k in mapping if not 0 <= k < n_moments]:
            text.refuse(text.entries["alpha_moment_mapping"].line, f"moment {outside[0]}, expected 0..{n_moments - 1}")
        if not mapping:
            text.refuse(text.entries["alpha_scalar_moments"].line, "the energy has no moments; expected one or more")
        return basic, times, mapping

    def _check_products(self, times: list[list[int]], n_basic: int, n_moments: int) -> None:
        """Rows run in the order of the file: a moment is read when all that adds to it has run."""
        last = {row[3]: number for number, row in enumerate(times)}
        for number, (i, j, m, k) in enumerate(times):
            if not (0 <= i < n_moments and 0 <= j < n_moments and n_basic <= k < n_moments):
                expected = f"expected factors 0..{n_moments - 1} and products {n_basic}..{n_moments - 1}"
                reason = f"names moments that there are not; {expected}"
            elif last.get(i, -1) >= number or last.get(j, -1) >= number:
                reason = "reads a moment to which it, or a row behind it, adds"
            else:
                continue
            row = f"the row {{{i}, {j}, {m}, {k}}}, number {number},"
            self._text.refuse(self._text.entries["alpha_index_times"].line, f"{row} {reason}")

    def _radial(self, basic: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        text = self._text
        if not text.blocks:
            text.untrained("radial_coeffs")
        species, functions = text.integer("species_count", 1), text.integer("radial_funcs_count", 1)
        size = text.integer("radial_basis_size", 1)
        if size > LARGEST_BASIS:
            text.refuse(text.entries["radial_basis_size"].line, f"radial_basis_size {size}, at most {LARGEST_BASIS}")
        if (most := max(row[0] for row in basic)) >= functions:
            line = text.entries["alpha_index_basic"].line
            text.refuse(line, f"a basic moment has the radial function {most}, expected 0..{functions - 1}")
        if len(text.blocks) != species**2:
            expected = f"expected {species**2} for species_count = {species}"
            text.refuse(text.radial_line, f"radial_coeffs has {len(text.blocks)} blocks, {expected}")
        types = self._types(species)
        coefficients = []
        for block in text.blocks:
            if len(block.rows) != functions:
                head = "-".join(map(str, block.types))
                text.refuse(block.line, f"the block {head} has {len(block.rows)} functions, expected {functions}")
            for row in block.rows:
                numbers = text.numbers("radial_coeffs", row)
                if len(numbers) != size:
                    text.refuse(row.line, f"{len(numbers)} radial coefficients, expected {size} (radial_basis_size)")
                coefficients.append(numbers)
        return types, np.array(coefficients).reshape(species, species, functions, size)

    def _types(self, species: int) -> tuple[int, ...]:
        """Numbers of the species by the heads of the blocks, which must agree with their places.

        MLIP-2 and motep go by the place of a block, MLIP-3 by its head, which holds the types of its configurations.
        """
        blocks = self._text.blocks
        types = tuple(block.types[1] for block in blocks[:species])
        for number, block in enumerate(blocks):
            place = types[number // species], types[number % species]
            if block.types != place:
                found, expected = ("-".join(map(str, pair)) for pair in (block.types, place))
                self._text.refuse(
                    block.line, f"the block {found} is in the place of {expected}: MLIP-2 goes by the place, MLIP-3 by "
                    "the head; put the blocks in order",
                )  # fmt: skip
        if list(types) != sorted(set(types)):
            self._text.refuse(
                blocks[0].line, f"the blocks are those of the types {', '.join(map(str, types))}, in this order: "
                "MLIP-2 goes by the place, MLIP-3 by the number; expected different types in ascending order",
            )  # fmt: skip
        return types


def _text(file: MtpFile) -> str:
    n_species, _, functions, size = file.radial_coeffs.shape
    lines = ["MTP", f"version = {VERSION}"]
    if file.potential_name:  # MLIP takes the next word for an empty one
        lines.append(f"potential_name = {file.potential_name}")
    lines += [f"scaling = {file.scaling!r}", f"species_count = {n_species}", f"potential_tag = {file.potential_tag}"]
    lines += [f"radial_basis_type = {BASIS}", f"\tmin_dist = {file.min_dist!r}", f"\tmax_dist = {file.max_dist!r}"]
    lines += [f"\tradial_basis_size = {size}", f"\tradial_funcs_count = {functions}", "\tradial_coeffs"]
    for i, j in np.ndindex(n_species, n_species):
        lines.append(f"\t\t{file.types[i]}-{file.types[j]}")
        lines += [f"\t\t\t{_braces(row)}" for row in file.radial_coeffs[i, j].tolist()]
    basic, times = (table.tolist() for table in (file.alpha_index_basic, file.alpha_index_times))
    mapping = file.alpha_moment_mapping.tolist()
    lines += [f"alpha_moments_count = {file.alpha_moments_count}", f"alpha_index_basic_count = {len(basic)}"]
    lines += [f"alpha_index_basic = {_braces(map(_braces, basic))}", f"alpha_index_times_count = {len(times)}"]
    lines += [f"alpha_index_times = {_braces(map(_braces, times))}", f"alpha_scalar_moments = {len(mapping)}"]
    lines += [f"alpha_moment_mapping = {_braces(mapping)}", f"species_coeffs = {_braces(file.species_coeffs.tolist())}"]
    lines += [f"moment_coeffs = {_braces(file.moment_coeffs.tolist())}", ""]
    return "\n".join(lines)


def _braces(items: Iterable[Any]) -> str:
    return "{" + ", ".join(map(str, items)) + "}"
