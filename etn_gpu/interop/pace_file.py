"""What a `.yace` file says, and nothing else: the potential that the engines of PACE call a C-tilde basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ase.data import atomic_numbers

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.pace_yaml import Node, parse_yaml

#: Radial functions that python-ace evaluates; TEST_SBessel is another name of SBessel.
RADIAL_KINDS = ("ChebExpCos", "ChebPow", "ChebLinear", "SBessel", "TEST_SBessel")
EMBEDDINGS = ("FinnisSinclair", "FinnisSinclairShiftedScaled")
INNER_KINDS = ("density", "distance", "zbl")
#: Larger ones are no potentials, but would take all memory.
LARGEST_L, MOST_RADIAL, LARGEST_RANK = 12, 64, 8
T = TypeVar("T")


@dataclass(frozen=True)
class Embedding:
    """How the densities of a species become an energy: weights and exponents side by side, and the core switch."""

    n_densities: int
    parameters: tuple[float, ...]
    kind: str
    core_cutoff: float
    core_width: float


@dataclass(frozen=True)
class Bond:
    """Radial functions of a pair of species: coefficients [n][l][k], core repulsion, outer and inner cutoff (A).

    ``inner`` is (cutoff, width, kind), each None where the file does not say it.
    """

    n_radial: int
    lmax: int
    n_base: int
    kind: str
    parameters: tuple[float, ...]
    coefficients: tuple[tuple[tuple[float, ...], ...], ...]
    core_prefactor: float
    core_decay: float
    cutoff: float
    width: float
    inner: tuple[float | None, float | None, str | None] = (None, None, None)

    @property
    def basis(self) -> str:
        """The kind of the radial functions, by one name."""
        return self.kind.removeprefix("TEST_")

    @property
    def inner_cutoff(self) -> float:
        """Where the inner cutoff ends, 0 by default."""
        return self.inner[0] or 0.0

    @property
    def inner_width(self) -> float:
        """How wide it is, 0 by default."""
        return self.inner[1] or 0.0

    @property
    def inner_kind(self) -> str:
        """What switches the site close to its core: old files, which do not say it, mean the density of the core."""
        return self.inner[2] or "density"


@dataclass(frozen=True)
class Function:
    """A product of atomic bases: species, n (from 1) and l of each; for each combination of m a number per density."""

    species: tuple[int, ...]
    ns: tuple[int, ...]
    ls: tuple[int, ...]
    ms: tuple[tuple[int, ...], ...]
    coefficients: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PaceFile:
    """A C-tilde basis: one embedding and a list of functions for each element, a bond for each ordered pair of them."""

    elements: tuple[str, ...]
    references: tuple[float, ...]
    spline_step: float
    embeddings: tuple[Embedding, ...]
    bonds: tuple[tuple[Bond, ...], ...]
    functions: tuple[tuple[Function, ...], ...]


def read_pace_file(path: str | Path) -> PaceFile:
    """Read a `.yace` file.

    Raises:
        ModelFileError: it cannot be read, is no such file, or says what no engine or this library cannot evaluate.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ModelFileError(f"{path} is no text, expected a PACE potential (.yace)") from None
    return parse_pace(text, str(path))


def parse_pace(text: str, name: str) -> PaceFile:
    """The file that a text is; ``name`` it has in errors."""
    keys = ("elements", "E0", "deltaSplineBins", "embeddings", "bonds", "functions")
    root = parse_yaml(text, name)
    if "species" in {key.node.value for key, _ in root.entries()}:
        root.refuse("a B-basis of pacemaker (.yaml), not a .yace: convert it, for example by `pace_yaml2yace FILE`")
    top = root.fields(keys)
    elements = tuple(item.word() for item in top["elements"].items())
    if not elements or len(set(elements)) < len(elements) or any(e not in atomic_numbers for e in elements):
        top["elements"].refuse(f"elements must be one or more different chemical symbols, got {list(elements)}")
    n = len(elements)
    step = top["deltaSplineBins"].number()
    embeddings = tuple(_embedding(node) for node in _by_species(top["embeddings"], n))
    bonds = _bonds(top["bonds"], n)
    limits = _Limits(
        n, max(b.n_radial for r in bonds for b in r), max(b.lmax for r in bonds for b in r),
        max(b.n_base for r in bonds for b in r),
    )  # fmt: skip
    functions = tuple(
        tuple(_function(item, species, embeddings[species].n_densities, limits) for item in node.items())
        for species, node in enumerate(_by_species(top["functions"], n))
    )
    return PaceFile(elements, top["E0"].numbers(n), step, embeddings, bonds, functions)


