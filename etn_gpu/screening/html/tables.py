"""Tables of a report: the best structures, stable phases, reasons of statuses, facts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.compositions import Compositions, Phases
from etn_gpu.screening.html.content import BestStructure, ReportContent
from etn_gpu.screening.html.units import quantity, shown

__all__ = ["ON_THE_HULL", "best_table", "facts", "formula", "phase_table", "reason_table"]

#: What is not further above the hull is on it [eV/atom].
ON_THE_HULL = 1e-6
_REASONS = 12
_PHASES = 100
#: Shares that differ by less are equal.
_SAME = 1e-6
_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def formula(name: str | None) -> str:
    """A chemical formula as markup, numbers of atoms as subscripts; a dash for none."""
    if not name:
        return "–"
    markup = svg.written(name)
    return _DIGITS.sub(r"<sub>\g<0></sub>", markup) if svg.subscripted(name) != name else markup


def facts(entries: Iterable[tuple[str, Any]]) -> str:
    """Names and what they are, as a list; values that are sequences line by line."""
    parts = []
    for name, value in entries:
        lines = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
        parts.append(svg.tag("dt", svg.written(name)))
        parts.append(svg.tag("dd", "<br>".join(svg.written(shown(line)) for line in lines) or "–"))
    return svg.tag("dl", "".join(parts), class_="facts")


def best_table(best: Sequence[BestStructure]) -> str:
    """The structures at the head of the ranking with all that is shown of them."""
    names = list(dict.fromkeys(name for entry in best for name in entry.values))
    rows = [[(i + 1, svg.written(str(i + 1)))] for i in range(len(best))]
    for row, entry in zip(rows, best, strict=True):
        row += [_cell(name, entry.values.get(name)) for name in names]
    return _table([("", ""), *((quantity(name).label, quantity(name).unit) for name in names)], rows)


def phase_table(content: ReportContent, phases: Phases) -> str:
    """The phases on the hull, with the number of structures of the run that are on it there."""
    rows = []
    on_it = np.flatnonzero(np.abs(content.numbers("energy_above_hull")) <= ON_THE_HULL)
    own = Compositions([content.formulas[row] for row in on_it.tolist()])
    for place in np.argsort(phases.formation, kind="stable")[:_PHASES]:
        name, shares, formation = phases.formulas[place], phases.shares[place], float(phases.formation[place])
        elements = tuple(e for e, share in zip(phases.elements, shares, strict=True) if share > 0.0)
        _, others = own.within(elements)
        number = int((np.abs(others - shares[shares > 0.0]).max(axis=1, initial=0.0) < _SAME).sum())
        rows.append([(name, formula(name)), _cell("formation_energy", formation), _cell("n_atoms", number)])
    what = content.quantity("formation_energy")
    heads = [("stable phase", ""), (what.label, what.unit), ("structures of this run", "")]
    markup = svg.tag("h3", "Stable phases") + _table(heads, rows)
    if (left := len(phases.shares) - len(rows)) > 0:
        markup += svg.tag("p", f"{left:,} more with a higher {what.label}.", class_="note")
    return svg.tag("div", markup, class_="small")


def reason_table(content: ReportContent) -> str:
    """The most frequent reasons of statuses, those of failures first; reasons that differ in numbers only are one."""
    found: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[str | None, str]] = {}
    for status, message, name in zip(content.texts("status"), content.texts("message"), content.formulas, strict=True):
        if message:
            kind = status, _NUMBER.sub("0", message)
            found[kind] += 1
            first.setdefault(kind, (name, message))
    if not found:
        return ""
    rows = []
    order = sorted(found, key=lambda kind: (kind[0] != "failed", -found[kind], kind))
    for kind in order[:_REASONS]:
        name, message = first[kind]
        rows.append(
            [
                (kind[0], svg.written(kind[0])),
                _cell("n_atoms", found[kind]),
                (name, formula(name)),
                (message, svg.tag("div", svg.written(message), class_="reason")),
            ]
        )
    table = _table([("status", ""), ("structures", ""), ("the first", ""), ("its reason", "")], rows)
    left = len(found) - len(rows)
    return table + (svg.tag("p", f"{left:,} more reasons are in the results.", class_="note") if left > 0 else "")


def _cell(name: str, value: Any) -> tuple[Any, str]:
    """What a cell is sorted by, and its markup."""
    if name == "formula" and isinstance(value, str):
        return value, formula(value)
    return value, svg.written(shown(value, quantity(name).digits))


def _table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[tuple[Any, str]]]) -> str:
    """A table that can be sorted by its heads where scripts run; numbers to the right."""
    numeric = [
        all(not isinstance(row[i][0], str) for row in rows) and any(row[i][0] is not None for row in rows)
        for i in range(len(heads))
    ]
    first = "".join(
        svg.tag(
            "th",
            (svg.written(label) or '<span class="hidden">rank</span>')
            + (svg.tag("span", svg.written(unit), class_="unit") if unit else ""),
            scope="col",
            **_attributes(n),
        )
        for (label, unit), n in zip(heads, numeric, strict=True)
    )
    body = "".join(
        svg.tag(
            "tr",
            "".join(
                svg.tag("td", markup, **_attributes(n), **_sorting(value))
                for (value, markup), n in zip(row, numeric, strict=True)
            ),
        )
        for row in rows
    )
    table = svg.tag("table", svg.tag("thead", svg.tag("tr", first)) + svg.tag("tbody", body), class_="sortable")
    return svg.tag("div", table, class_="scroll", tabindex="0")


def _attributes(numeric: bool) -> Mapping[str, str]:
    return {"class_": "number"} if numeric else {}


def _sorting(value: Any) -> Mapping[str, str]:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return {"data_value": repr(float(value))} if float(value) == float(value) else {"data_value": ""}
    return {"data_value": ""} if value is None else {}
