"""`.yace` files: what they say is kept to the last digit; what they cannot say is refused with the line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.pace import read_pace
from etn_gpu.interop.pace_file import parse_pace, read_pace_file
from etn_gpu.interop.pace_write import pace_text, write_pace

FOLDER = Path(__file__).parent / "references"
FILES = sorted(FOLDER.glob("pace_*.yace"))
SMALL = """\
elements: [Al, Ni]
E0: [0, -1.5]
deltaSplineBins: 0.001
embeddings:
  0: {ndensity: 1, FS_parameters: [1, 1], npoti: FinnisSinclair, rho_core_cutoff: 100000, drho_core_cutoff: 250}
  1: {ndensity: 2, FS_parameters: [1, 1, 1, 0.5], npoti: FinnisSinclairShiftedScaled, rho_core_cutoff: 3, drho_core_cutoff: 2}
bonds:
  [0, 0]: {nradmax: 1, lmax: 1, nradbasemax: 2, radbasename: ChebExpCos, radparameters: [3], radcoefficients: [[[1, 0.25], [2, 3]]], prehc: 0, lambdahc: 1, rcut: 5, dcut: 0.01}
  [0, 1]: {nradmax: 1, lmax: 1, nradbasemax: 1, radbasename: ChebPow, radparameters: [2], radcoefficients: [[[1], [2]]], prehc: 0, lambdahc: 1, rcut: 4, dcut: 0.01, rcut_in: 0, dcut_in: 0, inner_cutoff_type: density}
  [1, 0]: {nradmax: 1, lmax: 1, nradbasemax: 1, radbasename: ChebPow, radparameters: [2], radcoefficients: [[[1], [2]]], prehc: 0, lambdahc: 1, rcut: 4, dcut: 0.01}
  [1, 1]: {nradmax: 0, lmax: 0, nradbasemax: 1, radbasename: SBessel, radparameters: [2], radcoefficients: [], prehc: 9, lambdahc: 1, rcut: 6, dcut: 0.01}
functions:
  0:
    - {mu0: 0, rank: 1, ndensity: 1, num_ms_combs: 1, mus: [0], ns: [2], ls: [0], ms_combs: [0], ctildes: [-1.5158666430168033]}
    - {mu0: 0, rank: 2, ndensity: 1, num_ms_combs: 2, mus: [0, 1], ns: [1, 1], ls: [1, 1], ms_combs: [0, 0, 1, -1], ctildes: [1, -2.0000000000000005e-05]}
  1: []
