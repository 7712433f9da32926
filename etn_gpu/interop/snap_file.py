"""SNAP as LAMMPS keeps it: a file of coefficients for each element and a file of settings.

Numbers are kept as they are, and :func:`texts` writes them so that they are read again to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.snap_bispectrum import components

#: Higher ones would take minutes and gigabytes; published potentials end at 14.
LARGEST_TWOJMAX = 20
#: What LAMMPS takes to run and does not change the energy.
IGNORED = ("chunksize", "parallelthresh")
LISTS = ("sinner", "dinner")


@dataclass(frozen=True)
class SnapElement:
    """An element: its name, radius (in units of rcutfac A), weight as a neighbour, and coefficients in eV."""

    name: str
    radius: float
    weight: float
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class SnapSettings:
    """The settings, under the names that they have in the file and with the defaults of LAMMPS.

    ``sinner`` and ``dinner`` have a number for each element in the order of ``pair_coeff``.
    """

    rcutfac: float
    twojmax: int
    rfac0: float = 0.99363
    rmin0: float = 0.0
    switchflag: int = 1
    bzeroflag: int = 1
    quadraticflag: int = 0
    chemflag: int = 0
    bnormflag: int = 0
    wselfallflag: int = 0
    switchinnerflag: int = 0
    sinner: tuple[float, ...] = ()
    dinner: tuple[float, ...] = ()


@dataclass(frozen=True)
class SnapFile:
    """Both files. ``notes`` say what stood in them and was left out."""

    elements: tuple[SnapElement, ...]
    settings: SnapSettings
    notes: tuple[str, ...] = field(default=(), compare=False)

    def to_json(self) -> dict[str, Any]:
        """As lists, numbers and names."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> SnapFile:
        """What :meth:`to_json` gave; ModelFileError where it is something else."""
        try:
            elements = tuple(
                SnapElement(**{**e, "coefficients": tuple(e["coefficients"])}) for e in content["elements"]
            )
            lists = {name: tuple(content["settings"][name]) for name in LISTS}
            return SnapFile(elements, SnapSettings(**{**content["settings"], **lists}), tuple(content["notes"]))
        except (KeyError, TypeError) as error:
            raise ModelFileError(
                f"this is no description of a SNAP potential: {error!r} is missing or wrong"
            ) from error


