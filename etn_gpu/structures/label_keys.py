"""Under which keys labels are found: one table of names, and what it picks from the keys that a structure has."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etn_gpu.errors import DataError
from etn_gpu.structures.label_units import (
    LENGTHS,
    UnitStatement,
    label_unit,
    lengths_are_foreign,
    unit_statements,
)
from etn_gpu.structures.label_values import is_missing

if TYPE_CHECKING:
    from ase import Atoms

QUANTITIES = ("energy", "forces", "stress", "virial")
#: Prefixes of label keys, in the order of preference.
PREFIXES = ("REF_", "", "dft_", "DFT_")
#: What each quantity is called after a prefix, in any case, with `-` or `_`; the first found wins.
NAMES = {
    "energy": ("energy", "free_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
}
#: Before a key of an attached calculator's results.
CALCULATOR = "calculator "

_QUANTITY_OF = {name: quantity for quantity, names in NAMES.items() for name in names}
# Places in the order of preference, from the smallest: prefixes, then what a calculator holds under ASE's own name,
# then names without a prefix that are not ASE's own, such as `Energy`, `force` or `virial`. (ASE's readers put what an
# XYZ file calls `energy` into a calculator: it shall not lose against a second spelling.)
_AFTER_PREFIXES = 4
_AFTER_CALCULATOR = 6
# A free energy serves only where there is no other one.
_LAST_RESORT = 100

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+[0-9]?")
#: A key with one of these words is about labels, and none.
_NO_LABELS = re.compile(
    r"units?|weights?|sigmas?|masks?|has|method|source|origin|types?|names?|cutoff|cut|tol|tolerance|threshold|constants?|"
    r"fields?|forcefield|errors?|std|uncertaint(?:y|ies)|variance|kinetic|e?kin|fermi|hull|conv|flag|applied|"
    r"external|rank|bin|index|scale|range|n|num|number|count|calls|evaluations"
)
_ENERGIES = frozenset({"e", "e0", "u0", "ene", "energ", "toten", "etot", "epot", "efree"})
_FORCES = frozenset({"f", "fx", "fy", "fz", "frc", "force", "forces", "grad", "grads", "gradient", "gradients"})
#: The end of a key that holds one component of a tensor.
_COMPONENT = re.compile(r"(?:[xyz]{2}|\D[1-6])$", re.IGNORECASE)


@dataclass(frozen=True)
class LabelKeys:
    """The keys that a user names for some of the labels; None leaves the choice to the table of usual names.

    A key is matched exactly where it is there, else whatever its case; `calculator energy` names a result of an
    attached calculator. A named stress or virial is the only source of the stress.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None

    def given(self) -> dict[str, str]:
        """Quantity -> key, of those that are named."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}


class Source(NamedTuple):
    """Where a label is: its quantity, the key as it is spelled, and the store that has it.

    The store is "info", "arrays" or "results" (of the attached calculator).
    """

    quantity: str
    store: str
    key: str

    @property
    def name(self) -> str:
        """The key, as messages and audit show it."""
        return CALCULATOR + self.key if self.store == "results" else self.key

    def value(self, atoms: Atoms) -> Any:
        """What the structure has there."""
        if self.store == "results":
            return atoms.calc.results[self.key]
        return (atoms.info if self.store == "info" else atoms.arrays)[self.key]


@dataclass(frozen=True)
class KeyPlan:
    """What is read from structures that have one set of keys.

    sources: for "energy", "forces" and "stress" (which a virial may give) the places, the preferred one first; unused:
    places whose keys look like those of labels, and are none of these; group: the key of the configuration type;
    units: the units that are stated.
    """

    sources: dict[str, tuple[Source, ...]]
    unused: tuple[Source, ...]
    group: str | None
    units: tuple[UnitStatement, ...]


def results_of(atoms: Atoms) -> dict[str, Any]:
    """The results that an attached calculator holds; nothing is calculated."""
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", None)
    return results if isinstance(results, dict) else {}


class KeyPlans:
    """The plans of all key sets that occur, each made once, however many structures have these keys."""

    def __init__(self, keys: LabelKeys | None = None) -> None:
        self._keys = keys or LabelKeys()
        self._plans: dict[tuple[object, ...], KeyPlan] = {}

    def __call__(self, atoms: Atoms) -> KeyPlan:
        """The plan for one structure."""
        results = results_of(atoms)
        # Of a single atom, a column cannot be told from a value of the structure.
        key_set = (len(atoms) > 1, tuple(atoms.info), tuple(atoms.arrays), tuple(results))
        plan = self._plans.get(key_set)
        if plan is None:
            plan = self._plans[key_set] = _plan(atoms, results, self._keys)
        return plan

    @property
    def plans(self) -> Collection[KeyPlan]:
        """All plans so far."""
        return self._plans.values()


def looks_like(key: str) -> str | None:
    """The quantity whose label a key could hold, by its name alone; None for a key that is not like a label's."""
    words = _WORD.findall(_CAMEL.sub("_", key).lower())
    if not words or any(map(_NO_LABELS.fullmatch, words)):
        return None
    text = "".join(words)
    if "virial" in text:
        return "virial"
    if "stress" in text:
        return "stress"
    if "energy" in text or "energies" in text or {words[0], words[-1]} & _ENERGIES:
        # what gap_energy is, of a band or of a potential (GAP), is open; gap_force is of a potential
        return None if "gap" in words else "energy"
    forced = text.endswith(("force", "forces")) and not text.endswith("nforce")  # not to enforce
    return "forces" if forced or not _FORCES.isdisjoint(words) else None


