"""Headers of extended XYZ as other programs write them, in the form that ASE's parser takes.

GPUMD, for one, takes `lattice=` and `properties=` in any case. For ASE they are entries without a meaning: the crystal
would become a cluster, its forces would be dropped.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

from etn_gpu.errors import DataError
from etn_gpu.structures.xyz_columns import usual_properties, with_e_exponents

_KNOWN = {name.lower(): name for name in ("Lattice", "Properties", "pbc")}
#: A key, then perhaps = and a value; quotes and brackets as ASE knows them, a quote left open goes to the end.
_ITEM = re.compile(
    r"""
    (?P<key>(?:"[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\\.|[^\s="'\{\[\\])+)
    (?:\s*=\s*
        (?P<value>
            (?:\[\s*\[.*?\]\s*\]
            |"(?:\\.|[^"\\])*(?:"|$)|'(?:\\.|[^'\\])*(?:'|$)|\{[^}]*(?:\}|$)|\[[^\]]*(?:\]|$)
            |\\.|[^\s"'\{\[\\])*
        )
    )?
    """,
    re.VERBOSE,
)
_PLAIN_PBC = re.compile(r"""(["'])[TF] [TF] [TF]\1""")
_CELL_KEY = re.compile(r"(?:^|_)(?:(?:unit|super|sim|simulation)?_?cell|box|bbox|h_?matrix)(?:$|_)")
#: What such a key ends in when it counts or names cells.
_NO_CELLS = ("index", "id", "type", "name", "number", "count", "no")
_CELL_COUNTS = (3, 6, 9)
_NINE = 9
_LATTICE = 'Lattice="'
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
_UNNAMED_CELL = re.compile(rf"(?:lattice|cell|box)\W+(?:{_NUMBER}[\s,;\]\[]+){{8}}{_NUMBER}", re.IGNORECASE)
_COLUMNS = re.compile(r"\w+:[RSILrsil]:[1-9]")
_QUOTES = ("'", '"')
_CELL_PARAMETERS = {"a", "b", "c", "alpha", "beta", "gamma"}
#: How alike "lattice" and a word have to be for a slip of the pen.
_ALIKE = 0.8
_TRUE = {"t", "true", ".true.", "1", "1.0", "p", "y", "yes", "on"}
_FALSE = {"f", "false", ".false.", "0", "0.0", "n", "no", "none", "off"}
_N_AXES = 3


def usual_header(comment: str) -> str:
    """The same header with Lattice, Properties and pbc spelled and valued as ASE's parser expects them.

    A header that is so already comes back untouched, at the cost of splitting it once.

    Raises:
        DataError: a key only looks like a lattice, or Lattice, Properties or pbc cannot be what is meant.
    """
    # Written for speed: reading spends most of its time in ASE's parser, and this must not add to it.
    if "D+" in comment or "D-" in comment or "D0" in comment or "d+" in comment or "d-" in comment or "d0" in comment:
        comment = with_e_exponents(comment)
    if is_as_ase_writes(comment):
        return comment
    # Between two = lie the value of the key before and the key after.
    parts = [part.rsplit(None, 1) for part in comment.split("=")]
    keys = tuple([part[-1] if part else "" for part in parts[:-1]])
    properties = pbc = lattice = None
    for k, key in enumerate(keys):
        if key == "Properties":
            properties = _value(parts, k)
        elif key == "pbc":
            pbc = _value(parts, k)
        elif key == "Lattice":
            lattice = _value(parts, k)
    if lattice is None:
        lower = comment.lower()
        usual = not ("lat" in lower or "cell" in lower or "box" in lower or "vec" in lower)
    else:
        usual = lattice[:1] in _QUOTES and len(lattice.split()) == _NINE
    if properties is None and ":" in comment and _COLUMNS.search(comment):
        usual = False
    return comment if usual and _is_usual(keys, properties, pbc) else _rewritten(comment)


def is_as_ase_writes(comment: str) -> bool:
    """Whether a header is what ASE writes for a crystal with symbols first, as nearly all are: quicker to tell."""
    lower = comment.lower()
    return (
        comment.startswith(_LATTICE)
        and lower.count("lattice") == 1
        and lower.count("properties") == 1
        and lower.count("pbc") == comment.count(' pbc="T T T"')
        and " Properties=species:S:1:pos:R:3" in comment
        and len(comment[len(_LATTICE) : comment.find('"', len(_LATTICE))].split()) == _NINE
    )


def _value(parts: list[list[str]], k: int) -> str:
    """What stands behind the k-th key, up to the next key or the end."""
    following = parts[k + 1]
    if k + 2 == len(parts):
        return " ".join(following)
    return following[0].strip() if len(following) > 1 else ""


@lru_cache(maxsize=4096)
def _is_usual(keys: tuple[str, ...], properties: str | None, pbc: str | None) -> bool:
    """Whether these keys, and these values of Properties and pbc, are as ASE takes them."""
    if len(set(keys)) < len(keys) or (pbc is not None and not _PLAIN_PBC.fullmatch(pbc)):
        return False
    for key in keys:
        bare = _bare(key).lower()
        if bare in _KNOWN and key != _KNOWN[bare]:
            return False
    if "Lattice" not in keys and any(_alike(_bare(key).lower()) for key in keys):
        return False
    if {key.lower() for key in keys} >= _CELL_PARAMETERS:
        return False
    try:
        return properties is None or usual_properties(properties) == properties
    except DataError:
        return False


def _rewritten(comment: str) -> str:
    words: list[str] = []
    given: dict[str, str] = {}
    others: dict[str, str] = {}
    for item in _ITEM.finditer(comment):
        key, value = _bare(item["key"]), item["value"]
        name = _KNOWN.get(key.lower())
        if name is None or value is None:
            others.setdefault(key, value or "")
            words.append(item[0])
            continue
        usual = _USUAL[name](value, key)
        if given.setdefault(name, usual) != usual:
            raise DataError(f"the header has two different values for {name}: {given[name]} and {usual}")
        if usual is given[name]:
            words.append(f"{name}={usual}")
    _check_others(comment, others, given)
    return " ".join(words) + ("\n" if comment.endswith("\n") else "")


def _bare(text: str) -> str:
    return text.strip("\"'{}[] ")


def _numbers(text: str) -> list[float] | None:
    words = re.split(r"[\s,;]+", re.sub(r"[\[\]{}()\"']|_JSON", " ", with_e_exponents(text)).strip())
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _usual_lattice(value: str, key: str) -> str:
    numbers = _numbers(value)
    if numbers is None or len(numbers) != _NINE:
        count = "no numbers" if numbers is None else f"{len(numbers)} numbers"
        raise DataError(f"{key}={value} holds {count}: expected the nine components of the cell vectors a, b, c in A")
    return '"' + " ".join(repr(x) for x in numbers) + '"'


def _usual_columns(value: str, key: str) -> str:
    return usual_properties(_bare(value))


def _usual_pbc(value: str, key: str) -> str:
    words = re.sub(r"[\[\]{}()\"',;]", " ", value).lower().split()
    if len(words) == 1 and len(words[0]) == _N_AXES and set(words[0]) <= set("tf10p"):
        words = list(words[0])
    if len(words) == 1:
        words *= _N_AXES
    if len(words) != _N_AXES or not set(words) <= _TRUE | _FALSE:
        raise DataError(f'{key}={value}: expected three flags like pbc="T T F"')
    return '"' + " ".join("T" if word in _TRUE else "F" for word in words) + '"'


_USUAL = {"Lattice": _usual_lattice, "Properties": _usual_columns, "pbc": _usual_pbc}


def _alike(key: str) -> bool:
    """Whether a key without capitals is one for the cell, or nearly: latice, unit_cell, lattice_vectors, box."""
    if key.endswith(_NO_CELLS):
        return False
    if _CELL_KEY.search(key) or "lattice" in key or key in ("vectors", "cell_vectors", "axes"):
        return True
    return SequenceMatcher(None, key, "lattice").ratio() >= _ALIKE


def _check_others(comment: str, others: dict[str, str], given: dict[str, str]) -> None:
    """Refuses keys that were meant to be Lattice or Properties."""
    if "Properties" not in given:
        for key, value in others.items():
            if value and _COLUMNS.match(_bare(value)):
                raise DataError(f"the header has {key}={value} and no Properties: correct the name of the key")
    if "Lattice" in given:
        return
    advice = 'as Lattice="ax ay az bx by bz cx cy cz"; for a cluster without a cell remove the key'
    for key, value in others.items():
        if not _alike(key.lower()):
            continue
        numbers = _numbers(value) or []
        size = len(numbers) == 1 and numbers[0] % 1 and _CELL_KEY.search(key.lower())
        if len(numbers) in _CELL_COUNTS or size:
            raise DataError(f"the header has {key}={value} and no Lattice: give the cell {advice}")
    if {key.lower() for key in others} >= _CELL_PARAMETERS:
        raise DataError(f"the header has a, b, c, alpha, beta, gamma and no Lattice: give the cell {advice}")
    if found := _UNNAMED_CELL.search(comment):
        raise DataError(f"the header has {found[0]!r} and no Lattice=: give the cell {advice}")
