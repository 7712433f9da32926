"""The operations of a Program: what each one computes, as hashable data.

Every value of a Program is a list of components over one *space*: ``param`` (no batch), ``edge`` (one column per
edge) or ``atom`` (one column per atom). Blocks of an irrep l with multiplicity n lie as [n, 2l+1], row-major, as on a
leg.

Eight operations are multilinear: :class:`Couple`, :class:`Products`, :class:`Mix`, :class:`EdgeSum`, :class:`Gather`,
:class:`PairTable`, :class:`Fold` and :class:`Copy`. Each is a form

    T(slot_0, slot_1, ..., slot_k)  =  sum over a table of products of one component per slot,

and a term of a Program evaluates the derivative of the form with respect to one of its slots: the *output slot*. The
adjoint of a term is therefore the same form with another output slot, so derivatives of every order stay inside this
list. The others (:class:`Radial`, :class:`Powers`, :class:`Functions`, :class:`Harmonics`, :class:`Constant`) have
derivatives that are couplings (see ``derivative.py``); that of :class:`Nearest` is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

Space = str
SPACES: tuple[Space, ...] = ("param", "edge", "atom")


@dataclass(frozen=True)
class CoupleBlock:
    """One sector triple of a :class:`Couple`: irreps (l0, l1, l2), three multiplicity loops and a scalar.

    ``offsets[s]`` is the first component of the block in slot s; in the loop index i = (i0, i1, i2) < ``counts`` the
    slot's multiplicity is ``sum_t i_t * strides[s][t]`` (units of 2 l_s + 1 components).
    """

    ls: tuple[int, int, int]
    offsets: tuple[int, int, int]
    counts: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
    coefficient: float = 1.0


@dataclass(frozen=True)
class Couple:
    """Clebsch-Gordan coupling: sum over blocks and multiplicities of c C^{l0 l1 l2}[m0, m1, m2] a[m0] b[m1] z[m2]."""

    sizes: tuple[int, int, int]
    blocks: tuple[CoupleBlock, ...]
    name: ClassVar[str] = "couple"
    slots: ClassVar[tuple[str, ...]] = ("a", "b", "z")


@dataclass(frozen=True)
class Products:
    """Sparse bilinear form of components: sum over rows of c a[i] b[j] z[k].

    ``rows`` holds (i, j, k, c), no (i, j, k) twice.
    """

    sizes: tuple[int, int, int]
    rows: tuple[tuple[int, int, int, float], ...]
    name: ClassVar[str] = "products"
    slots: ClassVar[tuple[str, ...]] = ("a", "b", "z")


@dataclass(frozen=True)
class MixBlock:
    """One sector of a :class:`Mix`: w[r, k] at ``weight + r * row_stride + k``, acting on [cols, dim] at ``source``."""

    weight: int
    row_stride: int
    rows: int
    cols: int
    dim: int
    source: int
    target: int


@dataclass(frozen=True)
class Mix:
    """Per-sector linear mixing of multiplicities: sum w[r, k] x[k, m] z[r, m].

    With ``species_stride`` > 0 the weights are a table over the species t of the atom, whose blocks start at
    ``weight + t * species_stride``.
    """

    sizes: tuple[int, int, int]
    blocks: tuple[MixBlock, ...]
    species_stride: int = 0
    name: ClassVar[str] = "mix"
    slots: ClassVar[tuple[str, ...]] = ("w", "x", "z")


@dataclass(frozen=True)
class EdgeSumBlock:
    """One l of an :class:`EdgeSum`: ``count`` rows of f, ``dim`` rows of y, [species, count, dim] at ``target``."""

    radial: int
    count: int
    angular: int
    dim: int
    target: int


@dataclass(frozen=True)
class EdgeSum:
    """Sum over the edges e of an atom, resolved by neighbour species: sum_e f[b, e] y[m, e] S[species(e), b, m].

    With ``merged`` the neighbours are not told apart: species(e) is 0 for all, and ``n_species`` is 1. All sums over
    edges of a Program are merged, or none is; where there is a :class:`Gather`, of each of its passes.
    """

    sizes: tuple[int, int, int]
    blocks: tuple[EdgeSumBlock, ...]
    n_species: int
    merged: bool = False
    name: ClassVar[str] = "edge_sum"
    slots: ClassVar[tuple[str, ...]] = ("f", "y", "S")


@dataclass(frozen=True)
class Gather:
    """Values of atoms, brought to the edges that lead to them: sum_e x[c, j(e)] z[c, e], with the neighbour j of e.

    Its adjoint sums, for each atom, what lies on the edges that lead to it: the reverse edges of its own. What comes
    after a Gather waits for all atoms (see :mod:`etn_gpu.plan.passes`).
    """

    size: int
    name: ClassVar[str] = "gather"
    slots: ClassVar[tuple[str, ...]] = ("x", "z")

    @property
    def sizes(self) -> tuple[int, int]:
        """Components of the slots."""
        return (self.size, self.size)


@dataclass(frozen=True)
class PairTable:
    """Numbers of pairs of species, brought to the edges: sum_e w[(t_i n_species + t_j) count + k] z[k, e].

    t_i and t_j are the species of an edge's centre and of its neighbour.
    """

    count: int
    n_species: int
    name: ClassVar[str] = "pair_table"
    slots: ClassVar[tuple[str, ...]] = ("w", "z")

    @property
    def sizes(self) -> tuple[int, int]:
        """Components of the slots: all pairs, and one of them."""
        return (self.n_species**2 * self.count, self.count)


@dataclass(frozen=True)
class View:
    """A strided array inside a ``param`` value, its axes named by the letters of ``indices``."""

    indices: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """Dense multilinear form of parameter arrays (einsum over named indices), run once per set of parameters."""

    sizes: tuple[int, ...]
    views: tuple[View, ...]
    name: ClassVar[str] = "fold"

    @property
    def slots(self) -> tuple[str, ...]:
        """Slot names p0, p1, ... and z for the last."""
        return (*(f"p{i}" for i in range(len(self.views) - 1)), "z")


@dataclass(frozen=True)
class CopyBlock:
    """A strided copy: component ``offset + sum_t i_t strides[t]`` in each slot, for i < counts."""

    offsets: tuple[int, int]
    counts: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class Copy:
    """Strided linear copy x -> z, used to regroup the weights of a core and to pass values on."""

    sizes: tuple[int, int]
    blocks: tuple[CopyBlock, ...]
    name: ClassVar[str] = "copy"
    slots: ClassVar[tuple[str, ...]] = ("x", "z")


@dataclass(frozen=True)
class Radial:
    """Radial functions of s = r^2 (A^2), or their ``order``-th derivative with respect to s.

    f[b](s) = T_b(x) f_c(r) with r = sqrt(s), b = 0..count-1; x maps r from [``inner``, ``cutoff``] on [-1, 1] and
    f_c(r) = (1 - r^2/cutoff^2)^3 vanishes at the cutoff with its first two derivatives. Beyond the cutoff all
    functions are zero.
    """

    count: int
    cutoff: float
    inner: float
    order: int = 0
    name: ClassVar[str] = "radial"
    slots: ClassVar[tuple[str, ...]] = ("s", "f")

    @property
    def sizes(self) -> tuple[int, int]:
        """Components of the slots: the scalar s and the functions."""
        return (1, self.count)


@dataclass(frozen=True)
class Powers:
    """Inverse powers r^-l = s^(-l/2), l = 0..lmax, or their ``order``-th derivative with respect to s = r^2 (A^2).

    Times a solid harmonic of degree l they leave its direction only.
    """

    lmax: int
    order: int = 0
    name: ClassVar[str] = "powers"
    slots: ClassVar[tuple[str, ...]] = ("s", "p")

    @property
    def sizes(self) -> tuple[int, int]:
        """Components of the slots: the scalar s and one power for each l."""
        return (1, self.lmax + 1)


@dataclass(frozen=True)
class Functions:
    """Functions F_f, or their ``order``-th derivatives, of each of ``count`` components: z[f * count + c] = F_f(x[c]).

    ``code`` computes numbers from x, each from earlier ones: ('variable',), ('parameter', k), ('constant', value),
    ('add', i, j), ('multiply', i, j), ('power', i, exponent), ('exp', i), ('log', i), ('sin', i), ('cos', i),
    ('tanh', i) and ('below', i, limit, j, k), which is number j where number i < limit, else number k. Function f is
    number ``results[f]``. :class:`~etn_gpu.plan.formula.Formula` writes it. With ``parameters`` > 0 there is a second
    operand p of so many components, from which no derivative comes.
    """

    code: tuple[tuple[str | float, ...], ...]
    results: tuple[int, ...]
    count: int = 1
    parameters: int = 0
    order: int = 0
    name: ClassVar[str] = "functions"

    @property
    def slots(self) -> tuple[str, ...]:
        """The variables x, the parameters p where there are any, and the functions z."""
        return ("x", "p", "z") if self.parameters else ("x", "z")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Components of the slots."""
        return (self.count, *([self.parameters] if self.parameters else []), self.count * len(self.results))


