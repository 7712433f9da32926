"""PACE potentials as text: the `.yace` that python-ace itself writes, number for number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from etn_gpu.errors import ModelFileError
from etn_gpu.files.atomic import write_atomically
from etn_gpu.interop.pace_file import Bond, Embedding, Function, PaceFile


def write_pace(file: PaceFile, path: str | Path) -> None:
    """Write a `.yace` file; what was read is written with the same digits.

    Raises:
        ModelFileError: the file cannot be written.
    """
    write_atomically(Path(path), pace_text(file).encode(), ModelFileError, "the PACE potential")


def pace_text(file: PaceFile) -> str:
    """The text of a `.yace` file."""
    return "\n".join(_lines(file)) + "\n"


def _lines(file: PaceFile) -> Iterator[str]:
    yield f"elements: {_list(file.elements)}"
    yield f"E0: {_numbers(file.references)}"
    yield f"deltaSplineBins: {file.spline_step:.17g}"
    yield "embeddings:"
    for species, embedding in enumerate(file.embeddings):
        yield f"  {species}: {_embedding(embedding)}"
    yield "bonds:"
    for i, row in enumerate(file.bonds):
        for j, bond in enumerate(row):
            yield f"  [{i}, {j}]: {_bond(bond)}"
    yield "functions:"
    for species, functions in enumerate(file.functions):
        yield f"  {species}:" if functions else f"  {species}: []"
        for function in functions:
            yield f"    - {_function(species, function)}"


def _embedding(e: Embedding) -> str:
    return (
        f"{{ndensity: {e.n_densities}, FS_parameters: {_numbers(e.parameters)}, npoti: {e.kind}, "
        f"rho_core_cutoff: {e.core_cutoff:.17g}, drho_core_cutoff: {e.core_width:.17g}}}"
    )


def _bond(b: Bond) -> str:
    coefficients = _list(_list(_numbers(k) for k in l) for l in b.coefficients)
    cutoff, width, kind = b.inner
    inner = (f", rcut_in: {cutoff:.17g}" if cutoff is not None else "") + (
        f", dcut_in: {width:.17g}" if width is not None else ""
    )
    inner += f", inner_cutoff_type: {kind}" if kind is not None else ""
    return (
        f"{{nradmax: {b.n_radial}, lmax: {b.lmax}, nradbasemax: {b.n_base}, radbasename: {b.kind}, "
        f"radparameters: {_numbers(b.parameters)}, radcoefficients: {coefficients}, prehc: {b.core_prefactor:.17g}, "
        f"lambdahc: {b.core_decay:.17g}, rcut: {b.cutoff:.17g}, dcut: {b.width:.17g}{inner}}}"
    )


def _function(species: int, f: Function) -> str:
    ms = [m for combination in f.ms for m in combination]
    coefficients = [c for row in f.coefficients for c in row]
    return (
        f"{{mu0: {species}, rank: {len(f.ns)}, ndensity: {len(f.coefficients[0])}, num_ms_combs: {len(f.ms)}, "
        f"mus: {_list(f.species)}, ns: {_list(f.ns)}, ls: {_list(f.ls)}, ms_combs: {_list(ms)}, "
        f"ctildes: {_numbers(coefficients)}}}"
    )


def _numbers(values: Iterable[float]) -> str:
    return _list(f"{v:.17g}" for v in values)


def _list(values: Iterable[object]) -> str:
    return f"[{', '.join(map(str, values))}]"