def _by_species(node: Node, n: int) -> list[Node]:
    found: dict[int, Node] = {}
    for key, value in node.entries():
        species = key.integer(0, n - 1)
        if species in found:
            key.refuse(f"{node.what} has species {species} twice")
        found[species] = Node(value.node, value.name, f"species {species} of {node.what}")
    if len(found) < n:
        node.refuse(f"{node.what} has {len(found)} species, but there are {n} elements; is the file complete?")
    return [found[species] for species in range(n)]


def _embedding(node: Node) -> Embedding:
    f = node.fields(("ndensity", "FS_parameters", "npoti", "rho_core_cutoff", "drho_core_cutoff"))
    n = f["ndensity"].integer(1, 16)
    parameters, kind = f["FS_parameters"].numbers(), f["npoti"].word()
    if len(parameters) < 2 * n:
        f["FS_parameters"].refuse(f"{len(parameters)} FS_parameters, expected a weight and an exponent per density")
    if kind not in EMBEDDINGS:
        f["npoti"].refuse(f"the embedding {kind!r} is not known; known are {', '.join(EMBEDDINGS)}")
    if any(m <= 0 for m in parameters[1 : 2 * n : 2]):
        f["FS_parameters"].refuse(f"the exponents of densities must be above 0, got {parameters}")
    return Embedding(n, parameters, kind, f["rho_core_cutoff"].number(), f["drho_core_cutoff"].number())


def _bonds(node: Node, n: int) -> tuple[tuple[Bond, ...], ...]:
    found: dict[tuple[int, ...], Bond] = {}
    for key, value in node.entries():
        pair = key.integers(2, 0, n - 1)
        if pair in found:
            key.refuse(f"bonds has the pair {list(pair)} twice")
        found[pair] = _bond(Node(value.node, value.name, f"the bond {list(pair)}"))
    if missing := [[i, j] for i in range(n) for j in range(n) if (i, j) not in found]:
        node.refuse(f"bonds lacks the pairs {missing[:4]} of {n} elements; is the file complete?")
    kinds = {bond.inner_kind for bond in found.values()}
    if len(kinds) > 1:
        node.refuse(
            f"bonds have the inner_cutoff_type {sorted(kinds)}; python-ace takes the last for all: make them equal"
        )
    return tuple(tuple(found[i, j] for j in range(n)) for i in range(n))


def _bond(node: Node) -> Bond:
    required = (
        "nradmax", "lmax", "nradbasemax", "radbasename", "radparameters", "radcoefficients", "prehc", "lambdahc",
        "rcut", "dcut",
    )  # fmt: skip
    kinds = [value.word() for key, value in node.entries() if key.word() == "radbasename"]
    if kinds and kinds[0] not in RADIAL_KINDS:
        node.refuse(f"the radial functions {kinds[0]!r} are not known; known are {', '.join(RADIAL_KINDS)}")
    f = node.fields(required, ("rcut_in", "dcut_in", "inner_cutoff_type"))
    n, lmax = f["nradmax"].integer(0, MOST_RADIAL), f["lmax"].integer(0, LARGEST_L)
    base = f["nradbasemax"].integer(1, MOST_RADIAL)
    inner = (
        f["rcut_in"].number() if "rcut_in" in f else None,
        f["dcut_in"].number() if "dcut_in" in f else None,
        f["inner_cutoff_type"].word() if "inner_cutoff_type" in f else None,
    )
    bond = Bond(
        n, lmax, base, f["radbasename"].word(), f["radparameters"].numbers(),
        _coefficients(f["radcoefficients"], n, lmax, base), f["prehc"].number(), f["lambdahc"].number(),
        f["rcut"].number(), f["dcut"].number(), inner,
    )  # fmt: skip
    _check_bond(bond, f)
    return bond


