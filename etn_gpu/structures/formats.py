"""Which format a file is in: as it was told, by its content, or by its name."""

from __future__ import annotations

import io
from difflib import get_close_matches

from etn_gpu.errors import DataError
from etn_gpu.structures.content import (
    PACEMAKER,
    foreign,
    is_extended_xyz,
    is_lammps_data,
    is_ml_ab,
    is_mlip_cfg,
    is_sqlite,
    is_xyz,
)
from etn_gpu.structures.frame import reason

XYZ = "extxyz"
MLIP = "mlip-cfg"
ML_AB = "ml-ab"
DEEPMD = "deepmd"
#: Formats that are read here and not by ASE; names of ASE's that mean XYZ are read here too.
OWN = (XYZ, MLIP, ML_AB, DEEPMD)
_OTHER_NAMES = {
    "xyz": XYZ,
    "mlip": MLIP,
    "mtp": MLIP,
    "mlab": ML_AB,
    "ml_ab": ML_AB,
    "poscar": "vasp",
    "contcar": "vasp",
    "xdatcar": "vasp-xdatcar",
    "outcar": "vasp-out",
    "vasprun": "vasp-xml",
    "vasprun.xml": "vasp-xml",
    "dump": "lammps-dump-text",
    "lammps-dump": "lammps-dump-text",
    "sqlite": "db",
}
#: Formats of servers: no file is read, a connection is opened.
_NO_FILES = ("mysql", "postgresql")
_XYZ_SUFFIXES = (".xyz", ".extxyz")
_PICKLE_SUFFIXES = (".pkl", ".pckl", ".pickle")


def check_format(name: str) -> str:
    """The name of a format as it is used here.

    Raises:
        DataError: neither ASE nor this reader has one of that name.
    """
    from ase.io.formats import ioformats

    usual = _OTHER_NAMES.get(name.lower(), name.lower())
    readable = {form for form, how in ioformats.items() if how.can_read and form not in _NO_FILES}
    if usual in OWN or usual in readable:
        return usual
    near = get_close_matches(usual, [*OWN, *readable, *_OTHER_NAMES], n=5, cutoff=0.5)
    raise DataError(
        f"no format {name!r} of structures"
        + (f"; did you mean {', '.join(near)}?" if near else ".")
        + f" Expected one of ASE's (command: ase info --formats), or {', '.join(OWN)}."
    )


def format_of(source: str, name: str, head: bytes) -> str:
    """The format of a file called `name` that begins with `head`.

    Raises:
        DataError: it is in none that can be read; the message says what it is, if that is known.
    """
    if (what := foreign(head)) is not None:
        raise DataError(f"not a file of structures that is read here: it is {what}.", source)
    if is_mlip_cfg(head):
        return MLIP
    if is_ml_ab(head):
        return ML_AB
    lower = name.lower()
    if lower.endswith(_XYZ_SUFFIXES) or is_extended_xyz(head):
        return XYZ
    if is_lammps_data(head):
        return "lammps-data"  # by its name, .data is RuNNer's for ASE
    found = _guess(source, name, head)
    if found is not None:
        return found
    if is_xyz(head):
        return XYZ
    if is_sqlite(head):
        return "db"
    if ".pckl" in lower or lower.endswith(_PICKLE_SUFFIXES):
        raise DataError(f"not a file of structures that is read here: it is {PACEMAKER}.", source)
    raise DataError(
        "not a file of structures in any format ASE reads. If it is one, name its format with --format.", source
    )


def _guess(source: str, name: str, head: bytes) -> str | None:
    """What ASE makes of name and content."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    stream = io.BytesIO(head)
    stream.name = f"./{name}"
    try:
        form = filetype(stream)
    except UnknownFileTypeError:
        return None
    except Exception as error:
        raise DataError(f"not a file of structures in any format ASE reads ({reason(error)}).", source) from error
    form = _OTHER_NAMES.get(form, form)
    known = form in ioformats and ioformats[form].can_read and form not in _NO_FILES
    return form if known else None
