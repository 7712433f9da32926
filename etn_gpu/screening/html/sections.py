"""The sections of a report."""

from __future__ import annotations

from itertools import combinations
from typing import TypeVar

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.binary import binary_diagram
from etn_gpu.screening.html.compositions import Compositions, Phases
from etn_gpu.screening.html.content import ReportContent
from etn_gpu.screening.html.crystal import crystal, element_legend, shadings
from etn_gpu.screening.html.figure import Hover
from etn_gpu.screening.html.groups import Group
from etn_gpu.screening.html.plots import distribution, energy_of_volume
from etn_gpu.screening.html.tables import ON_THE_HULL, best_table, facts, formula, phase_table, reason_table
from etn_gpu.screening.html.ternary import ternary_diagram
from etn_gpu.screening.html.units import duration, quantity, rate, shown

__all__ = ["best", "distributions", "reasons", "run", "section", "stability", "summary"]

_System = TypeVar("_System", bound=tuple[str, ...])
#: The most points of a plot, and of each of several plots that stand side by side.
_POINTS, _POINTS_OF_MANY = 5000, 2000
_MOST_BINARIES, _MOST_TERNARIES = 10, 4
_PICTURES = 8
#: A structure without any of them is in no diagram.
_ENERGIES = ("energy_above_hull", "formation_energy")
#: What a card has beside the picture, in few words.
_ON_A_CARD = {
    "energy_above_hull": "above hull",
    "formation_energy": "formation energy",
    "enthalpy_above_hull": "above hull",
    "formation_enthalpy": "formation enthalpy",
    "energy_per_atom": "energy",
    "max_force": "largest force",
    "extrapolation_grade": "grade",
}


def section(name: str, title: str, content: str, lead: str = "") -> str:
    """A section with its heading; nothing where there is no content."""
    if not content:
        return ""
    words = svg.tag("p", svg.written(lead), class_="lead") if lead else ""
    return svg.tag("section", svg.tag("h2", title) + words + content, id=name)


def summary(content: ReportContent) -> str:
    """Counts by status, and what the best structure has."""
    n = content.n_structures
    tiles = [_tile("structures", shown(n), "")]
    for status, number in content.counts.items():
        share = f"{100 * number / n:.3g} %" if n else ""
        tiles.append(_tile(status, shown(number), share, {"ok": "inside", "extrapolating": "far"}.get(status, "other")))
    above, formation = content.numbers("energy_above_hull"), content.numbers("formation_energy")
    if np.isfinite(above).any():
        below = int((above < -ON_THE_HULL).sum())
        tiles.append(_tile("on the hull", shown(int((np.abs(above) <= ON_THE_HULL).sum())), f"{below:,} below it"))
    if np.isfinite(formation).any():
        lowest = int(np.nanargmin(formation))
        amount = shown(float(formation[lowest]), quantity("formation_energy").digits)
        name = svg.subscripted(content.formulas[lowest] or "–")
        tiles.append(_tile(f"lowest {content.quantity('formation_energy').label}", amount, f"eV/atom, {name}"))
    if content.seconds:
        tiles.append(_tile("structures a second", rate(n, content.seconds), f"in {duration(content.seconds)}"))
    return svg.tag("div", "".join(tiles), class_="tiles")


def _tile(label: str, value: str, under: str, kind: str = "") -> str:
    content = svg.tag("p", svg.written(label), class_="what")
    content += svg.tag("p", svg.written(value), class_="value") + svg.tag(
        "p", svg.written(under) or "&#160;", class_="under"
    )
    return svg.tag("div", content, class_=f"tile {kind}".rstrip())


def stability(content: ReportContent, groups: list[Group], hover: Hover) -> str:
    """Diagrams of the systems of two and three elements, and the stable phases."""
    known = np.zeros(content.n_rows, dtype=bool)
    for column in _ENERGIES:
        known |= np.isfinite(content.numbers(column))
    compositions = Compositions([content.formulas[row] if there else None for row, there in enumerate(known.tolist())])
    elements, systems = compositions.elements, compositions.systems
    if len(elements) < 2:
        return ""
    phases = Phases.of(content.hull).within(elements)
    pairs = _most_frequent(systems, list(combinations(elements, 2)), _MOST_BINARIES)
    triples = _most_frequent(systems, list(combinations(elements, 3)), _MOST_TERNARIES)
    if len(elements) == 2:
        pairs = list(combinations(elements, 2))
    if len(elements) == 3:
        triples = list(combinations(elements, 3))
    limit = _POINTS if len(elements) == 3 else _POINTS_OF_MANY
    found = [ternary_diagram(content, compositions, phases, triple, hover, limit) for triple in triples]
    limit = _POINTS if len(elements) == 2 else _POINTS_OF_MANY
    found += [binary_diagram(content, compositions, phases, pair, groups, hover, limit) for pair in pairs]
    parts = [figure.markup for figure in found if figure]
    if len(phases.shares):
        parts.append(phase_table(content, phases))
    notes = [
        f"Of the systems of {n} elements, those {most} with the most structures are shown."
        for n, most in ((2, _MOST_BINARIES), (3, _MOST_TERNARIES))
        if sum(len(system) == n for system in systems) > most
    ]
    markup = svg.tag("div", "".join(parts), class_="figures") if parts else ""
    return markup + "".join(svg.tag("p", note, class_="note") for note in notes)


