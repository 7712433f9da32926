r"""Message passing in tensor network form: what atoms tell their neighbours, and what becomes of it.

Layer k has a *head*, a tensor train on the site vector v_j with a few irreps for a target, h_j. Its messages are

    m_i[a, c, l] = sum_j s_a f_b(r_ij) (Y_l1(r_ij) x h_j[c])_l        for each radial function b,

one for each channel c of h and each pair of irreps that couples to degree l; s_0 = 1, and with *attention* there are
further ones, multiplied by invariants of both atoms,

    s_a = sum_c (Q_a h_i)[c] . h_j[c] / sqrt(dim h),                  a = 1 .. number of attention heads.

They are polynomials in h: no softmax. Mixed to the channels of the site vector they are added to it, so that the
network that follows is what it was (arXiv:2304.08226, section on message passing). With *readout* an invariant part of
h is added to the energy as well, which pools all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from etn_gpu.errors import NetworkError
from etn_gpu.network.train import Train
from etn_gpu.plan.cores import Sector, sectors
from etn_gpu.symmetry import Irreps

#: More layers than that reach further than anything that could be trained.
MOST_LAYERS, MOST_HEADS = 8, 16


@dataclass(frozen=True)
class MessagePath:
    """Harmonics of degree ``l1`` and the channels ``hidden`` of h that couple to degree ``l`` of the site vector."""

    l1: int
    hidden: Sector
    l: int


@dataclass(frozen=True)
class Place:
    """Where what belongs to a head of attention, 0 for none, and to the channels ``hidden`` of h lies among others."""

    head: int
    at: slice
    hidden: Sector


@dataclass(frozen=True)
class MessageLayer:
    """A layer of message passing.

    ``hidden`` irreps of h; ``bonds`` irreps of the bonds of the head's train (as many as its order less one); ``lmax``
    degrees of the harmonics in messages, 0 .. lmax; ``n_radial`` radial functions in them, the first of the site
    vector's; ``attention`` heads of attention; ``readout`` whether h enters the output. NetworkError for what cannot
    be.
    """

    hidden: str
    bonds: tuple[str, ...]
    lmax: int
    n_radial: int
    attention: int = 0
    readout: bool = True

    def __post_init__(self) -> None:
        if not self.irreps.dim:
            raise NetworkError(
                f"a message layer needs at least one channel in what it passes on, such as 4x0e+2x1o; got "
                f"{self.hidden!r}"
            )
        if self.lmax < 0 or self.n_radial < 1:
            raise NetworkError(
                f"messages need harmonics up to a degree >= 0 and at least one radial function, got lmax = {self.lmax} "
                f"and n_radial = {self.n_radial}"
            )
        if not 0 <= self.attention <= MOST_HEADS:
            raise NetworkError(f"a layer may have 0 to {MOST_HEADS} heads of attention, got {self.attention}")

    def __str__(self) -> str:
        attention = f", attention {self.attention}" if self.attention else ""
        return f"{self.hidden} by {' | '.join(self.bonds)}, l <= {self.lmax}{attention}"

    @property
    def irreps(self) -> Irreps:
        """Irreps of h, sorted, each once."""
        return Irreps(self.hidden).sort().simplify()

    @property
    def hidden_sectors(self) -> tuple[Sector, ...]:
        """The sectors of h."""
        return sectors(self.irreps)

    def head(self, feature: Irreps, number: int) -> Train:
        """The train of layer ``number`` (from 1) on a site vector of these irreps; its cores are H<number>_1, ..."""
        return Train(feature, tuple(Irreps(b) for b in self.bonds), self.irreps, f"H{number}_")

    def paths(self, degrees: tuple[int, ...]) -> dict[int, tuple[MessagePath, ...]]:
        """For each of the site vector's ``degrees`` the couplings that lead to it, where there are any."""
        found = {}
        for l in degrees:
            paths = tuple(
                MessagePath(l1, s, l)
                for l1 in range(self.lmax + 1)
                for s in self.hidden_sectors
                if abs(l1 - s.l) <= l <= l1 + s.l and (-1) ** l1 * s.p == (-1) ** l
            )
            if paths:
                found[l] = paths
        return found

    def channels(self, degrees: tuple[int, ...]) -> dict[int, int]:
        """Messages of each degree, those with attention included, for one radial function."""
        return {l: places[-1].at.stop for l, places in self.places(degrees).items()}

    def places(self, degrees: tuple[int, ...]) -> dict[int, tuple[Place, ...]]:
        """Where the channels of h are among the messages of each degree."""
        heads = range(1 + self.attention)
        return {
            l: _in_order([(a, path.hidden, path.hidden.mul) for a in heads for path in paths])
            for l, paths in self.paths(degrees).items()
        }

    @property
    def queries(self) -> tuple[Place, ...]:
        """Where the matrices are, [mul, mul] for each irrep of h, that make up Q_a."""
        heads = range(1, 1 + self.attention)
        return _in_order([(a, s, s.mul**2) for a in heads for s in self.hidden_sectors])

    @property
    def query_size(self) -> int:
        """Numbers of the matrices Q_a."""
        return self.queries[-1].at.stop if self.attention else 0

    def readout_sector(self, target: Irreps) -> Sector | None:
        """The sector of h that is added to an output of this irrep, None where there is none."""
        if not self.readout:
            return None
        wanted = {(ir.l, ir.p) for _, ir in target}
        return next((s for s in self.hidden_sectors if (s.l, s.p) in wanted), None)


def _in_order(parts: Sequence[tuple[int, Sector, int]]) -> tuple[Place, ...]:
    """Parts (head, channels, size), one behind the other."""
    ends = list(accumulate(size for _, _, size in parts))
    return tuple(
        Place(head, slice(end - size, end), hidden) for (head, hidden, size), end in zip(parts, ends, strict=True)
    )
