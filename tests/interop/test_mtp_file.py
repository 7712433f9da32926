"""Files of moment tensor potentials: what is read, what is refused and why."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.errors import DataError, ModelFileError
from etn_gpu.interop.mtp import mtp_file, read_mtp
from etn_gpu.interop.mtp_file import MtpFile, read_mtp_file, write_mtp_file
from etn_gpu.interop.translation import Translation

from .mtp_cases import CASES, REAL

TEXT = """MTP
version = 1.1.0
potential_name = MTP1m
scaling = 2.500000000000000e-01
species_count = 2
potential_tag = a = b
radial_basis_type = RBChebyshev
\tmin_dist = 1.5
\tmax_dist = 5.000000000000000e+00
\tradial_basis_size = 3
\tradial_funcs_count = 1
\tradial_coeffs
\t\t0-0
\t\t\t{1.0, 2.0e-01, -3}
\t\t0-1
\t\t\t{1.0, 2.0e-01, -3.1}
\t\t1-0
\t\t\t{1.0, 2.0e-01, -3.2}
\t\t1-1
\t\t\t{1.0, 2.0e-01, -3.3}
alpha_moments_count = 6
alpha_index_basic_count = 4
alpha_index_basic = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}
alpha_index_times_count = 4
alpha_index_times = {{0, 0, 1, 4}, {1, 1, 1, 5}, {2, 2, 1, 5}, {3, 3, 1, 5}}
alpha_scalar_moments = 3
alpha_moment_mapping = {0, 4, 5}
species_coeffs = {-8.1, -9.25}
moment_coeffs = {0.1, 1e-05, -3.5}
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "potential.mtp"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def assert_same(a: MtpFile, b: MtpFile) -> None:
    for name, value in vars(a).items():
        assert np.array_equal(value, getattr(b, name)) if isinstance(value, np.ndarray) else value == getattr(b, name)


def test_says_what_is_there(tmp_path: Path) -> None:
    file = read_mtp_file(write(tmp_path, TEXT))
    assert (file.potential_name, file.potential_tag, file.scaling) == ("MTP1m", "a = b", 0.25)
    assert (file.types, file.min_dist, file.max_dist, file.alpha_moments_count) == ((0, 1), 1.5, 5.0, 6)
    assert file.radial_coeffs.shape == (2, 2, 1, 3)
    assert file.radial_coeffs[1, 0, 0].tolist() == [1.0, 0.2, -3.2]
    assert file.alpha_index_basic[1].tolist() == [0, 1, 0, 0]
    assert file.alpha_index_times[3].tolist() == [3, 3, 1, 5]
    assert file.alpha_moment_mapping.tolist() == [0, 4, 5]
    assert file.species_coeffs.tolist() == [-8.1, -9.25]
    assert file.moment_coeffs.tolist() == [0.1, 1e-05, -3.5]
    assert file.active_set is None


def test_names_of_mlip_3_and_motep_and_other_ends_of_lines(tmp_path: Path) -> None:
    plain = read_mtp_file(write(tmp_path, TEXT))
    for names in (("min_val", "max_val", "basis_size"), ("min", "max", "size")):
        text = TEXT
        for old, new in zip(("min_dist", "max_dist", "radial_basis_size"), names, strict=True):
            text = text.replace(old, new)
        assert_same(read_mtp_file(write(tmp_path, text)), plain)
    assert_same(read_mtp_file(write(tmp_path, TEXT.replace("\n", "\r\n"))), plain)
    moved = TEXT.replace("scaling = 2.500000000000000e-01\n", "").replace("\tmin_dist", "\tscaling = 0.25\n\tmin_dist")
    assert_same(read_mtp_file(write(tmp_path, moved)), plain)
    without = TEXT.replace("scaling = 2.500000000000000e-01\n", "")
    assert read_mtp_file(write(tmp_path, without)).scaling == 1.0


