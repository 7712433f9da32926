"""Descriptions of the content of files: for each value its type, its range and what it is made of.

A *check* is called with the name of a value and the value, and raises :class:`ContentError` for one that is not as
described: the message names the field, shows what was given and says what was expected. Checks are made of checks:
``record({"cutoff": number(above=0.0), "bonds": list_of(text())})`` describes a whole document.

JSON has no other types than these: None, bool, int, float, str, list and dict. A bool is no number here, a number in a
string neither.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Mapping
from math import inf, isfinite
from typing import Any

from etn_gpu.errors import EtnGpuError

Check = Callable[[str, Any], None]

#: Values may lie that deep inside each other: far more than any file needs, far less than Python's stack holds.
DEEPEST = 50
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 3, 3, 4


class ContentError(EtnGpuError, ValueError):
    """A value that is not what it is described to be; readers of files turn it into their own error."""


def shortened(value: Any) -> str:
    """The value as Python writes it, in one line of bounded length."""
    text = _SHORT.repr(value)
    return text if len(text) <= 100 else f"{text[:80]}...{text[-15:]}"


def wrong(name: str, value: Any, expected: str) -> ContentError:
    """The error of a value that is not as expected."""
    return ContentError(f"{name} is {shortened(value)}, expected {expected}")


def integer(least: int = 0, most: int | None = None) -> Check:
    """An integer in [least, most]."""
    expected = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"

    def check(name: str, value: Any) -> None:
        if type(value) is not int or value < least or (most is not None and value > most):
            raise wrong(name, value, expected)

    return check


def number(
    least: float = -inf, most: float = inf, *, above: float = -inf, finite: bool = True, nan: bool = False
) -> Check:
    """A number in [least, most] and above ``above``; infinite ones only where not ``finite``, NaN only with ``nan``."""
    bounds = [f"above {above:g}"] if above > -inf else [f"of at least {least:g}"] if least > -inf else []
    bounds += [f"up to {most:g}"] if most < inf else []
    expected = " ".join(["a finite number" if finite else "a number", *bounds])

    def check(name: str, value: Any) -> None:
        if not (type(value) is float or type(value) is int):
            raise wrong(name, value, expected)
        try:
            real = float(value)
        except OverflowError:
            raise wrong(name, value, expected) from None
        if nan and real != real:
            return
        # Written so that nan, for which every comparison is false, is none of them.
        if not (least <= real <= most and real > above) or (finite and not isfinite(real)):
            raise wrong(name, value, expected)

    return check


def boolean(name: str, value: Any) -> None:
    """True or False."""
    if type(value) is not bool:
        raise wrong(name, value, "true or false")


def text(longest: int = 100_000) -> Check:
    """A string that can be written as UTF-8."""

    def check(name: str, value: Any) -> None:
        if type(value) is not str or len(value) > longest:
            raise wrong(name, value, f"a string of up to {longest} characters")
        _require_unicode(name, value)

    return check


def choice(*values: str, of: str = "") -> Check:
    """One of some strings; ``of`` says what they are where they are too many to list."""
    expected = of or (f"one of {', '.join(values)}" if len(values) > 1 else repr(values[0]))
    allowed = frozenset(values)

    def check(name: str, value: Any) -> None:
        if type(value) is not str or value not in allowed:
            raise wrong(name, value, expected)

    return check


def exactly(expected: Any) -> Check:
    """One value: what is repeated from elsewhere must agree."""

    def check(name: str, value: Any) -> None:
        if value != expected or type(value) is bool:
            raise ContentError(f"{name} is {shortened(value)}, but the rest of the file says {shortened(expected)}")

    return check


def optional(item: Check) -> Check:
    """None, or what ``item`` describes."""

    def check(name: str, value: Any) -> None:
        if value is not None:
            item(name, value)

    return check


def either(first: type, checks: Mapping[type, Check]) -> Check:
    """What is described for the type of the value; for a value of no such type, the complaint is that of ``first``."""

    def check(name: str, value: Any) -> None:
        checks.get(type(value), checks[first])(name, value)

    return check


def list_of(item: Check, least: int = 0, most: int | None = None) -> Check:
    """A list of ``least`` to ``most`` items."""
    size = f"at least {least}" if most is None else f"{least} to {most}" if least < most else f"{least}"

    def check(name: str, value: Any) -> None:
        if type(value) is not list or len(value) < least or (most is not None and len(value) > most):
            raise wrong(name, value, f"a list of {size} items")
        for i, entry in enumerate(value):
            item(f"{name}[{i}]", entry)

    return check


def mapping_of(item: Check, keys: Collection[str] | None = None, of: str = "") -> Check:
    """A dictionary with values of one kind; its keys are among ``keys``, which ``of`` describes."""

    def check(name: str, value: Any) -> None:
        if type(value) is not dict:
            raise wrong(name, value, "a dictionary")
        for key, entry in value.items():
            if keys is not None and key not in keys:
                raise ContentError(f"{name} has the key {shortened(key)}, expected {of or ', '.join(sorted(keys))}")
            item(f"{name}.{key}", entry)

    return check


def record(fields: Mapping[str, Check], others: Mapping[str, Check] | None = None, *, closed: bool = True) -> Check:
    """A dictionary with all of ``fields``, perhaps some of ``others``, and more only where it is not ``closed``."""
    others = others or {}

    def check(name: str, value: Any) -> None:
        if type(value) is not dict:
            raise wrong(name, value, "a dictionary")
        inner = f"{name}." if name else ""
        for key, item in fields.items():
            if key not in value:
                raise ContentError(f"{name or 'it'} lacks {key!r}")
            item(f"{inner}{key}", value[key])
        for key, item in others.items():
            if key in value:
                item(f"{inner}{key}", value[key])
        if closed and (unknown := [key for key in value if key not in fields and key not in others]):
            known = ", ".join([*fields, *others])
            raise ContentError(f"{name or 'it'} has the unknown entry {shortened(unknown[0])}, expected {known}")

    return check


def plain(name: str, value: Any, deepest: int = DEEPEST) -> None:
    """Anything that JSON can hold: finite numbers, strings that are Unicode, and not too deep."""
    if value is None or type(value) is bool or type(value) is int:
        return
    if type(value) is float:
        if not isfinite(value):
            raise wrong(name, value, "a finite number")
    elif type(value) is str:
        _require_unicode(name, value)
    elif deepest == 0:
        raise ContentError(f"{name[:60]} ... lies more than {DEEPEST} levels deep")
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            plain(f"{name}[{i}]", entry, deepest - 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            if type(key) is not str:
                raise ContentError(f"{name} has the key {shortened(key)}, expected strings")
            _require_unicode(f"a key of {name}", key)
            plain(f"{name}.{key}", entry, deepest - 1)
    else:
        raise wrong(name, value, "None, a bool, a number, a string, a list or a dictionary")


def _require_unicode(name: str, value: str) -> None:
    # Only half of a surrogate pair cannot be encoded.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise wrong(name, value, "a string without lone surrogates") from None
