"""The page: sections, style and script in one file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from etn_gpu.errors import DataError
from etn_gpu.files import write_atomically
from etn_gpu.files.identity import AnyPath
from etn_gpu.screening.html import sections, svg
from etn_gpu.screening.html.content import ReportContent
from etn_gpu.screening.html.figure import Hover
from etn_gpu.screening.html.groups import groups_of

__all__ = ["report_page", "write_report"]


def write_report(path: AnyPath, content: ReportContent) -> None:
    """Writes a report, in one piece, over one that exists.

    Raises:
        DataError: the file cannot be written; what was there is as it was.
    """
    write_atomically(path, report_page(content).encode(), DataError, "the report")


def report_page(content: ReportContent) -> str:
    """A report as HTML: the same text for the same content."""
    groups, hover = groups_of(content), Hover(content)
    parts = [
        ("best", "Best structures", sections.best(content), _ranking(content)),
        ("stability", "Phase diagrams", sections.stability(content, groups, hover), ""),
        ("distributions", "Distributions", sections.distributions(content, groups, hover), ""),
        ("reasons", "What to look at", sections.reasons(content), "Structures that have no results, or doubtful ones."),
        ("run", "How it was run", sections.run(content), ""),
    ]
    shown = [part for part in parts if part[2]]
    links = "".join(svg.tag("a", title, href=f"#{name}") for name, title, _, _ in shown)
    under = " · ".join(part for part in (f"etn_gpu {content.version}", content.date) if part)
    header = (
        svg.tag("p", svg.written(under), class_="over")
        + svg.tag("h1", f"Screening with {svg.written(content.model)}")
        + svg.tag("p", svg.written(_inputs(content)), class_="lead")
        + sections.summary(content)
        + svg.tag("nav", links, aria_label="Sections")
    )
    body = svg.tag("header", header)
    body += svg.tag("main", "".join(sections.section(n, title, markup, lead) for n, title, markup, lead in shown))
    if not content.n_structures:
        body += svg.tag("p", "No structures were screened.", class_="lead")
    body += hover.script + svg.tag("script", _asset("report.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Screening with {svg.written(content.model)}</title>\n<style>{_asset('report.css')}</style>\n"
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _inputs(content: ReportContent) -> str:
    n = len(content.inputs)
    names = ", ".join(content.inputs[:3]) + (f" and {n - 3:,} more" if n > 3 else "")
    return f"{content.n_structures:,} structure{'s' if content.n_structures != 1 else ''}" + (
        f" from {names}" if names else ""
    )


def _ranking(content: ReportContent) -> str:
    return f"Ranked by {content.ranked_by}." if content.ranked_by else ""


def _policy() -> str:
    """Nothing is loaded, and no script runs but that of the page, whatever text from outside holds."""
    digest = base64.b64encode(hashlib.sha256(_asset("report.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
