"""Structures from files, one at a time, whatever the format and however long the file."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from etn_gpu.errors import DataError
from etn_gpu.structures.ase_frames import ase_frames
from etn_gpu.structures.deepmd import deepmd_frames, is_deepmd
from etn_gpu.structures.formats import DEEPMD, ML_AB, MLIP, XYZ, check_format, format_of
from etn_gpu.structures.frame import Frame, Pending, made, reason
from etn_gpu.structures.ml_ab import ml_ab_frames
from etn_gpu.structures.mlip_cfg import mlip_frames
from etn_gpu.structures.opening import UNREADABLE, InputFile
from etn_gpu.structures.species_map import check_species
from etn_gpu.structures.xyz_blocks import CutFrame, block_frames, cut_frames
from etn_gpu.structures.xyz_frames import RawFrame
from etn_gpu.structures.xyz_parse import parse_frame

if TYPE_CHECKING:
    from os import PathLike


class _Lined(Protocol):
    @property
    def line(self) -> int: ...


Cut = TypeVar("Cut", bound=_Lined)
_BUNDLE = "bundletrajectory"
_BUNDLE_FILE = "metadata.json"


def read_structures(
    path: str | PathLike[str],
    index: int | str = ":",
    *,
    format: str | None = None,
    species: Sequence[str] | None = None,
) -> Iterator[Frame]:
    """Stream the structures of a file in any format that ASE reads, of MLIP (.cfg), ML_AB or a DeePMD folder.

    Files compressed with gzip, bzip2 or xz, tar and zip archives of a single file, and pipes are read as well; "-" is
    standard input. Only one frame is in memory at a time (formats that ASE itself reads whole excepted). A broken frame
    comes as a Frame with its error, and reading goes on at the next where the format allows it; where it does not,
    `untried` of the last frame says how many are behind it. A frame that stands for no structure of atoms, because a
    site is shared or partly occupied, is a broken one.

    Args:
        path: the file or folder.
        index: which frames, in ASE's notation: 0, "-1", ":", "10:100", "::5".
        format: the name of one of ASE's formats, or "mlip-cfg", "ml-ab", "deepmd"; by default it is found by content.
        species: elements in the order of the types, for files that number them: LAMMPS dumps without a column element,
            .cfg of MLIP, POSCAR of VASP 4; ("Z",) where the numbers are atomic numbers.

    Raises:
        DataError: at the call, when there is no such file, when it is empty, when its format is unknown or known and
            not read here, or when an argument is none; while reading, when there is no structure in it.
    """
    path = Path(path)
    wanted = _parse_index(index)
    form, names = _checked(format, species)
    if path.is_dir():
        begin = _folder(path, form, names)
    else:
        begin = _file(InputFile(path), form, names, again=_counts_from_the_end(wanted))
    return _frames(begin, wanted, _nothing(path, index))


def cut_structures(
    path: str | PathLike[str],
    first: int = 0,
    *,
    format: str | None = None,
    species: Sequence[str] | None = None,
) -> Iterator[Frame | CutFrame]:
    """The structures of :func:`read_structures` from number `first` on, most of a plain extended XYZ file not yet read.

    Of such a file whoever opens it can read a range of bytes; what is packed, a pipe or of another format is read here,
    and so is what is cut line by line.
    """
    path = Path(path)
    form, names = _checked(format, species)
    nothing = _nothing(path, f"{first}:" if first else ":")
    if path.is_dir():
        begin = _folder(path, form, names)
    else:
        file = InputFile(path)
        form = form or format_of(file.source, file.name, file.head)
        if form == XYZ and file.begin is not None:
            return _cut(file, first, names, nothing)
        begin = _file(file, form, names, again=False)
    return _frames(begin, slice(first, None), nothing)


def _checked(format: str | None, species: Sequence[str] | None) -> tuple[str | None, Sequence[str] | None]:
    form = None if format is None else check_format(format)
    return form, None if species is None else check_species(species)


def _nothing(path: Path, index: int | str) -> DataError:
    return DataError("no structure found" + ("." if index == ":" else f" at index {index}."), str(path))


def _cut(file: InputFile, first: int, species: Sequence[str] | None, nothing: DataError) -> Iterator[Frame | CutFrame]:
    empty = True
    for index, found in enumerate(_raw_frames(file, partial(cut_frames, offset=file.begin or 0))):
        if index >= first:
            empty = False
            yield found if isinstance(found, CutFrame) else parse_frame(found, index, file.source, species)
    if empty:
        raise nothing


def _frames(begin: Callable[[], Iterator[Pending]], wanted: slice, nothing: DataError) -> Iterator[Frame]:
    if _counts_from_the_end(wanted):
        wanted = slice(*wanted.indices(sum(1 for _ in begin())))
    empty = True
    for pending in itertools.islice(begin(), wanted.start, wanted.stop, wanted.step):
        empty = False
        yield pending()
    if empty:
        raise nothing


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


def _counts_from_the_end(wanted: slice) -> bool:
    return (wanted.start or 0) < 0 or (wanted.stop or 0) < 0


def _folder(path: Path, form: str | None, species: Sequence[str] | None) -> Callable[[], Iterator[Pending]]:
    """The frames of a folder: a DeePMD data set, or one of ASE's bundles."""
    if form == DEEPMD or (form is None and is_deepmd(path)):
        return lambda: made(deepmd_frames(path, species))
    if form == _BUNDLE or (form is None and (path / _BUNDLE_FILE).is_file()):
        return lambda: ase_frames(path, str(path), _BUNDLE, species)
    raise DataError(
        "a folder: expected a file of structures, or a folder of DeePMD with type.raw and set.*/coord.npy. Give the "
        "files in it.",
        str(path),
    )


def _file(
    file: InputFile, form: str | None, species: Sequence[str] | None, *, again: bool
) -> Callable[[], Iterator[Pending]]:
    """The frames of a file that can be read `again` if need be."""
    form = form or format_of(file.source, file.name, file.head)
    if form == DEEPMD:
        raise DataError("a file: expected the folder with type.raw and set.*/coord.npy.", file.source)
    if again:
        file.keep()
    if form == XYZ:
        return lambda: _xyz(file, species)
    if form == MLIP:
        return lambda: made(_mlip(file, species))
    if form == ML_AB:
        return lambda: made(_ml_ab(file))
    return lambda: _by_ase(file, form, species)


def _xyz(file: InputFile, species: Sequence[str] | None) -> Iterator[Pending]:
    for index, raw in enumerate(_raw_frames(file, block_frames)):
        yield partial(parse_frame, raw, index, file.source, species)


def _raw_frames(file: InputFile, cut: Callable[[BinaryIO], Iterator[Cut | RawFrame]]) -> Iterator[Cut | RawFrame]:
    line = 0
    try:
        with file.binary() as stream:
            for raw in cut(stream):
                line = raw.line
                yield raw
    except UNREADABLE as error:
        if line == 0:
            raise DataError(f"cannot be read ({reason(error)}).", file.source) from error
        fault = f"the file cannot be read beyond the frame before, which starts there ({reason(error)})"
        yield RawFrame(line, (), fault=fault, ends=True)


def _mlip(file: InputFile, species: Sequence[str] | None) -> Iterator[Frame]:
    with file.text() as stream:
        yield from mlip_frames(stream, file.source, species)


def _ml_ab(file: InputFile) -> Iterator[Frame]:
    with file.text() as stream:
        yield from ml_ab_frames(stream, file.source)


def _by_ase(file: InputFile, form: str, species: Sequence[str] | None) -> Iterator[Pending]:
    with file.path() as path:
        yield from ase_frames(path, file.source, form, species)
