"""What a file is that is not what was expected: told by its first bytes, never by its name."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

MODEL = "a model of etn_gpu"
CHECKPOINT = "a checkpoint of etn-gpu train, not its model; go on with it by etn-gpu train --resume"
#: Potentials of other methods.
MTP, NEP, PACE = "an MTP potential (MLIP)", "a NEP potential (GPUMD)", "a PACE potential (yace)"
SNAP_COEFFICIENTS, SNAP_PARAMETERS = "SNAP coefficients (LAMMPS)", "SNAP parameters (LAMMPS)"
#: Enough of a file to know it by.
HEAD_BYTES = 4096

_MAGIC = (
    (b"BZh", "a file compressed with bzip2"),
    (b"\xfd7zXZ\x00", "a file compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF\x01", "a NetCDF file"),
    (b"CDF\x02", "a NetCDF file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"SQLite format 3\x00", "an SQLite database (perhaps of ASE)"),
    (b"- of Ulm", "an ASE trajectory or another ULM file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x7fELF", "a program or library (ELF)"),
    (b"GGUF", "a GGUF language model"),
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer, not the file itself; run git lfs pull"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_SAFETENSORS = re.compile(rb".{8}\s*\{", re.DOTALL)
_ELEMENT = r"[A-Z][a-z]?"


def describe(path: Path) -> str | None:
    """What the file is, as a noun with its article ('a NEP potential (GPUMD)'); None for one that is not recognised."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if not head:
        return "an empty file"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path)
    if head.startswith(b"\x1f\x8b"):
        return _gzip(path)
    return _of_bytes(head)


def _of_bytes(head: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _PICKLE.match(head):
        return "a pickle of Python objects (perhaps of PyTorch or scikit-learn), which is never read"
    if not any(head):
        return "a file that holds nothing but zeros: its content was lost when it was copied or downloaded"
    if _SAFETENSORS.match(head) and not _is_text(head):
        return MODEL if b'"etn_gpu"' in head else "a safetensors file"
    return _text(head) if _is_text(head) else None


def _archive(path: Path) -> str:
    """A ZIP file by its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a ZIP archive that is truncated or damaged"
    if {"header.npy", "theta.npy", "best_theta.npy"} <= set(names):
        return CHECKPOINT
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "a PyTorch file"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)"
    return "a ZIP archive"


def _gzip(path: Path) -> str:
    """A compressed file by what is inside."""
    try:
        with gzip.open(path) as file:
            inside = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return "a file compressed with gzip that is truncated or damaged"
    return f"a file compressed with gzip; inside is {_of_bytes(inside) or 'something else'}"


def _is_text(head: bytes) -> bool:
    """Whether the bytes are text: without control characters, and mostly ASCII whatever the encoding."""
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return False
    # Eight bytes may be what is left of a binary file.
    return len(head) > 8 and sum(byte < 128 for byte in head) > 0.8 * len(head)


def _text(head: bytes) -> str | None:
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff")
    if not text.strip():
        return "a file of blank lines"
    for kind, fits in _TEXTS:
        if fits(text):
            return kind
    return "a text file"


def _starts(*patterns: str) -> Callable[[str], bool]:
    """Whether a text starts with one of some patterns; case does not matter, nor comments and blank lines before."""
    compiled = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]

    def fits(text: str) -> bool:
        lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
        rest = "\n".join(lines).lstrip()
        return any(pattern.match(rest) for pattern in compiled)

    return fits


def _has(*patterns: str) -> Callable[[str], bool]:
    """Whether each of some patterns is found in a text."""
    compiled = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
    return lambda text: all(pattern.search(text) for pattern in compiled)


def _snap_coefficients(text: str) -> bool:
    """A line with two counts, then one with an element, its radius and its weight."""
    return _starts(rf"\d+\s+\d+\s*\n\s*{_ELEMENT}\s+[-+.\deE]+\s+[-+.\deE]+\s*\n")(text)


def _setfl(text: str) -> bool:
    """Three lines of comments, then the number of elements and their names."""
    lines = text.splitlines()
    return len(lines) > 4 and re.match(rf"\s*(\d+)(\s+{_ELEMENT})+\s*$", lines[3]) is not None


def _funcfl(text: str) -> bool:
    """A comment, then atomic number, mass, lattice constant and lattice."""
    lines = text.splitlines()
    return len(lines) > 2 and re.match(r"\s*\d+\s+[\d.]+\s+[\d.eE+-]+\s+(fcc|bcc|hcp|dia)", lines[1], re.I) is not None


def _plain_xyz(text: str) -> bool:
    """A count, a comment, and a line with an element and three numbers."""
    return re.match(rf"\s*\d+\s*\n.*\n\s*{_ELEMENT}(\s+[-+]?\d[\d.eE+-]*){{3}}", text) is not None


def _poscar(text: str) -> bool:
    """A comment, a scale, three vectors."""
    real = r"[ \t]*[-+]?[\d.]+([eE][-+]?\d+)?[ \t]*"
    return re.match(rf".*\n{real}\n(({real}){{3}}\n){{3}}", text) is not None


_TEXTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (MTP, _starts(r"MTP\s*\n")),
    (NEP, _starts(r"nep\d*(_\w+)?\s+\d+\s+[A-Z]")),
    (PACE, _has(r"^elements:", r"^(E0|embeddings|deltaSplineBins):")),
    (SNAP_COEFFICIENTS, _snap_coefficients),
    (SNAP_PARAMETERS, _has(r"^\s*rcutfac\s", r"^\s*twojmax\s")),
    ("an HTML page, perhaps of a download that needs a login or another link", _starts(r"<!doctype html", r"<html")),
    ("an XML file, perhaps a GAP potential (QUIP) or a vasprun.xml", _starts(r"<\?xml", r"<(GAP_params|modeling|pot)")),
    ("a configuration of an MTP training set (MLIP .cfg)", _starts(r"BEGIN_CFG")),
    ("extended XYZ, structures and no model", _has(r"^\s*\d+\s*$", r"(?i)(lattice|properties)\s*=")),
    ("XYZ, a structure and no model", _plain_xyz),
    ("a LAMMPS dump, structures and no model", _starts(r"ITEM:")),
    ("a CIF file, a structure and no model", _starts(r"data_\S+\s*\n", r"_cell_length")),
    ("JSON", _starts(r"\{\s*(\"|\})", r"\[\s*[\[{\"\d\]-]")),
    ("a Tersoff or Stillinger-Weber potential (LAMMPS)", _starts(rf"({_ELEMENT}\s+){{3}}[-+.\d]")),
    ("an EAM or alloy potential (setfl)", _setfl),
    ("an EAM potential (funcfl)", _funcfl),
    ("a VASP POSCAR, a structure and no model", _poscar),
    ("a Python script", _starts(r"(import|from)\s+\w+", r"#!.*python")),
)