def table_entry(key: str) -> tuple[int, int, str] | None:
    """Rank, deviation from the usual spelling and quantity of a key of `info` or `arrays`; None for no label's.

    Of two keys the one with the smaller rank is preferred, then the one that is spelled more as usual.
    """
    lower = key.lower().replace("-", "_")
    prefix = next((p for p in ("ref_", "dft_") if lower.startswith(p)), "")
    name = lower[len(prefix) :]
    quantity = _QUANTITY_OF.get(name)
    if quantity is None:
        return None
    given = key[: len(prefix)]
    usual = (given if given in PREFIXES else prefix) + name
    if given in PREFIXES and (prefix or (name == quantity and key == name and quantity != "virial")):
        rank = PREFIXES.index(given)
    elif prefix:
        rank = 0 if prefix == "ref_" else _AFTER_PREFIXES
    else:
        rank = _AFTER_CALCULATOR
    deviation = sum(a != b for a, b in zip(key, usual, strict=True)) + (bool(prefix) and given not in PREFIXES)
    return rank + _LAST_RESORT * (name == "free_energy"), 2 * deviation + NAMES[quantity].index(name) % 2, quantity


def _plan(atoms: Atoms, results: dict[str, Any], keys: LabelKeys) -> KeyPlan:
    found: dict[str, list[tuple[tuple[object, ...], Source]]] = {"energy": [], "forces": [], "stress": []}
    unused: list[Source] = []
    info = [key for key in atoms.info if isinstance(key, str)]
    stores: list[tuple[str, Iterable[str]]] = [("info", info), ("arrays", atoms.arrays), ("results", results)]
    for store, names in stores:
        for key in names:
            entry = _entry(store, key, atoms)
            if entry is not None:
                rank, deviation, quantity = entry
                order = (rank, quantity == "virial", deviation, key)
                found[target(quantity)].append((order, Source(quantity, store, key)))
            elif (like := looks_like(key)) and _may_be_label(source := Source(like, store, key), atoms):
                unused.append(source)
    sources = {name: tuple(source for _, source in sorted(places)) for name, places in found.items()}
    given = keys.given()
    for name in {target(quantity) for quantity in given}:
        chosen = [named_source(quantity, key, stores) for quantity, key in given.items() if target(quantity) == name]
        sources[name] = tuple(source for source in chosen if source is not None)
        # Whoever names a key has settled the matter.
        unused = [source for source in unused if target(source.quantity) != name]
    return KeyPlan(sources, tuple(unused), _group(info), unit_statements(info))


