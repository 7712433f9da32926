"""Structures from files, one at a time, whatever the format and however long the file."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import operator
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from etn_gpu.errors import DataError
from etn_gpu.structures.label_units import in_angstrom
from etn_gpu.structures.xyz_frames import RawFrame, xyz_frames
from etn_gpu.structures.xyz_values import restore_lopsided, usual_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from typing import TextIO

    from ase import Atoms

_XYZ_FORMATS = ("extxyz", "xyz")
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: What reading a damaged file may raise.
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Frame:
    """One structure of a file: `atoms`, or the `error` that kept it from being read; `index` counts from 0."""

    index: int
    atoms: Atoms | None
    error: DataError | None = None


def read_structures(path: str | PathLike[str], index: int | str = ":") -> Iterator[Frame]:
    """Stream the structures of a file in any format that ASE reads, also compressed (.gz, .bz2, .xz).

    Only one frame is in memory at a time (formats that ASE itself reads whole excepted). In XYZ files a broken frame
    comes as a Frame with its error and reading goes on at the next; in other formats it is the last frame.

    Args:
        path: the file.
        index: which frames, in ASE's notation: 0, "-1", ":", "10:100", "::5".

    Raises:
        DataError: at the call, when there is no such file, when it is empty or when its format is unknown; while
            reading, when there is no structure in it.
    """
    path = Path(path)
    wanted = _parse_index(index)
    form = _format_of(path)
    frames = _stream_xyz(path, wanted) if form in _XYZ_FORMATS else _stream_other(path, form, wanted)
    return _some(frames, f"{path}: no structure found" + ("." if wanted == slice(None) else f" at index {index}."))


def _some(frames: Iterator[Frame], message: str) -> Iterator[Frame]:
    empty = True
    for frame in frames:
        empty = False
        yield frame
    if empty:
        raise DataError(message)


def _parse_index(index: int | str) -> slice:
    try:
        if isinstance(index, str) and ":" in index:
            wanted = slice(*(int(part) if part.strip() else None for part in index.split(":")))
            if wanted.step is None or wanted.step > 0:
                return wanted
        else:
            start = int(index) if isinstance(index, str) else operator.index(index)
            return slice(start, start + 1 if start != -1 else None)
    except (TypeError, ValueError):
        pass
    raise DataError(f"index = {index!r}: expected a frame number or a forward slice such as ':', '10:100' or '::5'.")


def _resolve(wanted: slice, count: Callable[[], int]) -> slice:
    """The slice with indices counted from the start; the frames are counted only for negative ones."""
    if (wanted.start or 0) < 0 or (wanted.stop or 0) < 0:
        return slice(*wanted.indices(count()))
    return slice(wanted.start or 0, wanted.stop, wanted.step or 1)


def _format_of(path: Path) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    if not path.exists():
        raise DataError(f"{path}: no such file.")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected at least one structure.")
    if Path(path.stem if path.suffix in _OPENERS else path.name).suffix.lower() in (".xyz", ".extxyz"):
        return "extxyz"
    try:
        form = filetype(str(path))
    except (UnknownFileTypeError, *_UNREADABLE) as error:
        raise DataError(f"{path}: not a file of structures in any format ASE reads ({_reason(error)}).") from error
    if form not in ioformats or not ioformats[form].can_read:
        raise DataError(f"{path}: not a file of structures in any format ASE reads (looks like {form!r}).")
    return form


def _stream_xyz(path: Path, wanted: slice) -> Iterator[Frame]:
    selection = _resolve(wanted, lambda: sum(1 for _ in _raw_frames(path)))
    for k, raw in itertools.islice(enumerate(_raw_frames(path)), selection.start, selection.stop, selection.step):
        yield _parse_xyz(raw, k, path)


def _raw_frames(path: Path) -> Iterator[RawFrame]:
    # a stray byte in some comment must not end a long file
    opener: Callable[..., TextIO] = _OPENERS.get(path.suffix, open)
    line = 0
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as stream:
            for raw in xyz_frames(stream):
                line = raw.line
                yield raw
    except _UNREADABLE as error:
        if line == 0:
            raise DataError(f"{path}: cannot be read ({_reason(error)}).") from error
        yield RawFrame(line, "", f"the file cannot be read beyond the frame that starts here ({_reason(error)})")


def _parse_xyz(raw: RawFrame, index: int, path: Path) -> Frame:
    from ase.io import read

    place = f"{path}, frame {index} (line {raw.line})"
    if raw.fault is not None:
        return Frame(index, None, DataError(f"{place}: {raw.fault}."))
    try:
        count, comment, rows = (*raw.text.split("\n", 2), "")[:3]
        text = "\n".join((count, usual_values(comment), rows))
        atoms = cast("Atoms", read(io.StringIO(text), index=0, format="extxyz"))
        restore_lopsided(atoms, comment)
        return Frame(index, in_angstrom(atoms))
    except DataError as error:
        return Frame(index, None, DataError(f"{place}: {error}"))
    except Exception as error:  # ASE's parser raises whatever its conversions raise
        return Frame(index, None, DataError(f"{place}: not a valid XYZ frame ({_reason(error)})."))


def _stream_other(path: Path, form: str, wanted: slice) -> Iterator[Frame]:
    from ase.io import iread
    from ase.io.formats import ioformats

    single = ioformats[form].single

    def images(index: slice) -> Iterator[Atoms]:
        given = slice(None) if single else index
        found = iread(str(path), index=given, format=form, do_not_split_by_at_sign=True)
        return itertools.islice(found, index.start, index.stop, index.step) if single else found

    k = 0
    try:
        selection = _resolve(wanted, lambda: sum(1 for _ in images(slice(None))))
        for atoms in images(selection):
            yield Frame(selection.start + k * selection.step, in_angstrom(atoms))
            k += 1
    except Exception as error:  # each of ASE's readers has its own ways to fail
        if k == 0:
            raise DataError(f"{path}: not a readable {form} file ({_reason(error)}).") from error
        index = selection.start + k * selection.step
        yield Frame(index, None, DataError(f"{path}, frame {index}: not a readable {form} frame ({_reason(error)})."))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