@dataclass(frozen=True)
class Harmonics:
    """Racah-normalised solid harmonics R_lm of a vector (components y, z, x), l = 0..lmax."""

    lmax: int
    name: ClassVar[str] = "harmonics"
    slots: ClassVar[tuple[str, ...]] = ("x", "R")

    @property
    def sizes(self) -> tuple[int, int]:
        """Components of the slots: the vector and all (l, m)."""
        return (3, (self.lmax + 1) ** 2)


@dataclass(frozen=True)
class Nearest:
    """Marks the nearest neighbour of each atom: z = 1 on its edge and 0 on others, no derivative.

    Of the edges with |x| < ``w[n_species^2 + pair]`` it is the one with the least |x| - w[pair], where pair is
    t_i n_species + t_j; 1 is shared among equal ones. ``x`` is an input of the Program.
    """

    n_species: int
    name: ClassVar[str] = "nearest"
    slots: ClassVar[tuple[str, ...]] = ("x", "w", "z")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Components of the slots: vectors, two numbers for each pair, the mark."""
        return (3, 2 * self.n_species**2, 1)


@dataclass(frozen=True)
class Constant:
    """Adds ``value`` to the components ``offset .. offset + count - 1`` of its output; it has no operand."""

    size: int
    offset: int
    count: int
    value: float
    name: ClassVar[str] = "constant"
    slots: ClassVar[tuple[str, ...]] = ("z",)

    @property
    def sizes(self) -> tuple[int]:
        """Components of the only slot."""
        return (self.size,)


#: Functions of a scalar that know their derivatives of every order.
OfScalars = Radial | Powers | Functions
Operation = (
    Couple | Products | Mix | EdgeSum | Gather | PairTable | Fold | Copy | OfScalars | Harmonics | Nearest | Constant
)
MULTILINEAR = (Couple, Products, Mix, EdgeSum, Gather, PairTable, Fold, Copy)