def keys_in_other_units(atoms: Atoms) -> set[str]:
    """Keys of `info` and `arrays` that would be misread beside lengths in A and labels in eV and A: statements of other
    units, and the labels that they may be about."""
    statements = unit_statements(key for key in atoms.info if isinstance(key, str))
    if not statements:
        return set()
    found: set[str] = set()
    if lengths_are_foreign(atoms):
        found |= {statement.key for statement in statements if statement.quantity in ("", *LENGTHS)}
    if any(_is_foreign(statements, quantity, atoms) for quantity in QUANTITIES):
        found |= {str(key) for key in (*atoms.info, *atoms.arrays) if isinstance(key, str) and table_entry(key)}
        found |= {statement.key for statement in statements if statement.quantity in ("", *QUANTITIES)}
    return found


def _is_foreign(statements: tuple[UnitStatement, ...], quantity: str, atoms: Atoms) -> bool:
    try:
        stated = [
            label_unit(statements, quantity, prefix + quantity, atoms)
            for prefix in {item.prefix for item in statements}
        ]
    except DataError:
        return True
    return any(unit is not None and unit[1] != 1.0 for unit in stated)


def keys_there(structures: Iterable[Atoms]) -> str:
    """All keys of some structures in words, for messages."""
    info: set[str] = set()
    arrays: set[str] = set()
    results: set[str] = set()
    for atoms in structures:
        info.update(map(str, atoms.info))
        arrays.update(atoms.arrays)
        results.update(results_of(atoms))
    arrays -= {"numbers", "positions"}
    return f"info keys {sorted(info)}, array keys {sorted(arrays)} and results of a calculator {sorted(results)}"


def target(quantity: str) -> str:
    """The label that a quantity gives: a virial gives the stress."""
    return "stress" if quantity == "virial" else quantity


def _entry(store: str, key: str, atoms: Atoms) -> tuple[int, int, str] | None:
    """Like `table_entry`, for places where the quantity may be."""
    if store == "results":
        rank = _AFTER_PREFIXES + 1
        if key == "free_energy":
            return rank + _LAST_RESORT, 0, "energy"
        # ASE's reader of XYZ also puts columns of these names there, with one value for each atom.
        value = results_of(atoms)[key]
        if key == "forces" or (key == "energy" and not _per_atom(value, atoms, 1)):
            return (rank, 0, key) if not isinstance(value, bool) else None
        return (rank, 0, key) if key == "stress" and not _per_atom(value, atoms, 2) else None
    entry = table_entry(key)
    if entry is None or (store == "arrays" and entry[2] != "forces"):
        return None
    # `energy` as a word of a comment is a flag, not a label.
    return None if isinstance(_value(store, key, atoms), bool | np.bool_) else entry


def _per_atom(value: Any, atoms: Atoms, n_axes: int) -> bool:
    """Whether the value is an array with so many axes, the first over atoms (and of no other meaning)."""
    shape = np.shape(value) if isinstance(value, np.ndarray) else ()
    return len(shape) == n_axes and 1 < len(atoms) == shape[0] and shape != (3, 3)


def _value(store: str, key: str, atoms: Atoms) -> Any:
    return Source("", store, key).value(atoms)


def _may_be_label(source: Source, atoms: Atoms) -> bool:
    """Whether a value may be a label, by the first one: a number in a text, numbers, or nothing yet."""
    value = source.value(atoms)
    words = _WORD.findall(_CAMEL.sub("_", source.key).lower())
    if isinstance(value, bool | np.bool_):
        # a lone word of a comment, as in `energy: -3.5`, which ASE's reader takes for flags
        return len(words) == 1
    if isinstance(value, str) and not is_missing(value):
        try:
            float(value)
        except ValueError:
            return False
    if isinstance(value, str | int | float | np.number) and source.quantity != "energy":
        # one number is a component of a tensor at most
        return source.quantity != "forces" and bool(_COMPONENT.search(source.key))
    return not isinstance(value, dict)


def named_source(quantity: str, wanted: str, stores: list[tuple[str, Iterable[str]]]) -> Source | None:
    """The place that a user names: exactly, or else whatever its case."""
    texts: list[Callable[[str], str]] = [str, str.lower]
    for text in texts:
        for store, names in stores:
            for key in names:
                source = Source(quantity, store, key)
                if text(wanted) in (text(key), text(source.name)):
                    return source
    return None


def _group(info: list[str]) -> str | None:
    if "config_type" in info:
        return "config_type"
    return next((key for key in info if key.lower().replace("-", "_") == "config_type"), None)
