"""SNAP files: what is read is written again to the last digit, and bad ones are refused with the line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.snap import read_snap, translate, write_snap
from etn_gpu.interop.snap_file import SnapElement, SnapFile, SnapSettings, check_species, expected_counts, parse, texts
from tests.interop.snap_cases import CASES, seed

SETTINGS = "rcutfac 4.7\ntwojmax 0\nrfac0 0.9 # a comment\n\n"
COEFFICIENTS = "# two elements\n2 2\nTa 0.5 1.0\n-1.0\n0.25\nW 0.45 0.8\n\n-2\n1e-1\n"
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def test_files_are_read() -> None:
    file = parse(COEFFICIENTS, SETTINGS)
    assert file.elements == (
        SnapElement("Ta", 0.5, 1.0, (-1.0, 0.25)),
        SnapElement("W", 0.45, 0.8, (-2.0, 0.1)),
    )
    assert file.settings == SnapSettings(4.7, 0, rfac0=0.9)


@given(st.lists(NUMBERS, min_size=4, max_size=4), NUMBERS, st.integers(0, 20), st.integers(0, 1))
def test_what_is_written_is_read_to_the_last_digit(values: list[float], weight: float, twojmax: int, flag: int) -> None:
    elements = (SnapElement("Ta", 0.1, weight, tuple(values[:2])), SnapElement("W", 0.3, -weight, tuple(values[2:])))
    settings = SnapSettings(4.7, twojmax, 0.7, 0.1 + 0.2, flag, 1 - flag, flag, flag, flag, 1 - flag)
    file = SnapFile(elements, replace(settings, switchinnerflag=1, sinner=(2.1, 1 / 3), dinner=(0.1, 0.7)))
    for one in (file, replace(file, settings=settings)):
        assert parse(*texts(one)) == one
        assert SnapFile.from_json(one.to_json()) == one


@pytest.mark.parametrize("name", ["alloy", "chem inner"])
def test_a_potential_is_written_back(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    file = case.file(seed(name))
    write_snap(translate(file, case.species), tmp_path / "one.two")
    again = read_snap(tmp_path / "one.two.snapparam", species=case.species)
    assert SnapFile.from_json(again.metadata["file"]) == file
    write_snap(again, tmp_path / "again.snapcoeff")
    for suffix in (".snapcoeff", ".snapparam"):
        assert (tmp_path / f"one.two{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()
    assert read_snap(
        tmp_path / "again.snapcoeff", tmp_path / "one.two.snapparam", species=case.species
    ).metadata == again.metadata  # fmt: skip


def test_what_lammps_no_longer_reads_is_left_out_and_noted() -> None:
    file = parse(COEFFICIENTS, SETTINGS + "diagonalstyle 3\nchunksize 2000\n")
    assert "diagonalstyle 3 is left out" in file.notes[0]
    assert "chunksize 2000" in file.notes[1]
    assert translate(file).metadata["notes"][:2] == list(file.notes)
    assert not any(word in texts(file)[1] for word in ("diagonalstyle", "chunksize"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "snapcoeff is empty; expected the coefficients"),
        ("# only a comment\n", "snapcoeff is empty"),
        (
            COEFFICIENTS[:-5],
            r"line 8: the file ends here: 2 element\(s\) with 2 coefficients take 6 lines, there are 5",
        ),
        (
            COEFFICIENTS + "0.5\n",
            r"line 10: 2 element\(s\) with 2 coefficients end before this line; correct .* line 2",
        ),
        (COEFFICIENTS.replace("2 2", "two 2"), "line 2: expected the numbers of elements and of coefficients"),
        (COEFFICIENTS.replace("2 2", "2"), "line 2: expected the numbers of elements"),
        ("rcutfac 4.7\n", "line 1: .* got 'rcutfac 4.7'; is this a .snapcoeff file"),
        (COEFFICIENTS.replace("W 0.45 0.8", "W 0.45"), "line 6: expected 'element radius weight', got 'W 0.45'"),
        (COEFFICIENTS.replace("W 0.45", "Ta 0.45"), "line 6: the element Ta is there twice"),
        (COEFFICIENTS.replace("W 0.45", "W -0.45"), "line 6: the radius of W must be positive, got -0.45"),
        (COEFFICIENTS.replace("0.25", "0.25 3"), "line 5: expected one coefficient of Ta, got '0.25 3'"),
        (COEFFICIENTS.replace("0.25", "nan"), "line 5: a coefficient of Ta must be a finite number, got 'nan'"),
        (COEFFICIENTS.replace("0.25", "1_0"), "line 5: a coefficient of Ta must be a finite number, got '1_0'"),
        (COEFFICIENTS.replace("0.8", "x"), "line 6: a weight must be a finite number, got 'x'"),
    ],
)
def test_bad_coefficients_are_refused(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        parse(text, SETTINGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "snapparam has no rcutfac and no twojmax; is this a .snapparam file"),
        ("rcutfac 4.7\n", "snapparam has no twojmax"),
        (SETTINGS + "diagonalstyle 2\n", "line 5: diagonalstyle 2 is not supported, only 3"),
        (SETTINGS + "gammaflag 1\n", "line 5: the setting 'gammaflag' is not known; settings are rcutfac, twojmax"),
        (SETTINGS + "twojmax 4\n", "line 5: twojmax was given in line 2 already"),
        (SETTINGS + "bzeroflag\n", "line 5: bzeroflag takes one value, got none"),
        (SETTINGS + "bzeroflag 0 1\n", "line 5: bzeroflag takes one value, got 0 1"),
        (SETTINGS + "bzeroflag 2\n", "line 5: bzeroflag must be an integer from 0 to 1, got '2'"),
        (SETTINGS + "rmin0 -1\n", "line 5: rmin0 must not be negative"),
        (SETTINGS + "rmin0 inf\n", "line 5: rmin0 must be a finite number, got 'inf'"),
        (SETTINGS.replace("0.9", "0"), "line 3: rfac0 must be positive"),
        (SETTINGS.replace("4.7", "-4.7"), "line 1: rcutfac must be positive, got -4.7"),
        (SETTINGS.replace("twojmax 0", "twojmax 3.5"), "line 2: twojmax must be an integer from 0 to 20, got '3.5'"),
        (SETTINGS.replace("twojmax 0", "twojmax 60"), "line 2: twojmax must be an integer from 0 to 20, got '60'"),
        (SETTINGS + "sinner 1.0 1.0\n", "line 5: sinner needs switchinnerflag 1"),
        (SETTINGS + "switchinnerflag 1\nsinner 1 1\n", "line 5: switchinnerflag 1 needs dinner, which is missing"),
        (SETTINGS + "switchinnerflag 1\nsinner 1 1\ndinner 0 1\n", "line 7: the widths dinner must be positive"),
    ],
)
def test_bad_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        parse(COEFFICIENTS, text)


@pytest.mark.parametrize(
    ("settings", "species", "message"),
    [
        ("", ["Ta", "Mo"], "has no coefficients of Mo; its elements are Ta, W"),
        ("", [], "one or more different elements, got \\[\\]"),
        ("", ["W", "W"], "one or more different elements"),
        ("chemflag 1\n", None, "chemflag 1: the order of the elements on the line pair_coeff .* \\['Ta', 'W'\\]"),
        (
            "quadraticflag 1\n",
            None,
            "2 coefficients for each element, but twojmax 0, quadraticflag 1 .* take 3; the two",
        ),
        ("chemflag 1\n", ["W", "Ta"], "chemflag 1 and 2 species take 9; .*, or species are missing"),
        ("switchinnerflag 1\nsinner 1 1 1\ndinner 1 1\n", ["W", "Ta"], "sinner has 3 values for 2 species"),
        ("rmin0 4.3\n", None, "rmin0 4.3 is not below the cutoff of 4.23 A"),
    ],
)
def test_species_and_counts_must_fit(settings: str, species: list[str] | None, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        translate(parse(COEFFICIENTS, SETTINGS + settings), species)


def test_names_of_elements_are_symbols() -> None:
    with pytest.raises(ModelFileError, match="calls an element 'Ta06', which is no chemical symbol"):
        translate(parse(COEFFICIENTS.replace("Ta", "Ta06"), SETTINGS))


def test_one_element_of_several_is_taken() -> None:
    file = parse(COEFFICIENTS, SETTINGS)
    check_species(file, ["W"])
    assert translate(file, ["W"]).formulation.cutoff == pytest.approx(2 * 0.45 * 4.7)
    assert translate(file).formulation.species == ("Ta", "W")
    assert expected_counts(file.settings, 2) == 2


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.snapcoeff"
    path.write_text(COEFFICIENTS)
    with pytest.raises(
        ModelFileError, match=r"two files, and there is no .*a\.snapparam; .* give path .* and parameters"
    ):
        read_snap(path)
    with pytest.raises(ModelFileError, match=r"cannot read .*: No such file"):
        read_snap(path, tmp_path / "none")
    path.with_suffix(".snapparam").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelFileError, match=r"a\.snapparam is no text"):
        read_snap(path)


@pytest.mark.parametrize("zbl", [(4.0, 3.0), (-1.0, 3.0), (1.0, float("inf")), (2.0, 2.0)])
def test_radii_of_the_repulsion_are_checked(tmp_path: Path, zbl: tuple[float, float]) -> None:
    for suffix, text in ((".snapcoeff", COEFFICIENTS), (".snapparam", SETTINGS)):
        (tmp_path / f"a{suffix}").write_text(text)
    with pytest.raises(ModelFileError, match="expected the two radii of 'pair_style zbl inner outer'"):
        read_snap(tmp_path / "a.snapcoeff", zbl=zbl)


def test_only_snap_is_written(tmp_path: Path) -> None:
    other = replace(translate(parse(COEFFICIENTS, SETTINGS)), metadata={"format": "MTP"})
    with pytest.raises(ModelFileError, match="only a SNAP potential can be written as SNAP files, this one is of MTP"):
        write_snap(other, tmp_path / "a")
    with pytest.raises(ModelFileError, match="no description of a SNAP potential"):
        write_snap(replace(other, metadata={"format": "SNAP", "file": {}}), tmp_path / "a")
    with pytest.raises(ModelFileError, match="cannot write the SNAP file"):
        write_snap(translate(parse(COEFFICIENTS, SETTINGS)), tmp_path / "none" / "a")