def _most_frequent(number: dict[tuple[str, ...], int], systems: list[_System], most: int) -> list[_System]:
    """The systems that structures have, those of the most structures if there are many; in alphabetical order."""
    there = sorted((s for s in systems if number.get(s)), key=lambda s: (-number[s], s))
    return sorted(there[:most])


def distributions(content: ReportContent, groups: list[Group], hover: Hover) -> str:
    """Histograms of what columns hold, and energy against volume."""
    energy = "energy_above_hull"
    if np.isfinite(content.numbers(energy)).sum() < 2:
        energy = "formation_energy"
    figures = [
        distribution(content, energy, groups),
        distribution(content, "max_force", groups),
        distribution(content, "extrapolation_grade", groups, content.grade_threshold),
        distribution(content, "pressure", groups),
        energy_of_volume(content, groups, hover, _POINTS),
    ]
    markup = "".join(figure.markup for figure in figures if figure)
    return svg.tag("div", markup, class_="figures") if markup else ""


def best(content: ReportContent) -> str:
    """Pictures of the first structures of the ranking, and the table of all that are given."""
    if not content.best:
        return ""
    cards = []
    for place, entry in enumerate(content.best[:_PICTURES], 1):
        if entry.atoms is None:
            continue
        name = entry.values.get("formula")
        name = name if isinstance(name, str) else ""
        rows = "".join(
            svg.tag("dt", svg.written(label))
            + svg.tag(
                "dd", svg.written(f"{shown(entry.values[key], quantity(key).digits)} {quantity(key).unit}".rstrip())
            )
            for key, label in _ON_A_CARD.items()
            if entry.values.get(key) is not None
        )
        picture = crystal(entry.atoms, f"Structure {place}: {svg.subscripted(name)}, {len(entry.atoms)} atoms")
        words = svg.tag("h3", svg.tag("span", f"{place}", class_="rank") + formula(name)) + svg.tag("dl", rows)
        cards.append(svg.tag("article", picture + words, class_="card"))
    drawn = [entry.atoms for entry in content.best[:_PICTURES]]
    markup = shadings(drawn) + element_legend(drawn) + svg.tag("div", "".join(cards), class_="cards")
    markup = markup if cards else ""
    return markup + best_table(content.best)


def reasons(content: ReportContent) -> str:
    """Why structures have a status other than ok."""
    return reason_table(content)


def run(content: ReportContent) -> str:
    """Model, inputs, options and times."""
    model: list[tuple[str, object]] = [("model", content.model)]
    if content.species:
        model.append(("elements", " ".join(content.species)))
    if content.order is not None:
        model.append(("order", content.order))
    if content.cutoff is not None:
        model.append(("cutoff", f"{content.cutoff:g} Å"))
    model.append(("version", f"etn_gpu {content.version}"))
    if content.date:
        model.append(("date", content.date))
    if content.inputs:
        model.append(("input", list(content.inputs)))
    if content.references:
        model.append(("references", content.references))
    markup = svg.tag("div", svg.tag("h3", "Model and input") + facts(model))
    if content.options:
        markup += svg.tag("div", svg.tag("h3", "Options") + facts(content.options.items()))
    if times := _times(content):
        markup += svg.tag("div", svg.tag("h3", "Time") + facts(times))
    if content.notes:
        notes = "".join(svg.tag("li", svg.written(note)) for note in content.notes)
        markup += svg.tag("div", svg.tag("h3", "Notes") + svg.tag("ul", notes, class_="notes"))
    return svg.tag("div", markup, class_="columns")


def _times(content: ReportContent) -> list[tuple[str, object]]:
    times: list[tuple[str, object]] = []
    if content.seconds is not None:
        times.append(("time", duration(content.seconds)))
        if content.seconds > 0.0:
            times.append(("structures a second", rate(content.n_structures, content.seconds)))
            evaluated = np.isfinite(content.numbers("energy_per_atom"))
            if (atoms := float(np.nansum(content.numbers("n_atoms")[evaluated]))) > 0.0:
                times.append(("atoms a second", rate(atoms, content.seconds)))
    if content.compilation is not None:
        times.append(("compilation", duration(content.compilation)))
    return times
