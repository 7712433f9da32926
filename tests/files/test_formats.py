"""Names that promise another format than that of the content."""

from __future__ import annotations

from pathlib import Path

import pytest

from etn_gpu.errors import DataError
from etn_gpu.files import JSON, MODEL, ROWS, Content, check_suffix


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (ROWS, "a.csv a.CSV a.csv.gz a.gz a a.txt a.dat run.v2 T=300.5 a.csv.1 a.csv.part /dev/stdout"),
        (JSON, "a.json a a.txt errors-1.2"),
        (MODEL, "a.etn a ./nbmotaw a.model a.2 v1.0-beta"),
    ],
)
def test_names_that_fit(content: Content, names: str) -> None:
    for name in names.split():
        check_suffix(name, content, DataError)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (
            ROWS,
            "a.parquet a.tsv a.json a.xlsx a.h5 a.db a.extxyz a.xyz.gz a.etn a.csv.bz2 a.csv.xz a.csv.zst a.zip a.PNG",
        ),
        (JSON, "a.csv a.json.gz a.jsonl a.etn a.yaml a.xyz"),
        (MODEL, "a.extxyz a.json a.csv a.pt a.npz a.txt a.etn.gz a.xyz a.mtp a.traj"),
    ],
)
def test_names_that_belie_the_content(content: Content, names: str) -> None:
    for name in names.split():
        with pytest.raises(
            DataError, match=f"{content.what}, and the suffix .* of {name} means something else: name it"
        ):
            check_suffix(name, content, DataError)


def test_a_stream_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/null")
    check_suffix(tmp_path / "a.json", ROWS, DataError)
