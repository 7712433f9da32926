r"""Text from outside (names of files, groups, messages, metadata) as printable text that cannot be taken for anything
else: no terminal obeys it, no line of a table or record of a CSV file ends in it, every encoding has its characters.

What cannot be shown as it is appears as in a Python literal: ``\x1b``, ``\u202e``, ``\udcff`` (a byte that is not
UTF-8). To get the exact text back, put the character in the place of each ``\xHH``, ``\uHHHH`` and ``\UHHHHHHHH`` in
lower-case digits, from left to right; a backslash that would be misread so is itself written ``\x5c``.
"""

from __future__ import annotations

import re

__all__ = ["as_cell", "escaped", "from_cell", "harmless"]

# Control characters, what ends a line somewhere, what reorders or hides text, halves of characters.
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff"
)
_UNSAFE_IN_LINES = re.compile(rf"(?![\n\t])[{_UNSAFE}]")
# Backslashes that look like the beginning of an escape belong to it, or the original could not be told.
_UNSAFE_IN_A_LINE = re.compile(rf"[{_UNSAFE}]|\\(?=x[0-9a-f]{{2}}|u[0-9a-f]{{4}}|U[0-9a-f]{{8}})")
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
#: What spreadsheets take for the beginning of a formula, also in its full-width form and after spaces.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
#: Some of them, set to some languages, take semicolons for the ends of cells.
_SECOND_CELL = re.compile(rf";(?={_FORMULA.pattern})")


def escaped(text: str) -> str:
    """The text in one line, with all that is unsafe escaped.

    >>> escaped("a\\x1b[31m.xyz")
    'a\\\\x1b[31m.xyz'
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _UNSAFE_IN_A_LINE.sub(_escape, _as_utf8(text))


def harmless(text: str) -> str:
    """Text to look at, of several lines perhaps: line feeds and tabs stay, as do backslashes, so that text which is
    escaped already stays as it is."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE_IN_LINES.sub(_escape, _as_utf8(text))


def as_cell(text: str, prefix: str = "'") -> str:
    """The text as one cell of a table that no spreadsheet takes for a formula: what looks like one is prefixed, and a
    semicolon before what looks like one is escaped.

    The prefix ``./`` leaves the name of a file what it was.
    """
    shown = escaped(text)
    if ";" in shown:
        shown = _SECOND_CELL.sub(_escape, shown)
    if prefix == "'" and _prefixed(shown, prefix):
        return f"\\x27{shown[1:]}"  # it would be taken for the prefix
    return prefix + shown if _FORMULA.match(shown) else shown


def from_cell(cell: str, prefix: str = "'") -> str:
    """The text that stands in a cell.

    >>> from_cell(as_cell("=1+1;\\x1b"))
    '=1+1;\\x1b'
    """
    text = cell[len(prefix) :] if _prefixed(cell, prefix) else cell
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)


def _prefixed(text: str, prefix: str) -> bool:
    return text.startswith(prefix) and _FORMULA.match(text, len(prefix)) is not None


def _as_utf8(text: str) -> str:
    """Where the locale has no UTF-8, Python gives the bytes of a name one by one, as surrogates."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
