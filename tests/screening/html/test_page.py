"""The page: complete, well-formed and harmless whatever it is about."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from etn_gpu.errors import DataError
from etn_gpu.screening.html import BestStructure, ReportContent, report_page, write_report
from etn_gpu.screening.html.units import rate

Make = Callable[..., ReportContent]

VOID = {"meta", "br"}
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[31m&amp;\udcff"
BARE: dict[str, Any] = {"model": "m", "version": "0"}


class Parsed(HTMLParser):
    """The elements of a page; what is not closed, or closed twice, is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def drawings(page: str) -> list[ET.Element]:
    return [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]


def checked(content: ReportContent) -> Parsed:
    """The page, with what must hold of every page."""
    page = report_page(content)
    parsed = Parsed(page)
    assert page == report_page(content)
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(parsed.text))
    for drawing in drawings(page):
        for element in drawing.iter():
            for name, value in element.attrib.items():
                assert not re.search(r"nan|inf\b", value) or name in ("class", "aria-label"), (name, value)
    assert len(parsed.all("script")) == 2
    for name, attributes in parsed.found:
        assert name not in ("link", "img", "iframe", "object")
        assert not any(key.startswith("on") or key == "src" for key in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    named = [attributes["id"] for _, attributes in parsed.found if "id" in attributes]
    assert len(named) == len(set(named))
    assert all(a["href"][1:] in named for a in parsed.all("a") if a["href"])
    return parsed


def sections(parsed: Parsed) -> list[str | None]:
    return [attributes.get("id") for attributes in parsed.all("section")]


def test_nothing_at_all() -> None:
    parsed = checked(ReportContent(**BARE))
    assert sections(parsed) == ["run"]
    assert "No structures were screened." in parsed.text


def test_one_structure() -> None:
    content = ReportContent(
        **BARE, counts={"ok": 1}, formulas=["W2"], status=["ok"], energy_per_atom=[-12.9], volume_per_atom=[16.0]
    )
    parsed = checked(content)
    assert sections(parsed) == ["distributions", "run"]
    assert [a["aria-label"] for a in parsed.all("svg") if "role" in a] == [
        "Energy per atom against volume per atom, 1 structure."
    ]


def test_only_failures() -> None:
    n = 30
    content = ReportContent(
        **BARE,
        counts={"ok": 0, "failed": n},
        formulas=[None] * n,
        status=["failed"] * n,
        message=[f"frame {i} is broken {'very ' * (i % 20)}" for i in range(n)],
        energy_per_atom=[None] * n,
    )
    parsed = checked(content)
    assert sections(parsed) == ["reasons", "run"]
    assert "frame 0 is broken " in parsed.text
    assert parsed.text.count("2") == 10
    assert "8 more reasons are in the results." in parsed.text


@pytest.mark.parametrize(
    ("elements", "diagrams"),
    [
        (("W",), []),
        (("W", "Mo"), ["Mo–W"]),
        (("Ta", "W", "Mo"), ["Mo–Ta–W", "Mo–Ta", "Mo–W", "Ta–W"]),
        (
            ("Nb", "Mo", "Ta", "W"),
            ["Mo–Nb–Ta", "Mo–Nb–W", "Mo–Ta–W", "Nb–Ta–W", "Mo–Nb", "Mo–Ta", "Mo–W", "Nb–Ta", "Nb–W", "Ta–W"],
        ),
    ],
)
def test_systems(make: Make, elements: tuple[str, ...], diagrams: list[str]) -> None:
    parsed = checked(make(elements, 200))
    assert [a["data-system"] for a in parsed.all("svg") if "data-system" in a] == diagrams
    assert ("Stable phases" in parsed.text) == bool(diagrams)
    assert all(a.get("aria-label") for a in parsed.all("svg") if a.get("role") == "img")


def test_many_elements_show_the_systems_of_the_most_structures(make: Make) -> None:
    elements = ("Nb", "Mo", "Ta", "W", "Re")
    pairs = [f"{a}{b}" for a, b in combinations((*elements, "V"), 2)]
    triples = [f"{a}{b}2{c}" for a, b, c in combinations(elements, 3)]
    formulas = [*elements, *pairs, *pairs[:8], *triples, *triples[:4]]
    formation = [-0.1] * len(formulas)
    parsed = checked(ReportContent(**BARE, counts={"ok": 9}, formulas=formulas, formation_energy=formation))
    names = [a["data-system"] or "" for a in parsed.all("svg") if "data-system" in a]
    assert sorted(name.count("–") for name in names) == [1] * 10 + [2] * 4
    assert {"Mo–Nb", "Nb–Ta", "Mo–Nb–Ta", "Mo–Nb–Re"} <= set(names)
    assert any("Of the systems of 2 elements, those 10" in text for text in parsed.text)


def test_structures_without_energies_add_no_elements(make: Make) -> None:
    content = make(n=40)
    with_failures = make(
        n=40,
        formulas=["H2O", "CuW", *content.formulas[2:]],
        status=["failed", "failed", *content.status[2:]],
        **{name: [None, None, *content.numbers(name)[2:]] for name in ("energy_above_hull", "formation_energy")},
    )
    assert [a["data-system"] for a in checked(with_failures).all("svg") if "data-system" in a] == ["Mo–W"]


def test_other_statuses_are_named(make: Make) -> None:
    page = report_page(make(n=6, status=["ok", "exploded", "not converged", "ok", "extrapolating", "ok"]))
    assert "exploded, not converged</li>" in page


def test_without_a_hull_diagrams_have_formation_energies(make: Make) -> None:
    page = report_page(make(hull=None, energy_above_hull=()))
    assert 'class="stable"' not in page
    assert "formation energy over composition" in page


def test_empty_and_huge_fields(make: Make) -> None:
    content = make(("Mo", "Ta", "W"), 60)
    columns: dict[str, Any] = {}
    for name in ("formation_energy", "energy_above_hull", "max_force", "pressure", "volume_per_atom"):
        column: list[float | None] = content.numbers(name).tolist()
        column[:6] = [None, np.nan, np.inf, -np.inf, 1.7e308, -1.7e308]
        columns[name] = column
    columns["max_force"][5] = 0.0
    checked(make(("Mo", "Ta", "W"), 60, **columns))
    checked(make(("Mo", "Ta", "W"), 60, **{name: [None] * 60 for name in columns}))
    checked(make(("Mo", "Ta", "W"), 60, **{name: [1.7e308] * 60 for name in columns}))


def test_equal_values(make: Make) -> None:
    checked(make(n=5, max_force=[0.0] * 5, pressure=[-3.0] * 5, volume_per_atom=[16.0] * 5))


def test_text_from_outside_stays_text(make: Make) -> None:
    n = 40
    content = make(
        model=HOSTILE,
        date=HOSTILE,
        inputs=[HOSTILE] * 5,
        options={HOSTILE: HOSTILE},
        references=HOSTILE,
        notes=[HOSTILE],
        counts={HOSTILE: 3, "ok": 37},
        formulas=[HOSTILE, *make().formulas[1:]],
        status=[HOSTILE] * 3 + ["ok"] * 37,
        message=[HOSTILE] * n,
        ranked_by=HOSTILE,
        best=[BestStructure({"formula": HOSTILE, HOSTILE: HOSTILE, "index": 3}, Atoms("W"))],
    )
    parsed = checked(content)
    assert sum("<img src=x" in text for text in parsed.text) >= 10
    assert any("\\u202e\\x1b[31m&amp;\\udcff" in text for text in parsed.text)
    assert not re.search("[\u202e\x1b\udcff]", report_page(content))


def test_numbers_are_those_of_the_data(make: Make) -> None:
    content = make()
    parsed = checked(content)
    cells = [float(a["data-value"] or "nan") for a in parsed.all("td") if "data-value" in a]
    for entry in content.best:
        above = entry.values["energy_above_hull"]
        assert above in cells
        assert f"{above:.4f}" in parsed.text
    assert {"ok", "extrapolating", "failed", "2 s", "10 s"} <= set(parsed.text)
    atoms = float(np.sum(content.numbers("n_atoms")))
    assert rate(atoms, 2.0) in parsed.text


def test_formulas_have_subscripts(make: Make) -> None:
    page = report_page(make(best=[BestStructure({"formula": "Mo2W10"}, None)]))
    assert "Mo<sub>2</sub>W<sub>10</sub>" in page


def test_a_great_many_rows(make: Make) -> None:
    content = make(("Nb", "Mo", "Ta", "W"), 500)
    rows = np.arange(100_000) % 500
    names = [name for name, value in vars(content).items() if name != "species" and len(np.atleast_1d(value)) == 500]
    columns: dict[str, Any] = {name: np.array(getattr(content, name), dtype=object)[rows].tolist() for name in names}
    columns["volume_per_atom"] = np.linspace(14.0, 18.0, 100_000)
    content = replace(content, **columns)
    assert content.n_rows == 100_000
    start = process_time()
    page = report_page(content)
    assert process_time() - start < 4.0
    assert len(page) < 2_000_000
    assert "5,000 of 100,000 structures: the extremes, the lowest ones, and others spread evenly" in page


def test_columns_of_different_lengths() -> None:
    with pytest.raises(DataError, match=r"column max_force of a report has 1 fields, the column formulas 2: give"):
        ReportContent(**BARE, formulas=["W", "Mo"], max_force=[1.0])


def test_a_report_replaces_one_and_leaves_it_where_it_cannot(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    write_report(path, make())
    assert path.read_bytes() == report_page(make()).encode()
    with pytest.raises(DataError, match=r"cannot write the report .*nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", make())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
