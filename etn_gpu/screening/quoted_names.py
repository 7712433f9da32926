"""Names of columns in back-quotes, as in the queries of pandas, for those that are no names in Python."""

from __future__ import annotations

import keyword
import re

__all__ = ["QuotedNames"]

#: Text in quotes, in which a back-quote is one; a name in back-quotes; a back-quote that is alone.
_PART = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`([^`]*)`|`""", re.DOTALL)
_PLACEHOLDER = re.compile(r"_quoted_(\d+)_")


class QuotedNames:
    """An expression with a name of Python in the place of each name in back-quotes.

    Args:
        expression: as it was given.

    Raises:
        ValueError: a back-quote without a second one, or nothing between two.

    Attributes:
        text: the expression as Python reads it.

    >>> QuotedNames("`my key` > 3").text
    '_quoted_0_ > 3'
    """

    def __init__(self, expression: str) -> None:
        self._names: list[str] = []

        def replaced(found: re.Match[str]) -> str:
            if found[0][0] != "`":
                return found[0]
            if not found[1]:
                raise ValueError("a name stands between two back-quotes")
            if found[1] not in self._names:
                self._names.append(found[1])
            return self.written(found[1])

        self.text = _PART.sub(replaced, expression)

    def meant(self, name: str) -> str:
        """The column of a name in the text."""
        found = _PLACEHOLDER.fullmatch(name)
        return self._names[int(found[1])] if found and int(found[1]) < len(self._names) else name

    def written(self, column: str) -> str:
        """The name of a column in the text."""
        return f"_quoted_{self._names.index(column)}_" if column in self._names else column

    def restored(self, text: str) -> str:
        """A part of the text as it was given."""
        return _PLACEHOLDER.sub(lambda found: self.shown(self.meant(found[0])), text)

    @staticmethod
    def shown(column: str) -> str:
        """The name of a column as it may stand in an expression."""
        return column if column.isidentifier() and not keyword.iskeyword(column) else f"`{column}`"
