"""Files that are no models are named for what they are."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from etn_gpu.errors import ModelFileError
from etn_gpu.potential import load, shipped_models
from etn_gpu.potential.file_kinds import describe
from etn_gpu.structures.elements import SYMBOLS

SETFL = "Potential of nobody\n\n\n2 Al Ni\n1000 0.1 1000 0.01 6.0\n13 26.98 4.05 fcc\n"
KINDS = {
    "an MTP potential (MLIP)": "MTP\nversion = 1.1.0\npotential_name = MTP1m\n",
    "a NEP potential (GPUMD)": "nep4_zbl 2 Al Ni\nzbl 1 2\ncutoff 6 5\n",
    "a PACE potential (yace)": "elements: [Al, Ni]\nE0: [0, 0]\ndeltaSplineBins: 0.001\n",
    "SNAP coefficients (LAMMPS)": "# of nobody\n\n1 31\nMo 0.5 1\n-17.7\n0.02\n",
    "SNAP parameters (LAMMPS)": "# of nobody\nrcutfac 4.6\ntwojmax 6\n",
    "an EAM or alloy potential (setfl)": SETFL,
    "an EAM potential (funcfl)": "Cu functions\n   29     63.550         3.6150    FCC\n 500 5.0e-4 500 1.0e-2 4.95\n",
    "a Tersoff or Stillinger-Weber potential (LAMMPS)": "# Si\nSi Si Si 2.1683 2.0951 1.80\n 21.0 1.20\n",
    "an XML file, perhaps a GAP potential (QUIP)": '<GAP_params label="GAP">\n<gpSparse n_coordinate="2">\n',
    "JSON": '{"architecture": {"cutoff": 5.0}}\n',
    "extended XYZ": '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nAl 0 0 0\nAl 2 2 2\n',
    "XYZ, a structure": "2\nwater without hope\nO 0.0 0.0 0.1\nH 0.0 0.7 -0.4\n",
    "a VASP POSCAR": "Al\n1.0\n4.0 0.0 0.0\n0.0 4.0 0.0\n0.0 0.0 4.0\nAl\n1\nDirect\n0 0 0\n",
    "a CIF file": "data_Al\n_cell_length_a 4.05\n",
    "a LAMMPS dump": "ITEM: TIMESTEP\n0\n",
    "an HTML page, perhaps of a download": "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
    "a Git LFS pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 26152\n",
    "a file of blank lines": "\n" * 20,
    "a text file": "To whom it may concern: the model is attached.\n",
}
BINARY = {
    "an empty file": b"",
    "a file that holds nothing but zeros": bytes(4000),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a NumPy array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'",
    "a pickle of Python objects": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00",
    "a file compressed with gzip; inside is an MTP": gzip.compress(b"MTP\nversion = 1.1.0\n"),
    "a file compressed with gzip that is truncated": gzip.compress(b"MTP\nversion = 1.1.0\n")[:15],
    "a file compressed with xz": b"\xfd7zXZ\x00" + bytes(30),
}


@pytest.mark.parametrize("kind", [*KINDS, *BINARY])
def test_it_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.etn"
    path.write_bytes(BINARY[kind] if kind in BINARY else KINDS[kind].encode())
    with pytest.raises(ModelFileError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is {kind}")
    assert str(caught.value).endswith("expected a model file of etn_gpu (*.etn) or the name of a shipped model "
                                      f"({', '.join(shipped_models())})")  # fmt: skip


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name in names:
            opened.writestr(name, b"something")
    return file.getvalue()


def test_archives_are_named_for_what_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content, kind in (
        (archive("archive/data.pkl", "archive/data/0"), "a PyTorch file"),
        (archive("weights.npy"), "an archive of NumPy arrays (.npz)"),
        (archive("readme.txt"), "a ZIP archive"),
        (archive("readme.txt")[:-9], "a ZIP archive that is truncated or damaged"),
    ):
        path.write_bytes(content)
        assert describe(path) == kind
    with tarfile.open(path, "w") as opened:
        opened.add(__file__, "test.py")
    assert describe(path) == "a tar archive"


def test_models_and_checkpoints_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    assert describe(shipped_models()["mo"]) == "a model of etn_gpu"
    np.savez(tmp_path / "c.npz", header=np.array("{}"), theta=np.zeros(1), best_theta=np.zeros(1))
    with pytest.raises(ModelFileError, match=r"c\.npz is a checkpoint of etn-gpu train, .*etn-gpu train --resume"):
        load(tmp_path / "c.npz")


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(bytes(range(128, 256)) * 9)
    assert describe(path) is None
    assert describe(tmp_path / "missing") is None


def test_symbols_are_those_of_ase() -> None:
    from ase.data import chemical_symbols

    assert list(SYMBOLS) == chemical_symbols[1:]
