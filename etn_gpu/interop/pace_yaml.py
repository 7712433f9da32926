"""The YAML of a `.yace` file as a tree with lines: nothing but numbers, words, lists and mappings is ever made of it.

The keys of `bonds` are lists, which Python has no dictionary for: a tree of nodes does not mind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NoReturn

import yaml

from etn_gpu.errors import ModelFileError

# Of PyYAML the parser in C, ten times as fast, where it was built with it. Neither makes objects here.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SHOWN = 60
_WHOLE = re.compile(r"[-+]?\d{1,9}")


@dataclass(frozen=True)
class Node:
    """A node of the tree of the file ``name``; ``what`` it is called in errors."""

    node: yaml.Node
    name: str
    what: str

    @property
    def line(self) -> int:
        """The line on which it begins, from 1."""
        return int(self.node.start_mark.line) + 1

    def refuse(self, reason: str) -> NoReturn:
        """Raise ModelFileError for ``reason``, with the line."""
        raise ModelFileError(f"{self.name}, line {self.line}: {reason}")

    def entries(self) -> Iterator[tuple[Node, Node]]:
        """Keys and values of a mapping."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(f"{self.what} is no mapping (`key: value`)")
        for key, value in self.node.value:
            yield Node(key, self.name, f"a key of {self.what}"), Node(value, self.name, self.what)

    def fields(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Node]:
        """The values of a mapping by their keys, which must be among these."""
        found: dict[str, Node] = {}
        for key, value in self.entries():
            word = key.word()
            if word not in (*required, *optional):
                key.refuse(f"unknown key {_short(word)} of {self.what}; known are {', '.join((*required, *optional))}")
            if word in found:
                key.refuse(f"{self.what} has {word} twice")
            found[word] = Node(value.node, self.name, f"{word} of {self.what}")
        if missing := [key for key in required if key not in found]:
            self.refuse(f"{self.what} lacks {', '.join(missing)}; is the file complete?")
        return found

    def items(self) -> list[Node]:
        """The nodes of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(f"{self.what} is no list")
        return [Node(item, self.name, self.what) for item in self.node.value]

    def word(self) -> str:
        """The text of a scalar."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.refuse(f"{self.what} is no single word or number")
        return str(self.node.value)

    def number(self) -> float:
        """A finite number."""
        try:
            value = float(self.word())
        except ValueError:
            self.refuse(f"{self.what} is {_short(self.word())}, expected a number")
        if not isfinite(value):
            self.refuse(f"{self.what} is {value}, expected a finite number")
        return value

    def integer(self, low: int, high: int = 10**6) -> int:
        """A whole number from ``low`` to ``high``."""
        if not _WHOLE.fullmatch(self.word()) or not low <= int(self.word()) <= high:
            self.refuse(f"{self.what} is {_short(self.word())}, expected a whole number from {low} to {high}")
        return int(self.word())

    def integers(self, count: int | None, low: int, high: int = 10**6) -> tuple[int, ...]:
        """A list of ``count`` whole numbers."""
        return tuple(item.integer(low, high) for item in self._counted(count))

    def numbers(self, count: int | None = None) -> tuple[float, ...]:
        """A list of ``count`` finite numbers."""
        return tuple(item.number() for item in self._counted(count))

    def _counted(self, count: int | None) -> list[Node]:
        items = self.items()
        if count is not None and len(items) != count:
            self.refuse(f"{self.what} holds {len(items)} numbers, expected {count}")
        return items


def parse_yaml(text: str, name: str) -> Node:
    """The tree of a text.

    Raises:
        ModelFileError: it is no YAML, or holds no document or several.
    """
    try:
        root = yaml.compose(text, _LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ModelFileError(f"{name}{line}: no YAML, as a .yace file is: {problem}; is it complete?") from None
    except RecursionError:
        raise ModelFileError(f"{name}: lists inside of lists, too deep for a .yace file") from None
    if root is None:
        raise ModelFileError(f"{name} is empty, expected a PACE potential (.yace)")
    return Node(root, name, "the file")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