def _coefficients(node: Node, n: int, lmax: int, base: int) -> tuple[tuple[tuple[float, ...], ...], ...]:
    def listed(given: Node, count: int, what: str) -> list[Node]:
        items = given.items()
        if len(items) != count:
            given.refuse(f"{given.what} has {len(items)} {what}, expected {count}")
        return items

    return tuple(tuple(l.numbers(base) for l in listed(row, lmax + 1, "l")) for row in listed(node, n, "n"))


def _check_bond(bond: Bond, f: dict[str, Node]) -> None:
    """Refuse what would be no smooth function of the distance, or none at all."""
    if not 0 < bond.cutoff <= 100:
        f["rcut"].refuse(f"rcut must be a distance in A above 0, got {bond.cutoff:g}")
    if not 0 <= bond.width <= bond.cutoff:
        f["dcut"].refuse(f"dcut must lie between 0 and rcut, got {bond.width:g}")
    lowest = {"ChebPow": 1.0}.get(bond.kind)
    if not bond.parameters:
        f["radparameters"].refuse("radparameters holds no number")
    if bond.kind == "ChebExpCos" and not 0 < abs(bond.parameters[0]) < 100:
        f["radparameters"].refuse(f"ChebExpCos needs a parameter other than 0, got {bond.parameters[0]:g}")
    if lowest is not None and bond.parameters[0] < lowest:
        f["radparameters"].refuse(f"{bond.kind} needs a parameter of at least {lowest:g}, got {bond.parameters[0]:g}")
    if bond.inner_kind not in INNER_KINDS:
        f["inner_cutoff_type"].refuse(
            f"the inner_cutoff_type {bond.inner_kind!r} is not known; known are {', '.join(INNER_KINDS)}"
        )
    start = bond.inner_cutoff - bond.inner_width
    if bond.inner_width < 0 or bond.inner_cutoff < 0:
        f["rcut"].refuse("rcut_in and dcut_in must not be below 0")
    if bond.inner_kind == "density" and start > 0:
        f["rcut"].refuse("radial functions would jump at rcut_in - dcut_in, with the inner_cutoff_type density")
    if bond.inner_width == 0 and (
        bond.inner_kind == "zbl" or (bond.inner_kind == "distance" and bond.inner_cutoff > 0)
    ):
        f["rcut"].refuse("energies would jump at rcut_in: give it a width dcut_in above 0")


@dataclass(frozen=True)
class _Limits:
    species: int
    n: int
    l: int
    base: int


def _function(node: Node, species: int, n_densities: int, limits: _Limits) -> Function:
    node = Node(node.node, node.name, f"a function of species {species}")
    f = node.fields(("mu0", "rank", "ndensity", "num_ms_combs", "mus", "ns", "ls", "ms_combs", "ctildes"))
    if f["mu0"].integer(0) != species:
        f["mu0"].refuse(f"mu0 is {f['mu0'].word()} among the functions of species {species}")
    if f["ndensity"].integer(1) != n_densities:
        f["ndensity"].refuse(
            f"ndensity is {f['ndensity'].word()}, but the embedding of species {species} has {n_densities}"
        )
    rank, count = f["rank"].integer(1, LARGEST_RANK), f["num_ms_combs"].integer(1)
    mus = f["mus"].integers(rank, 0, limits.species - 1)
    ns = f["ns"].integers(rank, 1, limits.base if rank == 1 else limits.n)
    ls = f["ls"].integers(rank, 0, 0 if rank == 1 else limits.l)
    ms = _rows(f["ms_combs"].integers(rank * count, -LARGEST_L), rank)
    for combination in ms:
        if any(abs(m) > l for m, l in zip(combination, ls, strict=True)):
            f["ms_combs"].refuse(f"the combination {list(combination)} of m goes beyond l = {list(ls)}")
        if sum(combination):
            f["ms_combs"].refuse(f"the combination {list(combination)} of m does not sum to 0: no invariant")
    if rank == 1 and count != 1:
        f["num_ms_combs"].refuse(f"a function of rank 1 has one combination of m, got {count}")
    return Function(mus, ns, ls, ms, _rows(f["ctildes"].numbers(n_densities * count), n_densities))


def _rows(values: Sequence[T], width: int) -> tuple[tuple[T, ...], ...]:
    return tuple(tuple(values[k : k + width]) for k in range(0, len(values), width))
