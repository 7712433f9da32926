"""Groups of structures that differ in colour and mark: how far a model can be trusted with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.content import ReportContent

__all__ = ["Group", "entries_of", "groups_of", "legend"]

#: A legend names so many statuses of one look.
_NAMED = 4


@dataclass(frozen=True)
class Group:
    """Structures of one look.

    Attributes:
        name: class of their marks in the style sheet.
        label: what the legend says.
        members: [N], which structures belong to it.
    """

    name: str
    label: str
    members: NDArray[np.bool_]


def groups_of(content: ReportContent) -> list[Group]:
    """The groups that have members; what is drawn last, above the others, comes last."""
    status = np.array(list(content.texts("status")), dtype=object)
    grades = content.numbers("extrapolation_grade")
    ok, far = np.isin(status, ("ok", "")), status == "extrapolating"
    beyond = ok & (grades > 1.0)
    threshold = content.grade_threshold
    graded = bool(np.isfinite(grades).any())
    known = graded and threshold is not None
    found = [
        Group("other", _names(status[~ok & ~far]), ~ok & ~far),
        Group("far", f"extrapolating (grade > {threshold:g})" if known else "extrapolating", far),
        Group("near", f"grade 1 to {threshold:g}" if known else "grade > 1", beyond),
        Group("inside", "inside the training data (grade ≤ 1)" if graded else "ok", ok & ~beyond),
    ]
    return [group for group in found if group.members.any()]


def _names(status: NDArray[np.object_]) -> str:
    names = sorted(set(status.tolist()))
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def entries_of(groups: list[Group], rows: NDArray[Any], prefix: str = "") -> list[tuple[str, str]]:
    """The entries of a legend: the groups that some of the structures `rows` belong to."""
    return [(prefix + group.name, group.label) for group in reversed(groups) if group.members[rows].any()]


def legend(entries: list[tuple[str, str]]) -> str:
    """A legend: classes of marks, and what they stand for."""
    if not entries:
        return ""
    marks = {
        "line": svg.tag("path", d="M1 8h18", class_="hull"),
        "limit": svg.tag("path", d="M1 8h18", class_="limit"),
        "tie": svg.tag("path", d="M1 8h18", class_="tie"),
        "stable": svg.tag("path", d="M10 3l5 5l-5 5l-5 -5z", class_="stable"),
    }
    items = "".join(
        svg.tag(
            "li",
            svg.tag(
                "svg",
                marks.get(name) or _key(name),
                viewBox="0 0 20 16",
                aria_hidden="true",
            )
            + svg.written(label),
        )
        for name, label in entries
    )
    return svg.tag("ul", items, class_="legend")


def _key(name: str) -> str:
    if name.startswith("bars "):
        return svg.tag("path", d="M4 2h12v12h-12z", class_=name)
    return svg.tag("path", d="M10 8h0", class_=f"dots {name} key")
