"""What a file is by its first bytes: packed, a format that is read here, or something else that can be named."""

from __future__ import annotations

import re

#: How much of a file is looked at.
PEEK = 50_000
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
_TAR = slice(257, 262)
#: Beginnings of packed files for which Python has no module, and what unpacks them.
_UNPACKED_BY = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"7z\xbc\xaf\x27\x1c": ("7z", "7z x"),
    b"Rar!": ("rar", "unrar x"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"\x1f\x9d": ("compress (.Z)", "uncompress"),
}
_TO_EXTXYZ = "Write its structures and labels as extended XYZ with ASE"
_FOREIGN = {
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file. {_TO_EXTXYZ}: ase.io.write('train.extxyz', structures)",
    b"PAR1": f"a Parquet file. {_TO_EXTXYZ}: read the table with pandas, and build ase.Atoms from its columns",
    b"\x93NUMPY": "a NumPy array. A DeePMD data set is given as its folder, with type.raw and set.*/coord.npy",
    b"%PDF": "a PDF document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"\x7fELF": "a program",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT = b"\t\n\r" + bytes(range(32, 127))
_UTF8_MARK = b"\xef\xbb\xbf"
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:\x95|[c}\](X\x8c])", re.DOTALL)
_LMDB = b"\xde\xc0\xef\xbe"
_LMDB_AT = 16
_MODEL = re.compile(rb".{8}\{\s*\"__metadata__\"", re.DOTALL)
_HTML = re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE)
_XYZ = re.compile(rb"\s*\d{1,15}[ \t]*\r?\n[^\n]*\n[ \t]*(?:[A-Za-z]{1,2}|\d{1,3})(?:[ \t]+[-+.\deEdD]+){3}")
_EXTENDED = re.compile(rb"\s*\d{1,15}[ \t]*\r?\n[^\n]*\b(?:properties|lattice)\s*=", re.IGNORECASE)

#: Lines of Python that turn a data set of pacemaker into extended XYZ.
PACEMAKER = (
    "a pickle, like the pckl.gzip of pacemaker. Unpickling runs code from the file, so it is not read here. If you "
    "trust it, convert it: import pandas, ase.io; from ase.calculators.singlepoint import SinglePointCalculator as C; "
    "t = pandas.read_pickle('FILE', compression='gzip'); "
    "[setattr(a, 'calc', C(a, energy=e, forces=f)) for a, e, f in zip(t.ase_atoms, t.energy, t.forces)]; "
    "ase.io.write('train.extxyz', list(t.ase_atoms))"
)
_LAMMPS_HEADER = (rb"^[ \t]*\d+[ \t]+atoms\b", rb"^[ \t]*\d+[ \t]+atom[ \t]+types\b", rb"[ \t]xlo[ \t]+xhi\b")


def compression(head: bytes) -> str | None:
    """gzip, bzip2 or xz, if these first bytes are of such a file."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def archive(head: bytes) -> str | None:
    """Tar or zip, if these first bytes are of such a file."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    return "tar" if head[_TAR] == b"ustar" else None


def byte_order_mark(head: bytes) -> int:
    """How many bytes at the beginning only say that the rest is UTF-8."""
    return len(_UTF8_MARK) if head.startswith(_UTF8_MARK) else 0


def foreign(head: bytes) -> str | None:
    """What a file of these first bytes is, when it is none of structures that could be read, and what to do."""
    if head.startswith(_UTF16) or any(map(_every_other_byte_is_text, (head[:8], head[1:9]))):
        return "text in UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE)"
    for magic, (name, command) in _UNPACKED_BY.items():
        if head.startswith(magic):
            return f"packed by {name}, which Python cannot unpack. Unpack it first ({command} FILE)"
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            return what
    if _PICKLE.match(head):
        return PACEMAKER
    if head[_LMDB_AT : _LMDB_AT + len(_LMDB)] == _LMDB:
        return f"an LMDB database. {_TO_EXTXYZ}: ase.io.write('train.extxyz', structures)"
    if _MODEL.match(head):
        return "a file of tensors, like a model of etn-gpu, and no structures. A command takes the model first"
    return "a web page. Download the file itself" if _HTML.match(head) else None


def _every_other_byte_is_text(head: bytes) -> bool:
    text = head[::2]
    return len(text) > 1 and not any(head[1::2]) and all(byte in _TEXT for byte in text)


def is_sqlite(head: bytes) -> bool:
    """Whether it is a database of SQLite, as ase.db writes."""
    return head.startswith(b"SQLite format 3\0")


def is_mlip_cfg(head: bytes) -> bool:
    """Whether it is a data set of MLIP; AtomEye's files have the same suffix."""
    return head.lstrip().startswith(b"BEGIN_CFG")


def is_ml_ab(head: bytes) -> bool:
    """Whether it is training data of VASP's force fields (ML_AB)."""
    lines = [line.strip() for line in head[:2000].splitlines() if line.strip()]
    first = lines[0].split() if lines else []
    return len(first) == 2 and first[1] == b"Version" and b"The number of configurations" in lines[:4]


def is_xyz(head: bytes) -> bool:
    """Whether it looks like XYZ: a count, any line, an element and three numbers."""
    return is_extended_xyz(head) or _XYZ.match(head) is not None


def is_extended_xyz(head: bytes) -> bool:
    """Whether it is extended XYZ beyond doubt."""
    return _EXTENDED.match(head) is not None


def is_lammps_data(head: bytes) -> bool:
    """Whether a file begins like a data file of LAMMPS: a title, then counts and the box in any order."""
    header = head.partition(b"\n")[2]
    return all(re.search(pattern, header, re.MULTILINE) for pattern in _LAMMPS_HEADER)