"""  # noqa: E501


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_python_ace_are_written_as_they_were(path: Path, tmp_path: Path) -> None:
    write_pace(read_pace_file(path), tmp_path / "copy.yace")
    assert (tmp_path / "copy.yace").read_text() == path.read_text()


def test_a_small_file_is_written_as_it_was() -> None:
    assert pace_text(parse_pace(SMALL, "small")) == SMALL


def test_block_style_says_the_same() -> None:
    block = SMALL.replace("elements: [Al, Ni]", "elements:\n  - Al\n  - Ni").replace(
        "  [0, 0]: {", "  ? - 0\n    - 0\n  : {"
    )
    assert parse_pace(block, "block") == parse_pace(SMALL, "small")


BAD = [
    ("E0: [0, -1.5]", "E0: [0]", 2, "E0 of the file holds 1 numbers, expected 2"),
    ("E0: [0, -1.5]", "E0: [0, x]", 2, "expected a number"),
    ("E0: [0, -1.5]", "E0: [0, .inf]", 2, "expected a number"),
    ("E0: [0, -1.5]", "E0: [0, inf]", 2, "expected a finite number"),
    ("E0: [0, -1.5]", "E9: [0, -1.5]", 2, "unknown key 'E9' of the file"),
    ("elements: [Al, Ni]", "elements: [Al, Al]", 1, "different chemical symbols"),
    ("elements: [Al, Ni]", "elements: [Al, Xy]", 1, "different chemical symbols"),
    ("elements: [Al, Ni]", "elements: [Al, Ni, W]", 5, "has 2 species, but there are 3 elements"),
    ("deltaSplineBins: 0.001\n", "", 1, "the file lacks deltaSplineBins"),
    ("npoti: FinnisSinclair,", "npoti: Quartic,", 5, "embedding 'Quartic' is not known; known are FinnisSinclair"),
    ("FS_parameters: [1, 1, 1, 0.5]", "FS_parameters: [1, 1]", 6, "a weight and an exponent per density"),
    ("FS_parameters: [1, 1, 1, 0.5]", "FS_parameters: [1, 1, 1, -2]", 6, "exponents of densities must be above 0"),
    ("  1: {ndensity: 2", "  2: {ndensity: 2", 6, "expected a whole number from 0 to 1"),
    ("  1: {ndensity: 2", "  0: {ndensity: 2", 6, "has species 0 twice"),
    ("  [0, 0]: {", "  [0, 2]: {", 8, "expected a whole number from 0 to 1"),
    ("  [0, 1]: {", "  [0, 0]: {", 9, r"the pair \[0, 0\] twice"),
    ("  [1, 0]: {nradmax: 1", "  [1, 1]: {nradmax: 1", 11, r"the pair \[1, 1\] twice"),
    ("ChebExpCos", "Laguerre", 8, "radial functions 'Laguerre' are not known; known are ChebExpCos"),
    ("ChebExpCos", "ACE.jl.base", 8, "radial functions 'ACE.jl.base' are not known"),
    ("ChebExpCos, radparameters: [3]", "ChebExpCos, radparameters: [0]", 8, "needs a parameter other than 0"),
    ("ChebPow, radparameters: [2]", "ChebPow, radparameters: [0.5]", 9, "needs a parameter of at least 1"),
    ("radcoefficients: [[[1, 0.25], [2, 3]]]", "radcoefficients: [[[1, 0.25], [2]]]", 8, "holds 1 numbers, expected 2"),
    ("radcoefficients: [[[1, 0.25], [2, 3]]]", "radcoefficients: [[[1, 0.25]]]", 8, "has 1 l, expected 2"),
    ("radcoefficients: [[[1, 0.25], [2, 3]]]", "radcoefficients: []", 8, "has 0 n, expected 1"),
    ("rcut: 5,", "rcut: -5,", 8, "rcut must be a distance in A above 0"),
    ("rcut: 5, dcut: 0.01", "rcut: 5, dcut: 7", 8, "dcut must lie between 0 and rcut"),
    ("rcut: 5, dcut: 0.01", "rcut: 5, dcut: 0.01, smooth: 1", 8, "unknown key 'smooth' of the bond"),
    ("inner_cutoff_type: density", "inner_cutoff_type: cosine", 9, "inner_cutoff_type 'cosine' is not known"),
    ("inner_cutoff_type: density", "inner_cutoff_type: distance", 8, "takes the last for all: make them equal"),
    ("rcut: 5, dcut: 0.01", "rcut: 5, dcut: 0.01, inner_cutoff_type: zbl", 8, "give it a width dcut_in above 0"),
    ("rcut_in: 0, dcut_in: 0,", "rcut_in: 2, dcut_in: 1,", 9, "would jump at rcut_in - dcut_in"),
    ("mu0: 0, rank: 1", "mu0: 1, rank: 1", 14, "mu0 is 1 among the functions of species 0"),
    ("rank: 1, ndensity: 1", "rank: 1, ndensity: 2", 14, "ndensity is 2, but the embedding of species 0 has 1"),
    ("ns: [2]", "ns: [3]", 14, "expected a whole number from 1 to 2"),
    ("ns: [1, 1]", "ns: [1, 2]", 15, "expected a whole number from 1 to 1"),
    ("ls: [1, 1]", "ls: [1, 2]", 15, "expected a whole number from 0 to 1"),
    ("ls: [0]", "ls: [1]", 14, "expected a whole number from 0 to 0"),
    ("mus: [0, 1]", "mus: [0, 2]", 15, "expected a whole number from 0 to 1"),
    ("mus: [0, 1]", "mus: [0]", 15, "holds 1 numbers, expected 2"),
    ("ms_combs: [0, 0, 1, -1]", "ms_combs: [0, 0, 1]", 15, "holds 3 numbers, expected 4"),
    ("ms_combs: [0, 0, 1, -1]", "ms_combs: [0, 0, 2, -2]", 15, "goes beyond l"),
    ("ms_combs: [0, 0, 1, -1]", "ms_combs: [0, 0, 1, 0]", 15, "does not sum to 0: no invariant"),
    ("ctildes: [-1.5158666430168033]", "ctildes: [1, 2]", 14, "holds 2 numbers, expected 1"),
    ("rank: 2", "rank: 99", 15, "expected a whole number from 1 to 8"),
    ("rank: 2", "rank: two", 15, "expected a whole number from 1 to 8"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD)
def test_bad_files_are_refused_with_the_line(old: str, new: str, line: int, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ModelFileError, match=rf"bad\.yace, line {line}: .*(?:{message})"):
        parse_pace(SMALL.replace(old, new, 1), "bad.yace")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("MTP\nversion = 1.1.0\n", "the file is no mapping"),
        ("{" * 2000, "no YAML|too deep"),
        ("elements: [Al", "no YAML, as a .yace file is"),
        ("a: 1\n---\nb: 2\n", "no YAML"),
        ("species: []\n", "a B-basis of pacemaker"),
        ("elements: !!python/object/apply:os.system [ls]\n", "unknown|lacks"),
    ],
)
def test_foreign_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        parse_pace(text, "bad.yace")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot read"):
        read_pace_file(tmp_path / "missing.yace")
    (tmp_path / "binary.yace").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelFileError, match="is no text"):
        read_pace_file(tmp_path / "binary.yace")


@given(end=st.integers(0, len(SMALL) - 1))
@settings(max_examples=60)
def test_truncated_files_are_refused(end: int) -> None:
    """Unless what is cut is only the end of a line, or the list of functions, which may be short."""
    found = None
    with suppress(ModelFileError):
        found = parse_pace(SMALL[:end], "cut.yace")
    assert found in (None, parse_pace(SMALL, "small"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("drho_core_cutoff: 2", "drho_core_cutoff: 0", "would jump at rho_core"),
        ("drho_core_cutoff: 2", "drho_core_cutoff: 5", "is -2, below 0"),
    ],
)  # fmt: skip
def test_what_is_not_done(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = SMALL.replace(old, new)
    (tmp_path / "a.yace").write_text(text)
    with pytest.raises(ModelFileError, match=message):
        read_pace(tmp_path / "a.yace")
