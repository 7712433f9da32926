"""Tables as the README has them."""

from __future__ import annotations

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; columns after the first ``text_columns`` hold numbers, to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(headers) - text_columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rule, *rows))


def number(value: float | None, digits: int) -> str:
    """With so many digits after the point; '–' where it is not known."""
    return "–" if value is None else f"{value:.{digits}f}"


def bonds(ranks: Sequence[str]) -> str:
    """The bonds of a train, those that are alike only once."""
    return f"{len(ranks)} × {ranks[0]}" if len(set(ranks)) == 1 else "; ".join(ranks)
