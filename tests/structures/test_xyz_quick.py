"""The quick reader of extended XYZ gives what the slow one gives, frame by frame; numbers are those of ``float``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etn_gpu.structures import read_structures, xyz_blocks, xyz_parse
from etn_gpu.structures.frame import Frame
from etn_gpu.structures.xyz_blocks import BlockFrame, block_frames
from etn_gpu.structures.xyz_frames import xyz_frames
from etn_gpu.structures.xyz_scan import scan

from .conftest import assert_same_frames, slowly

LATTICE = 'Lattice="3.1 0.0 0.0 0.0 3.2 0.0 0.0 0.1 3.3"'
PLAIN = f'{LATTICE} Properties=species:S:1:pos:R:3 pbc="T T T"'


def both_ways(text: str | bytes) -> tuple[list[Frame], list[Frame], list[object]]:
    """The frames by blocks and line by line, and what the blocks gave."""
    data = text if isinstance(text, bytes) else text.encode()
    raw = [*block_frames(io.BytesIO(data))]
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace")
    quick = [xyz_parse.parse_frame(frame, k, "a.xyz") for k, frame in enumerate(raw)]
    return quick, [slowly(frame, k, "a.xyz") for k, frame in enumerate(xyz_frames(lines))], [*raw]


def check(text: str | bytes) -> list[object]:
    quick, slow, raw = both_ways(text)
    assert len(quick) == len(slow)
    for one, two in zip(quick, slow, strict=True):
        assert_same_frames(one, two)
    return raw


def frames(header: str, *rows: str) -> str:
    body = "\n".join(rows)
    return f"{len(rows)}\n{header}\n{body}\n" * 3


ROWS = ("W 0.0 0.0 0.0", "Mo 1.5 -1.5e-3 1.25")
HEADERS = [
    "",
    "a comment",
    PLAIN,
    f"{PLAIN} energy=-1.5 config_type=bulk n=17 free_energy=-1.25",
    f'{PLAIN} stress="1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0"',
    f'{PLAIN} stress="1.0 0.5 0.0 0.0 1.0 0.0 0.0 0.0 1.0"',
    f'{PLAIN} virial="1 0 0 0 1 0 0 0 1" x="1 2 3" y="1.0 2.0" z="1.0,2.0" flag',
    f'{PLAIN} name="a b = c" empty="" path=a/b.xyz t=T f=F tf="T F" text="1.0 x" n=nan i=inf u=1_0.0',
    f"{PLAIN} uid=1.0 UID=7 units=metal",
    f"{PLAIN} length_unit=nm",
    f"{PLAIN} energy=1.0 energy=2.0",
    f"{PLAIN} energy=1.0d-3",
    f"{PLAIN}  big=123456789012345678901234567890 b2=99999999999999999999.5",
    f'{PLAIN} quote="it\'s" brace={{1 2}} list=[1,2] slash="a\\"b"',
    f"{PLAIN} \u00e5=\u00b5 \u2028x=1",
    'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3',
    'Lattice="3.0 0 0 0 3 0 0 0 3" pbc="T T F"',
    'Lattice="3.0 0 0 0 3 0 0 0 3" pbc="T"',
    'Lattice="3.0 0 0 0 3 0 0 0" Properties=species:S:1:pos:R:3',
    'Lattice="nan 0 0 0 3 0 0 0 3.0" Properties=species:S:1:pos:R:3 pbc="T T T"',
    'Lattice="1e400 0 0 0 3.0 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"',
    'lattice="3.0 0 0 0 3 0 0 0 3" pbc="F F F"',
    "pbc=T",
    f"{LATTICE}Properties=species:S:1:pos:R:3",
    f'{LATTICE} Properties=pos:R:3:species:S:1 pbc="T T T"',
    f'{LATTICE} Properties=1.0 pbc="T T T"',
    f'{LATTICE} Properties="1.0 2.0"',
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_headers(header: str, line_end: str) -> None:
    check(frames(header, *ROWS).replace("\n", line_end))


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("forces:R:3", "0.1 0.2 0.3"),
        ("forces:R:3", "0.1 0.2 x"),
        ("forces:R:3", "0.1 0.2"),
        ("energies:R:1:magmoms:R:1", "0.1 1_0.0"),
        ("tags:I:1", "3"),
        ("tags:I:1", "3.0"),
        ("tags:I:1", "99999999999"),
        ("group:I:2:ok:L:1", "1 2 T"),
        ("ok:L:1", "False"),
        ("ok:L:1", "yes"),
        ("label:S:1", "first"),
        ("label:S:2", "a b"),
        ("move_mask:L:1", "T"),
        ("move_mask:L:3", "T F T"),
        ("charge:R:1", "0.5"),
        ("initial_charges:R:1", "0.5"),
        ("Z:I:1", "74"),
        ("a:R:2:a1:R:1", "1.0 2.0 3.0"),
        ("positions:R:3", "1.0 2.0 3.0"),
        ("occupancy:R:1", "0.5"),
        ("q:R:0", ""),
        ("pos:R:3", "1.0 2.0 3.0"),
    ],
)
def test_columns(columns: str, row: str) -> None:
    header = f'{LATTICE} Properties=species:S:1:pos:R:3:{columns} pbc="T T T"'
    check(frames(header, *(f"{of} {row}" for of in ROWS)))


@pytest.mark.parametrize(
    "text",
    [
        frames(PLAIN, "Qq 0 0 0"),
        frames(PLAIN, "w 0 0 0", "MO 1 1 1", "X 2 2 2"),
        frames(PLAIN, "74 0 0 0"),
        frames(PLAIN, "W1 0 0 0"),
        frames(PLAIN, "W 0 0 0 1"),
        frames(PLAIN, "W 0 0"),
        frames(PLAIN, "W 0 0 0", "W 1 1"),
        frames(PLAIN, "W\u00a00 0 0 0"),
        frames(PLAIN, "W 0 0 1.0D-3"),
        frames(PLAIN, "\tW\t0 0\t0  ", "W nan inf -Infinity"),
        frames(PLAIN, "W 0 0 0", "5"),
        frames(PLAIN) + frames(PLAIN, *ROWS),
        f"3\n{PLAIN}\nW 0 0 0\n" + frames(PLAIN, *ROWS),
        f"1\n{PLAIN}\nW 0 0 0\nW 1 1 1\n" + frames(PLAIN, *ROWS),
        f"1\n{PLAIN}\nW 0 0 0\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n" + frames(PLAIN, *ROWS),
        "\n\n".join([frames(PLAIN, *ROWS)] * 2),
        "junk\n" + frames(PLAIN, *ROWS),
        f" 2 \n{PLAIN}\nW 0 0 0\nW 1 1 1\n002\n{PLAIN}\nW 0 0 0\nW 1 1 1\n",
        f"1234567890123456\n{PLAIN}\n" + frames(PLAIN, *ROWS),
        frames(PLAIN, *ROWS)[:-5],
        frames(PLAIN, *ROWS)[:-60],
        "2\n",
        "\u0661\n\nW 0 0 0\n",
    ],
)
def test_frames_out_of_the_ordinary(text: str) -> None:
    check(text)
    check(frames(PLAIN, *ROWS) + text)


def test_bytes_that_are_no_text() -> None:
    check(frames(PLAIN, *ROWS).encode().replace(b"pbc", b"x=\xff\xc3 pbc", 1))
    check(frames(PLAIN, *ROWS).encode().replace(b"Mo", b"M\xff", 1))


def test_most_frames_are_read_quickly(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    rng = np.random.default_rng(0)
    many = [Atoms("W2", positions=rng.normal(size=(2, 3)), cell=np.eye(3) * k, pbc=True) for k in range(1, 9)]
    write(path, many, format="extxyz")
    raw = check(path.read_bytes())
    # Behind the last one there is no count.
    assert [isinstance(frame, BlockFrame) for frame in raw] == [True] * 7 + [False]
    assert all(frame.numbers is not None for frame in raw if isinstance(frame, BlockFrame))


def test_structures_share_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(frames(f"{PLAIN} note=a", *ROWS))
    first, second, _ = (frame.atoms for frame in read_structures(path))
    assert first is not None
    assert second is not None
    expected = second.copy()
    first.positions += 1.0
    first.numbers[:] = 1
    first.cell[:] = 9.0
    first.pbc[:] = False
    first.info["note"] = "b"
    first.set_constraint()
    assert second == expected
    assert second.info == {"note": "a"}


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(xyz_blocks, "_BLOCK", block)
    monkeypatch.setattr(xyz_blocks, "_SMALL", 50)
    check("".join(frames(header, *ROWS) for header in HEADERS[2:6]))
    monkeypatch.setattr(xyz_blocks, "_LARGEST", 100)
    check(frames(PLAIN, *(ROWS * 9)))


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-100, 100).map(repr),
    st.floats(-100, 100).map("{:.8f}".format),
    st.floats(-1e-3, 1e-3).map(repr),
    st.integers(0, 10**19).map(str),
    st.tuples(st.integers(0, 10**19 - 1), st.integers(-25, 25)).map(lambda pair: f"{pair[0]}e{pair[1]}"),
    st.from_regex(r"[-+]?[0-9]{0,20}\.?[0-9]{0,20}([eE][-+]?[0-9]{1,4})?", fullmatch=True).filter(bool),
)


@settings(max_examples=400)
@given(st.lists(NUMBERS, min_size=3, max_size=9))
@example(["9007199254740993", "0.1", "-0.0"])
@example(["9007199254740992.5", "0.30000000000000004", "1e22"])
@example(["1e23", "4503599627370496.5", "4503599627370497.5"])
@example(["1.7976931348623157e308", "5e-324", "2.2250738585072014e-308"])
def test_numbers_are_those_of_float(numbers: list[str]) -> None:
    row = " ".join(numbers)
    columns = f"Properties=species:S:1:pos:R:3:x:R:{len(numbers)}"
    text = f"1\n{columns}\nW 0 0 0 {row}\n1\n"
    found = scan(text.encode())
    assert len(found.frames) == 1
    if found.frames[0, 8]:
        expected = np.array([float(number) for number in numbers])
        assert found.values[3 : 3 + len(numbers)].tobytes() == expected.tobytes()
    check(text)


def test_seventeen_digits_are_read_by_compiled_code() -> None:
    rng = np.random.default_rng(3)
    values = rng.choice([-1.0, 1.0], 99_999) * 10.0 ** rng.uniform(-4.0, 4.0, 99_999)
    rows = "".join(f"W {x!r} {y!r} {z!r}\n" for x, y, z in values.reshape(-1, 3).tolist())
    found = scan(f"{len(values) // 3}\n\n{rows}1\n".encode())
    assert found.frames[0, 8]
    assert found.values[: len(values)].tobytes() == values.tobytes()
