"""Files by their content: compressed and packed whatever their name, with a byte order mark, from a pipe, foreign."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from etn_gpu.errors import DataError
from etn_gpu.structures import read_structures

STRUCTURES = [bulk("Al", cubic=True), bulk("Ni", cubic=True), bulk("W", cubic=True)]


def content(form: str) -> bytes:
    """The three structures in a format of ASE."""
    if form == "traj":
        stream = io.BytesIO()
        write(stream, STRUCTURES, format="traj")
        return stream.getvalue()
    text = io.StringIO()
    write(text, STRUCTURES, format=form)
    return text.getvalue().encode()


def zipped(data: bytes, *names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(data: bytes, *names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def formulas(path: Path | str, index: str = ":") -> list[str]:
    return [frame.atoms.get_chemical_formula() for frame in read_structures(path, index) if frame.atoms is not None]


EXPECTED = [atoms.get_chemical_formula() for atoms in STRUCTURES]
PACK = {
    "plain": lambda data, name: data,
    "gzip": lambda data, name: gzip.compress(data),
    "bzip2": lambda data, name: bz2.compress(data),
    "xz": lambda data, name: lzma.compress(data),
    "zip": lambda data, name: zipped(data, f"folder/{name}"),
    "tar": lambda data, name: tarred(data, name),
    "tar.gz": lambda data, name: gzip.compress(tarred(data, name)),
    "gzip in zip": lambda data, name: zipped(gzip.compress(data), f"{name}.gz"),
    "with a readme": lambda data, name: zipped(data, name, "README.md", "__MACOSX/._x"),
}


@pytest.mark.parametrize("how", PACK)
@pytest.mark.parametrize(("form", "inside"), [("extxyz", "a.xyz"), ("extxyz", "train.txt"), ("traj", "a.traj")])
def test_packed_files_are_known_by_content(tmp_path: Path, how: str, form: str, inside: str) -> None:
    path = tmp_path / ("train.txt" if form == "extxyz" else "a.dat")
    path.write_bytes(PACK[how](content(form), inside))
    assert formulas(path) == EXPECTED
    assert formulas(path, "-2:") == EXPECTED[-2:]


def test_an_unpacked_file_that_is_named_as_packed(tmp_path: Path) -> None:
    (tmp_path / "a.xyz.gz").write_bytes(content("extxyz"))
    assert formulas(tmp_path / "a.xyz.gz") == EXPECTED


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_of_several_files_are_refused(tmp_path: Path, pack: object) -> None:
    (tmp_path / "a.bin").write_bytes(pack(content("extxyz"), "a.xyz", "b.xyz"))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"archive with 2 files \(a.xyz, b.xyz\): expected a single file.*Unpack it"):
        read_structures(tmp_path / "a.bin")


@pytest.mark.parametrize("form", ["extxyz", "vasp", "cif"])
def test_byte_order_mark(tmp_path: Path, form: str) -> None:
    text = io.BytesIO() if form == "cif" else io.StringIO()
    write(text, STRUCTURES if form == "extxyz" else STRUCTURES[:1], format=form)
    value = text.getvalue()
    data = value if isinstance(value, bytes) else value.encode()
    path = tmp_path / {"extxyz": "a.xyz", "vasp": "POSCAR", "cif": "a.cif"}[form]
    path.write_bytes(b"\xef\xbb\xbf" + data)
    assert formulas(path) == EXPECTED[: 3 if form == "extxyz" else 1]
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + data))
    assert formulas(path) == EXPECTED[: 3 if form == "extxyz" else 1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.xyz").write_bytes(content("extxyz").decode().encode(encoding))
    with pytest.raises(DataError, match=r"it is text in UTF-16. Save it as UTF-8"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xyz", b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
        ("a.parquet", b"PAR1" + bytes(20), "a Parquet file"),
        ("a.npy", b"\x93NUMPY\x01\0" + bytes(20), "a NumPy array"),
        ("a.xyz.zst", b"\x28\xb5\x2f\xfd" + bytes(20), r"packed by zstd, .*Unpack it first \(zstd -d"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(20), "packed by 7z"),
        ("a.pckl", b"\x80\x04\x95" + bytes(20), "a pickle, like the pckl.gzip of pacemaker.*pandas.read_pickle"),
        ("a.pckl.gzip", gzip.compress(b"\x80\x05\x95" + bytes(20), mtime=0), "a pickle.*Unpickling runs code"),
        ("data.mdb", bytes(16) + b"\xde\xc0\xef\xbe" + bytes(20), "an LMDB database"),
        ("a.etn", (99).to_bytes(8, "little") + b'{"__metadata__":{}}', "a file of tensors, like a model of etn-gpu"),
        ("a.xyz", b"<!DOCTYPE html><html>", "a web page"),
        ("a.pdf", b"%PDF-1.7 ", "a PDF document"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"not a file of structures that is read here: it is {message}"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize("name", ["mysql://a", "postgresql"])
def test_names_of_servers_are_names_of_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content("extxyz"))
    assert formulas(path) == EXPECTED


@pytest.mark.parametrize("how", ["plain", "gzip", "zip", "tar.gz"])
@pytest.mark.parametrize("form", ["extxyz", "traj"])
@pytest.mark.parametrize("index", [":", "-1:"])
def test_a_pipe_is_read_once(tmp_path: Path, how: str, form: str, index: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = PACK[how](content(form), "a")
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    try:
        assert formulas(pipe, index) == (EXPECTED if index == ":" else EXPECTED[-1:])
    finally:
        writer.join()


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content("extxyz"))))
    assert formulas("-") == EXPECTED


def test_folders_and_locked_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder: expected a file of structures, or a folder of DeePMD"):
        read_structures(tmp_path)
    (tmp_path / "a.xyz").write_bytes(content("extxyz"))
    with pytest.raises(DataError, match=r"a.xyz: a file: expected the folder with type.raw"):
        read_structures(tmp_path / "a.xyz", format="deepmd")
    with pytest.raises(DataError, match=r"a.xyz/b.xyz: cannot be read \(NotADirectoryError"):
        read_structures(tmp_path / "a.xyz" / "b.xyz")


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(gzip.compress(b"0" * (40 << 20)))
    (frame,) = read_structures(tmp_path / "a.xyz")
    assert "expected the number of atoms" in str(frame.error)