@dataclass(frozen=True)
class _Lines:
    """The lines of a file that say something, as words with their numbers."""

    name: str
    lines: tuple[tuple[int, tuple[str, ...]], ...]
    end: int

    @staticmethod
    def of(text: str, name: str) -> _Lines:
        lines = text.splitlines()
        words = ((number, tuple(line.split("#")[0].split())) for number, line in enumerate(lines, 1))
        return _Lines(name, tuple((number, found) for number, found in words if found), len(lines))

    def error(self, number: int, message: str) -> ModelFileError:
        return ModelFileError(f"{self.name}, line {number}: {message}")

    def number(self, at: int, word: str, what: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if not isfinite(value) or "_" in word:
            raise self.error(at, f"{what} must be a finite number, got {word!r}")
        return value

    def integer(self, at: int, word: str, what: str, largest: int) -> int:
        if not (word.isascii() and word.isdigit() and int(word) <= largest):
            raise self.error(at, f"{what} must be an integer from 0 to {largest}, got {word!r}")
        return int(word)


def parse(coefficients: str, parameters: str, names: tuple[str, str] = ("snapcoeff", "snapparam")) -> SnapFile:
    """Read the texts of both files; ``names`` are theirs in messages.

    ModelFileError, with the line, where one is cut off or says what LAMMPS or we do not know.
    """
    settings, notes = _settings(_Lines.of(parameters, names[1]))
    elements = _elements(_Lines.of(coefficients, names[0]))
    return SnapFile(elements, settings, notes)


def _elements(lines: _Lines) -> tuple[SnapElement, ...]:
    if not lines.lines:
        raise ModelFileError(f"{lines.name} is empty; expected the coefficients of a SNAP potential")
    at, words = lines.lines[0]
    if len(words) != 2 or not all(w.isascii() and w.isdigit() and int(w) for w in words):
        given = " ".join(words)[:60]
        raise lines.error(
            at,
            f"expected the numbers of elements and of coefficients of each, got {given!r}; is this a .snapcoeff file?",
        )
    n_elements, count = int(words[0]), int(words[1])
    expected = n_elements * (count + 1)
    rest = lines.lines[1:]
    if len(rest) < expected:
        raise lines.error(
            lines.end,
            f"the file ends here: {n_elements} element(s) with {count} coefficients take {expected} lines, "
            f"there are {len(rest)}; it is cut off, or its first numbers are wrong",
        )
    if len(rest) > expected:
        raise lines.error(
            rest[expected][0],
            f"{n_elements} element(s) with {count} coefficients end before this line; correct the numbers in line {at}",
        )
    elements: list[SnapElement] = []
    for k in range(n_elements):
        (at, words), *values = rest[k * (count + 1) : (k + 1) * (count + 1)]
        if len(words) != 3:
            raise lines.error(at, f"expected 'element radius weight', got {' '.join(words)!r}")
        if words[0] in (e.name for e in elements):
            raise lines.error(at, f"the element {words[0]} is there twice")
        radius, weight = (
            lines.number(at, w, what) for w, what in zip(words[1:], ("a radius", "a weight"), strict=True)
        )
        if radius <= 0:
            raise lines.error(at, f"the radius of {words[0]} must be positive, got {words[1]}")
        for number, line in values:
            if len(line) != 1:
                raise lines.error(number, f"expected one coefficient of {words[0]}, got {' '.join(line)!r}")
        found = tuple(lines.number(number, line[0], f"a coefficient of {words[0]}") for number, line in values)
        elements.append(SnapElement(words[0], radius, weight, found))
    return tuple(elements)


def _settings(lines: _Lines) -> tuple[SnapSettings, tuple[str, ...]]:
    found: dict[str, Any] = {}
    notes: list[str] = []
    seen: dict[str, int] = {}
    known = {f.name for f in fields(SnapSettings)}
    for at, (name, *values) in lines.lines:
        if name in seen:
            raise lines.error(at, f"{name} was given in line {seen[name]} already; remove one of the two")
        seen[name] = at
        if name not in known | {"diagonalstyle", *IGNORED}:
            raise lines.error(
                at, f"the setting {name!r} is not known; settings are {', '.join(f.name for f in fields(SnapSettings))}"
            )
        if not values or (len(values) > 1 and name not in LISTS):
            raise lines.error(at, f"{name} takes one value, got {' '.join(values) or 'none'}")
        if name == "diagonalstyle":
            if values != ["3"]:
                raise lines.error(
                    at, f"diagonalstyle {values[0]} is not supported, only 3, the one that LAMMPS has left"
                )
            notes.append("diagonalstyle 3 is left out: it is what LAMMPS does, which no longer reads the word")
        elif name in IGNORED:
            notes.append(f"{name} {values[0]} is left out: it does not change the energy")
        elif name in LISTS:
            found[name] = tuple(lines.number(at, v, f"a value of {name}") for v in values)
        elif name == "twojmax":
            found[name] = lines.integer(at, values[0], name, LARGEST_TWOJMAX)
        elif name.endswith("flag"):
            found[name] = lines.integer(at, values[0], name, 1)
        else:
            found[name] = lines.number(at, values[0], name)
    missing = [name for name in ("rcutfac", "twojmax") if name not in found]
    if missing:
        raise ModelFileError(f"{lines.name} has no {' and no '.join(missing)}; is this a .snapparam file?")
    settings = SnapSettings(**found)
    _check_settings(lines, settings, seen)
    return settings, tuple(notes)


def _check_settings(lines: _Lines, s: SnapSettings, seen: Mapping[str, int]) -> None:
    if s.rcutfac <= 0:
        raise lines.error(seen["rcutfac"], f"rcutfac must be positive, got {s.rcutfac:g}")
    if s.rfac0 <= 0:
        raise lines.error(seen["rfac0"], f"rfac0 must be positive, got {s.rfac0:g}")
    if s.rmin0 < 0:
        raise lines.error(seen["rmin0"], f"rmin0 must not be negative, got {s.rmin0:g}")
    for name in LISTS:
        if s.switchinnerflag and name not in seen:
            raise lines.error(seen["switchinnerflag"], f"switchinnerflag 1 needs {name}, which is missing")
        if not s.switchinnerflag and name in seen:
            raise lines.error(seen[name], f"{name} needs switchinnerflag 1")
    if any(d <= 0 for d in s.dinner):
        raise lines.error(seen["dinner"], "the widths dinner must be positive")


def expected_counts(settings: SnapSettings, n_species: int) -> int:
    """Coefficients of an element: the constant, one for each component, and one for each pair of components."""
    n = len(components(settings.twojmax)) * (n_species**3 if settings.chemflag else 1)
    return 1 + n + (n * (n + 1) // 2 if settings.quadraticflag else 0)


def check_species(file: SnapFile, species: Sequence[str], names: tuple[str, str] = ("snapcoeff", "snapparam")) -> None:
    """Raise ModelFileError unless the files hold what ``species``, in the order of ``pair_coeff``, need."""
    settings, there = file.settings, [e.name for e in file.elements]
    if not species or len(set(species)) != len(species):
        raise ModelFileError(f"species must be one or more different elements, got {list(species)}")
    if missing := [s for s in species if s not in there]:
        raise ModelFileError(
            f"{names[0]} has no coefficients of {', '.join(missing)}; its elements are {', '.join(there)}"
        )
    for name in LISTS:
        values = getattr(settings, name)
        if settings.switchinnerflag and len(values) != len(species):
            raise ModelFileError(f"{names[1]}: {name} has {len(values)} values for {len(species)} species")
    count, expected = len(file.elements[0].coefficients), expected_counts(settings, len(species))
    if count != expected:
        flags = [f for f in ("quadraticflag", "chemflag") if getattr(settings, f)]
        raise ModelFileError(
            f"{names[0]} has {count} coefficients for each element, but twojmax {settings.twojmax}"
            f"{''.join(f', {f} 1' for f in flags)} and {len(species)} species take {expected}; the two files do not "
            "belong together" + (", or species are missing" if settings.chemflag else "")
        )


def texts(file: SnapFile) -> tuple[str, str]:
    """The texts of both files, with every digit of the numbers; LAMMPS reads them."""
    coefficients = [f"{len(file.elements)} {len(file.elements[0].coefficients)}"]
    for e in file.elements:
        coefficients += [f"{e.name} {e.radius!r} {e.weight!r}", *map(repr, e.coefficients)]
    lines = []
    for entry in fields(SnapSettings):
        value = getattr(file.settings, entry.name)
        if isinstance(value, tuple):
            if value:
                lines.append(f"{entry.name} {' '.join(map(repr, value))}")
        else:
            lines.append(f"{entry.name} {value!r}")
    return "\n".join(coefficients) + "\n", "\n".join(lines) + "\n"