def test_types_are_those_of_the_heads(tmp_path: Path) -> None:
    text = TEXT.replace("\t1-1", "\t12-12").replace("\t1-0", "\t12-3").replace("\t0-1", "\t3-12")
    file = read_mtp_file(write(tmp_path, text.replace("\t0-0", "\t3-3")))
    assert file.types == (3, 12)
    write_mtp_file(tmp_path / "again.mtp", file)
    assert "\t\t3-12\n" in (tmp_path / "again.mtp").read_text()


@pytest.mark.parametrize("name", CASES)
def test_is_written_and_read_without_loss(name: str, tmp_path: Path) -> None:
    file = CASES[name].file()
    write_mtp_file(tmp_path / "a.mtp", file)
    assert_same(read_mtp_file(tmp_path / "a.mtp"), file)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_published_potentials_are_written_and_read_without_loss(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        pytest.skip("ETN_GPU_POTENTIALS names no folder of published potentials")
    file = read_mtp_file(Path(folder) / name)
    again = mtp_file(read_mtp(Path(folder) / name, species=REAL[name]))
    assert_same(again, file)
    write_mtp_file(tmp_path / "a.mtp", again)
    assert_same(read_mtp_file(tmp_path / "a.mtp"), file)


COEFFICIENTS = 2 * 2 * 1 * 3 + 2 + 3
WEIGHTS = b"energy_weight 1.0e+00\nforce_weight 0\nstress_weight 0\nsite_en_weight 0.5\nweight_scaling 2\n"
ACTIVE = b"#MVS_v1.1\n" + WEIGHTS + b"#" + np.linspace(0, 1, 2 * COEFFICIENTS**2).tobytes() + b"\n#\n0 0\n#\nBEGIN_CFG"


def test_an_active_set_is_kept_in_files(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT.encode() + ACTIVE)
    file = read_mtp_file(path)
    assert file.active_set is not None
    assert file.active_set.weights["site_en_weight"] == 0.5
    write_mtp_file(tmp_path / "again.almtp", file)
    assert_same(read_mtp_file(tmp_path / "again.almtp"), file)
    translation = read_mtp(path, species=["Al", "Ni"])
    assert translation.metadata["mtp"]["active_set"]["coefficients"] == COEFFICIENTS
    assert mtp_file(translation).active_set is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (ACTIVE[:-2000], r"ends after \d+ bytes of its matrices, expected 4624 for 17 coefficients"),
        (ACTIVE.replace(b"stress_weight", b"virial_weight"), "does not begin with the line #MVS_v1.1 and the weights"),
        (b"#MVS_v1.1\n", "does not begin with the line"),
        (ACTIVE.replace(b"force_weight 0", b"force_weight x"), "does not begin with the line"),
    ],
)
def test_damaged_active_sets_are_refused(content: bytes, match: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=match):
        read_mtp_file(write(tmp_path, TEXT.encode() + content))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("MTP\n", "", "no potential of MLIP: its first line is 'version = 1.1.0', expected MTP"),
        ("1.1.0", "2.0", "line 2: version '2.0', expected 1.1.0"),
        ("version = 1.1.0\n", "", "no entry 'version': it is incomplete"),
        ("RBChebyshev", "RBShapeev", "line 7: radial_basis_type 'RBShapeev' is not done here, only RBChebyshev"),
        ("RBChebyshev", "RBChebyshev_repuls", "line 7: radial_basis_type 'RBChebyshev_repuls' is not done here"),
        ("\tmin_dist", "magnetic_basis_type = BChebyshev\n\tmin_dist", "line 8: .* belongs to a magnetic MTP"),
        ("\tmin_dist", "\tscaling = 2\n\tmin_dist", "line 8: 'scaling' is given a second time, after line 4: motep"),
        ("\tmin_dist", "\tradial_envelope = 1\n\tmin_dist", "line 8: 'radial_envelope = 1' is no entry"),
        ("\tmin_dist = 1.5", "\tmin_dist = 1.5\n\tmin_val = 1.5", "line 9: 'min_val' is given a second time"),
        ("min_dist = 1.5", "min_dist = 5.5", "line 9: max_dist is 5 A, expected more than 0 and min_dist 5.5"),
        ("min_dist = 1.5", "min_dist = nan", "line 8: min_dist holds 'nan', expected finite numbers"),
        ("min_dist = 1.5", "min_dist = 1_5", "line 8: min_dist holds '1_5', expected finite numbers"),
        ("size = 3", "size = three", "line 10: radial_basis_size is 'three', expected an integer from 1 on"),
        ("size = 3", "size = 4", "line 14: 3 radial coefficients, expected 4"),
        ("size = 3", "size = 500", "line 10: radial_basis_size 500, at most 64"),
        ("funcs_count = 1", "funcs_count = 2", "line 13: the block 0-0 has 1 functions, expected 2"),
        ("species_count = 2", "species_count = 3", "line 12: radial_coeffs has 4 blocks, expected 9 for"),
        ("\t0-1", "\t1-0", "line 15: the block 1-0 is in the place of 0-0: MLIP-2"),
        ("\t1-1", "\t0-0", "line 19: the block 0-0 is in the place of 1-1: MLIP-2 goes by the place, MLIP-3 by"),
        ("{1.0, 2.0e-01, -3.1}", "{1.0, 2.0e-01}", "line 16: 2 radial coefficients, expected 3"),
        ("-3.1}", "-inf}", "line 16: radial_coeffs holds '-inf', expected finite numbers"),
        ("-3.1}", "-3.1", "line 16: radial_coeffs is '.*', expected a list in braces; the line may be cut off"),
        ("alpha_moments_count = 6\n", "", "no entry 'alpha_moments_count'"),
        ("basic_count = 4", "basic_count = 5", "line 23: alpha_index_basic has 4 items, expected 5"),
        ("{0, 1, 0, 0}", "{1, 1, 0, 0}", "line 23: a basic moment has the radial function 1, expected 0..0"),
        ("{0, 1, 0, 0}", "{0, -1, 0, 0}", r"line 23: the basic moment \[0, -1, 0, 0\]"),
        ("{0, 1, 0, 0}", "{0, 17, 0, 0}", r"line 23: the basic moment \[0, 17, 0, 0\]: .* degrees up to 16"),
        ("{0, 1, 0, 0}", "{0, 1, 0}", "line 23: alpha_index_basic has the row '0, 1, 0', expected four integers"),
        ("{0, 1, 0, 0}", "{0, 1, 0, x}", "line 23: alpha_index_basic holds 'x', expected integers"),
        ("{0, 1, 0, 0}", "7, {0, 1, 0, 0}", "line 23: alpha_index_basic is no list of rows"),
        ("times_count = 4", "times_count = 3", "line 25: alpha_index_times has 4 items, expected 3"),
        ("{1, 1, 1, 5}", "{1, 6, 1, 5}", r"line 25: the row {1, 6, 1, 5}, number 1, names moments that there are not"),
        ("{1, 1, 1, 5}", "{1, 1, 1, 3}", r"line 25: the row {1, 1, 1, 3}, number 1, names moments that there are not"),
        ("{1, 1, 1, 5}", "{1, 5, 1, 5}", r"the row {1, 5, 1, 5}, number 1, reads a moment to which it, or a row"),
        ("{1, 1, 1, 5}", "{1, 1, 9999999999, 5}", "line 25: alpha_index_times holds '9999999999', expected integers"),
        ("{0, 4, 5}", "{0, 4, 6}", r"line 27: moment 6, expected 0\.\.5"),
        ("{0, 4, 5}", "{0, 4}", "line 27: alpha_moment_mapping has 2 items, expected 3"),
        ("{-8.1, -9.25}", "{-8.1}", "line 28: species_coeffs has 1 items, expected 2"),
        ("{0.1, 1e-05, -3.5}", "{0.1, 1e-05}", "line 29: moment_coeffs has 2 items, expected 3"),
        ("{0.1, 1e-05, -3.5}", "{0.1, 1e-05, }", "line 29: moment_coeffs holds '', expected finite numbers"),
        ("{0.1, 1e-05, -3.5}", "{0.1, 1e-05, 1e999}", "line 29: moment_coeffs holds '1e999'"),
        ("moment_coeffs = {0.1, 1e-05, -3.5}\n", "", "no moment_coeffs: it is a template that no training has filled"),
        ("species_coeffs = {-8.1, -9.25}\n", "", "no species_coeffs: it is a template"),
        ("moment_coeffs", "hello = 1\nmoment_coeffs", "line 29: 'hello = 1' is no entry of an MTP file"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(old: str, new: str, match: str, tmp_path: Path) -> None:
    assert old in TEXT
    with pytest.raises(ModelFileError, match=match):
        read_mtp_file(write(tmp_path, TEXT.replace(old, new, 1)))


def test_templates_are_refused(tmp_path: Path) -> None:
    lines = TEXT.splitlines(keepends=True)
    template = "".join(lines[:11] + lines[20:27])
    for text in (template, template.replace("species_count = 2\n", ""), "".join(lines[:12] + lines[20:27])):
        with pytest.raises(ModelFileError, match="no radial_coeffs: it is a template that no training has filled, or"):
            read_mtp_file(write(tmp_path, text))


def test_empty_energies_and_unordered_types_are_refused(tmp_path: Path) -> None:
    text = TEXT.replace("{0, 4, 5}", "{}").replace("scalar_moments = 3", "scalar_moments = 0")
    with pytest.raises(ModelFileError, match="line 26: the energy has no moments"):
        read_mtp_file(write(tmp_path, text))
    swapped = TEXT.translate(str.maketrans("", ""))
    for old, new in (("\t0-0", "\tA"), ("\t1-1", "\t0-0"), ("\tA", "\t1-1"), ("\t0-1", "\tA"), ("\t1-0", "\t0-1")):
        swapped = swapped.replace(old, new)
    with pytest.raises(ModelFileError, match="the types 1, 0, in this order: MLIP-2 goes by the place, MLIP-3 by"):
        read_mtp_file(write(tmp_path, swapped.replace("\tA", "\t1-0")))


@pytest.mark.parametrize(
    ("species", "match"),
    [
        (["Al"], "has 2 species and no names for them; got Al, expected 2 different elements"),
        (["Al", "Ni", "Co"], "got Al, Ni, Co, expected 2 different elements"),
        (["Al", "al"], "got Al, Al, expected 2 different elements"),
    ],
)
def test_species_are_those_of_the_file(species: list[str], match: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=match):
        read_mtp(write(tmp_path, TEXT), species=species)


def test_species_are_elements(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'Xx' is none"):
        read_mtp(write(tmp_path, TEXT), species=["Al", "Xx"])
    with pytest.raises(DataError, match="expected chemical symbols"):
        read_mtp(write(tmp_path, TEXT), species=[])


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the potential .*none.mtp: No such file"):
        read_mtp_file(tmp_path / "none.mtp")
    with pytest.raises(ModelFileError, match="cannot read the potential"):
        read_mtp_file(tmp_path)
    with pytest.raises(ModelFileError, match="its first line is '', expected MTP"):
        read_mtp_file(write(tmp_path, ""))
    with pytest.raises(ModelFileError, match="no potential of MLIP: its first line is"):
        read_mtp_file(write(tmp_path, bytes(range(256))))
    with pytest.raises(ModelFileError, match="is damaged: byte 10 is no text"):
        read_mtp_file(write(tmp_path, b"MTP\nversio\xff"))


def test_what_is_no_mtp_is_not_written() -> None:
    class Other:
        method = "SNAP"

    other = Translation(Other(), {}, np.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ModelFileError, match="a potential of the method SNAP cannot be written as an MTP"):
        mtp_file(other)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TEXT) - 3))
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ModelFileError):
        read_mtp_file(write(Path(folder), TEXT[:length]))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_a_wrong_byte_never_gives_a_traceback(at: int, byte: int) -> None:
    content = bytearray(TEXT.encode())
    content[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), bytes(content))
        with suppress(ModelFileError):
            read_mtp(path, species=["Al", "Ni"])
