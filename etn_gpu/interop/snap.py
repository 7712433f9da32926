"""SNAP and qSNAP potentials: from the files of LAMMPS to a Program, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.files.atomic import write_atomically
from etn_gpu.interop.snap_bispectrum import components
from etn_gpu.interop.snap_file import SnapFile, SnapSettings, check_species, parse, texts
from etn_gpu.interop.snap_layout import weight_table
from etn_gpu.interop.snap_program import SnapArchitecture, energy_program
from etn_gpu.interop.translation import Translation
from etn_gpu.interop.zbl import ZBL
from etn_gpu.potential.formulation import Formulation
from etn_gpu.structures.elements import SYMBOLS

Array = NDArray[np.float64]
COEFFICIENTS, PARAMETERS = ".snapcoeff", ".snapparam"


def read_snap(
    path: str | Path,
    parameters: str | Path | None = None,
    *,
    species: Sequence[str] | None = None,
    zbl: tuple[float, float] | None = None,
) -> Translation:
    """Read a SNAP or qSNAP potential of LAMMPS (pair style ``snap``).

    Args:
        path: the ``.snapcoeff`` or the ``.snapparam`` file; the other one is the file of the same name beside it.
        parameters: the ``.snapparam`` file where it has another name.
        species: elements to take from the file; all of them by default. With ``chemflag`` and with inner switching
            the blocks of coefficients and the lists ``sinner`` and ``dinner`` follow **the order of the elements on
            the line pair_coeff** of the LAMMPS input, which the files do not tell: there the species must be given,
            all of them, in that order.
        zbl: the radii in A of ``pair_style hybrid/overlay ... zbl inner outer``, for a potential that was fitted to
            what this repulsion leaves over: only the LAMMPS input tells. Its charges are the atomic numbers.

    Raises:
        ModelFileError: a file is missing, cut off or something else, or says what LAMMPS or we do not do.
    """
    coefficient_path, parameter_path = _paths(Path(path), None if parameters is None else Path(parameters))
    names = (coefficient_path.name, parameter_path.name)
    file = parse(_read(coefficient_path), _read(parameter_path), names)
    return translate(file, species, None if zbl is None else ZBL(*zbl), names)


def write_snap(potential: Translation | SnapFile, path: str | Path) -> None:
    """Write the files of LAMMPS: ``path`` with the suffixes ``.snapcoeff`` and ``.snapparam``.

    Every number is read again to the last digit. A ZBL term is no part of these files. ModelFileError where the
    potential is no SNAP or a file cannot be written.
    """
    file = potential if isinstance(potential, SnapFile) else _content(potential.metadata)
    for suffix, text in zip((COEFFICIENTS, PARAMETERS), texts(file), strict=True):
        write_atomically(_with_suffix(Path(path), suffix), text.encode(), ModelFileError, "the SNAP file")


def translate(
    file: SnapFile,
    species: Sequence[str] | None = None,
    zbl: ZBL | None = None,
    names: tuple[str, str] = ("snapcoeff", "snapparam"),
) -> Translation:
    """The Program and its numbers for the elements ``species`` of ``file``; see :func:`read_snap`."""
    settings = file.settings
    ordered = [f for f in ("chemflag", "switchinnerflag") if getattr(settings, f)]
    if species is None:
        if ordered and len(file.elements) > 1:
            raise ModelFileError(
                f"{names[1]} has {ordered[0]} 1: the order of the elements on the line pair_coeff of the LAMMPS input "
                f"is part of the potential; give it as species, for example {[e.name for e in file.elements]}"
            )
        species = [e.name for e in file.elements]
    check_species(file, species, names)
    if unknown := [s for s in species if s not in SYMBOLS]:
        raise ModelFileError(
            f"{names[0]} calls an element {unknown[0]!r}, which is no chemical symbol; write the symbol into that line"
        )
    elements = [next(e for e in file.elements if e.name == s) for s in species]
    radii, neighbour = np.array([e.radius for e in elements]), np.array([e.weight for e in elements])
    cutoffs = settings.rcutfac * (radii[:, None] + radii)
    if settings.rmin0 >= np.min(cutoffs):
        raise ModelFileError(f"{names[1]}: rmin0 {settings.rmin0:g} is not below the cutoff of {np.min(cutoffs):g} A")
    equal = bool(np.all(cutoffs == cutoffs[0, 0]))
    architecture = SnapArchitecture(
        settings.twojmax, len(species), len(species) if settings.chemflag else 1,
        float(cutoffs[0, 0]) if equal else None, settings.rmin0, settings.rfac0, bool(settings.switchflag),
        bool(settings.switchinnerflag), bool(settings.quadraticflag), bool(settings.bnormflag), zbl,
    )  # fmt: skip
    pairs = _pair_numbers(architecture, settings, cutoffs, neighbour, [SYMBOLS.index(s) + 1 for s in species])
    coefficients = np.array([e.coefficients for e in elements])
    references, numbers = _numbers(architecture, settings, coefficients)
    notes = list(file.notes)
    if not _equal_where_components_are(architecture, coefficients):
        notes.append(
            "components that are equal (same j and elements in another order) have different coefficients: LAMMPS "
            "computes energies with all of them but forces with one, so that its forces are not derivatives; ours are"
        )
    if zbl is None:
        notes.append("no ZBL term: give zbl if the LAMMPS input has one")
    cutoff = max(float(np.max(cutoffs)), zbl.outer if zbl else 0.0)
    form = Formulation("SNAP", tuple(species), cutoff, energy_program(architecture))
    given = {"pair": pairs, **numbers}
    return Translation(
        form, {name: given[name] for name in form.network_shapes}, references, _metadata(file, species, zbl, notes)
    )


def _pair_numbers(
    architecture: SnapArchitecture, settings: SnapSettings, cutoffs: Array, weights: Array, charges: Sequence[int]
) -> Array:
    """The numbers of each pair of species, in the order of the Program."""
    n = len(weights)
    given = {"weight": np.broadcast_to(weights, (n, n)), "scale": np.pi / (cutoffs - settings.rmin0)}
    if architecture.inner:
        centre, width = (np.array(v) for v in (settings.sinner, settings.dinner))
        given["centre"] = (centre[:, None] + centre) / 2
        given["inverse width"] = 2 / (width[:, None] + width)
    if architecture.zbl:
        given |= {f"zbl {k}": v for k, v in enumerate(np.moveaxis(architecture.zbl.table(charges), -1, 0))}
    return np.stack([given[name] for name in architecture.pair_numbers], axis=-1).ravel()


def _numbers(
    architecture: SnapArchitecture, settings: SnapSettings, coefficients: Array
) -> tuple[Array, dict[str, Array]]:
    """Energies of isolated atoms, and the parameters of the Program but for those of pairs.

    The Program works with components beyond those of an isolated atom, B = b + b0: with c(B - z) + (B - z) A (B - z)/2,
    z what bzeroflag subtracts, and d = b0 - z, this is c d + d A d/2 + (c + A d) b + b A b/2.
    """
    count = architecture.invariants
    own, isolated = _isolated(architecture, bool(settings.wselfallflag))
    rest = np.zeros_like(isolated) if settings.bzeroflag else isolated
    constant, beta = coefficients[:, 0], coefficients[:, 1 : 1 + count]
    if not architecture.quadratic:
        weights = weight_table(architecture.layout, beta, architecture.normalised)
        shift = -np.sum(beta * isolated, axis=1)
        return constant + np.sum(beta * rest, axis=1), {"self": own, "shift": shift, "W": weights.ravel()}
    # The square of a component has the factor 1/2 in the file.
    alpha = _symmetric(coefficients[:, 1 + count :], count)
    slope = beta + np.einsum("sab,sb->sa", alpha, rest)
    references = constant + np.sum((beta + slope) / 2 * rest, axis=1)
    return references, {"self": own, "shift": -isolated.ravel(), "beta": slope.ravel(), "alpha": alpha.ravel()}


def _isolated(architecture: SnapArchitecture, everywhere: bool) -> tuple[Array, Array]:
    """What an atom adds to its own sums, flat, and the components [species, invariants] of an isolated atom.

    It is the unit matrix, u_q00 = sqrt(q + 1), in the channel of its own element, or ``everywhere``.
    """
    layout, species, channels = architecture.layout, architecture.n_species, architecture.channels
    there = np.ones((species, channels)) if everywhere or channels == 1 else np.eye(species)
    sizes = [np.sqrt(np.array(layout.qs(0, parity)) + 1.0) for parity in (0, 1)]
    own = [(there[:, :, None] * size).reshape(species, -1) for size in sizes]
    value = np.array([1.0 if architecture.normalised else q + 1.0 for _, _, q in components(layout.twojmax)])
    isolated = np.einsum("sa,sb,sc,k->sabck", there, there, there, value).reshape(species, -1)
    return np.concatenate(own, axis=1).ravel(), isolated


def _equal_where_components_are(architecture: SnapArchitecture, coefficients: Array) -> bool:
    """Whether components with the same pairs (j, element) have the same coefficients, but for rounding."""
    found: dict[tuple[tuple[int, int], ...], int] = {}
    first: list[int] = []
    for channels in product(range(architecture.channels), repeat=3):
        for qs in components(architecture.twojmax):
            first.append(found.setdefault(tuple(sorted(zip(qs, channels, strict=True))), len(first)))
    count = architecture.invariants
    tables = [coefficients[:, 1 : 1 + count]]
    if architecture.quadratic:
        tables.append(_symmetric(coefficients[:, 1 + count :], count))
    return all(np.allclose(t, t[:, first], rtol=1e-9, atol=1e-9 * float(np.max(np.abs(t)))) for t in tables)


def _symmetric(upper: Array, count: int) -> Array:
    """Matrices [species, count, count] from their upper triangles, row by row."""
    rows, columns = np.triu_indices(count)
    out = np.empty((len(upper), count, count))
    out[:, rows, columns] = upper
    out[:, columns, rows] = upper
    return out


def _metadata(file: SnapFile, species: Sequence[str], zbl: ZBL | None, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "format": "SNAP",
        "species": list(species),
        "species_order_matters": bool(file.settings.chemflag or file.settings.switchinnerflag),
        "zbl": None if zbl is None else [zbl.inner, zbl.outer],
        "notes": list(notes),
        "file": file.to_json(),
    }


def _content(metadata: Mapping[str, Any]) -> SnapFile:
    if metadata.get("format") != "SNAP":
        raise ModelFileError(
            f"only a SNAP potential can be written as SNAP files, this one is of {metadata.get('format') or 'no file'}"
        )
    return SnapFile.from_json(metadata["file"])


def _with_suffix(path: Path, suffix: str) -> Path:
    named = path.suffix in (COEFFICIENTS, PARAMETERS)
    return path.with_suffix(suffix) if named else path.with_name(path.name + suffix)


def _paths(path: Path, parameters: Path | None) -> tuple[Path, Path]:
    """The files of coefficients and of settings."""
    if parameters is not None:
        return path, parameters
    if path.suffix == PARAMETERS:
        found = (path.with_suffix(COEFFICIENTS), path)
    else:
        found = (path, path.with_suffix(PARAMETERS))
    for there in found:
        if not there.exists():
            raise ModelFileError(
                f"a SNAP potential is two files, and there is no {there}; if it has another name, give path "
                "(coefficients) and parameters (settings)"
            )
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path} is no text; expected a SNAP file of LAMMPS") from error
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
