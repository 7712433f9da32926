"""Suffixes that promise something else than what is written: ``-o rows.parquet`` would hold CSV."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.identity import AnyPath, is_stream

__all__ = ["JSON", "MODEL", "PAGE", "POTENTIAL", "ROWS", "STRUCTURES", "Content", "check_suffix"]

#: Suffixes with a known meaning, each line of a kind. Any other, or none, promises nothing and is free.
_NAMES = """
csv tsv tab psv xlsx xls xlsm xlsb ods parquet pq feather arrow ipc orc avro rds rda sav dta sas7bdat
json jsonl ndjson json5 bson yaml yml toml xml ini conf lock h5 hdf5 hdf he5 nc nc4 cdf zarr npy npz mat
pkl pickle joblib db db3 sqlite sqlite3 duckdb mdb lmdb aselmdb
gz tgz bz2 tbz2 xz txz lzma zst zstd lz4 br zip 7z rar tar z
etn safetensors pt pth ckpt onnx pb tflite keras gguf model
mtp almtp yace ace nep snap snapcoeff snapparam eam alloy fs adp meam tersoff sw table cfg
xyz extxyz exyz cif mcif traj bundle vasp poscar contcar outcar xdatcar pdb ent mol mol2 sdf gro g96 xsf axsf lammps lmp
lammpstrj dump data gen res cell castep xtl xsd car arc gjf com pwi pwo in dcd xtc trr struct cube con aims
png jpg jpeg svg pdf eps ps gif tif tiff bmp webp
txt log out dat md rst tex html htm doc docx odt rtf
py ipynb sh bash c h cpp cu f f90 js r jl m
"""
_KNOWN = frozenset(_NAMES.split())
_TEXT = frozenset({"txt", "log", "out", "dat"})


@dataclass(frozen=True)
class Content:
    """What is written, in words; the suffixes that say so, ``.gz`` after them where it is compressed; an example."""

    what: str
    suffixes: frozenset[str]
    example: str
    compressible: bool = False


ROWS = Content("rows are written as CSV", _TEXT | {"csv"}, "results.csv or results.csv.gz", compressible=True)
PAGE = Content("a report is written as HTML", frozenset({"html", "htm"}), "report.html")
JSON = Content("errors are written as JSON", _TEXT | {"json"}, "errors.json")
STRUCTURES = Content(
    "structures are written as extended XYZ",
    frozenset({"xyz", "extxyz", "exyz"}),
    "chosen.extxyz or chosen.extxyz.gz",
    compressible=True,
)
MODEL = Content("a model file is written", frozenset({"etn", "model", "safetensors"}), "model.etn")
POTENTIAL = Content(
    "a potential is written", MODEL.suffixes | {"mtp", "snapcoeff", "snapparam", "yace"}, "model.etn or pot.mtp"
)


def check_suffix(path: AnyPath, content: Content, error: type[EtnGpuError]) -> None:
    """Refuses a name that promises another format than that of its content; pipes and the like may have any name.

    Raises:
        error: the suffix has another meaning.
    """
    suffixes = [suffix[1:].lower() for suffix in PurePath(path).suffixes]
    if content.compressible and suffixes[-1:] == ["gz"]:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _KNOWN - content.suffixes and not is_stream(path):
        raise error(
            f"{content.what}, and the suffix .{suffix} of {os.fspath(path)} means something else: name it like "
            f"{content.example}"
        )
