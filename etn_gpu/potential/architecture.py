"""Architecture of an ETN potential: everything but the numbers in its parameters.

The site vector of atom i (arXiv:2304.08226; v in the equations below) is, for each l and channel n,

    v[l, n, m] = sum_{c, b} R[z_i][l, n, c, b] S_i[c, b, l, m] + delta_{l 0} A[n, z_i]
    S_i[c, b, l, m] = sum_j [z_j = c] f_lb(r_ij) R_lm(r_ij)
    R[z_i][l, n, c, b] = sum_{s, t} B_l[n, b, s, t] U[s, c] W[t, z_i]

with the radial functions f_lb of :class:`etn_gpu.plan.operations.Radial`. Channel 0 of l = 0 is the constant 1, so that
lower body orders are part of the network; U and W embed the species of the neighbour and of the centre. The atomic
energy is

    E_i = E0[z_i] + train(v_i, ..., v_i).

With layers of message passing (:mod:`etn_gpu.network.messages`) v is only the site vector with which the first one
begins: each adds, for each degree l and channel n,

    sum_{c, b} M[z_i][l, n, b, c] m_i[b, c, l],        M[z_i][l, n, b, c] = sum_t M_l[n, b, c, t] W[t, z_i]

to v, and the train acts on what the last one leaves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from math import isfinite, prod
from typing import Any

from etn_gpu.errors import NetworkError
from etn_gpu.network import MessageLayer, Train
from etn_gpu.network.messages import MOST_LAYERS
from etn_gpu.plan.operations import Radial
from etn_gpu.potential.references import REFERENCES
from etn_gpu.structures.validate import LARGEST_CUTOFF
from etn_gpu.symmetry import Irreps

#: Beyond these no potential is thinkable, and already asking what it costs takes for ever (for what is merely large see
#: :mod:`etn_gpu.potential.size`).
LARGEST_DEGREE, MOST_BONDS, LARGEST_SIZE = 32, 20, 1_000_000


def check_scope(species: tuple[str, ...], cutoff: float) -> None:
    """That a potential can be one of these species with this cutoff in A.

    Raises:
        NetworkError: it cannot.
    """
    if not species or len(set(species)) != len(species):
        raise NetworkError(f"species must be one or more different chemical symbols, got {species}")
    if not (isfinite(cutoff) and 0 < cutoff <= LARGEST_CUTOFF):
        raise NetworkError(f"the cutoff must be a positive number of A up to {LARGEST_CUTOFF:g}, got {cutoff}")


@dataclass(frozen=True)
class Architecture:
    """Sizes and ranks.

    ``species`` chemical symbols; ``cutoff`` and ``inner`` in A (radial basis maps [inner, cutoff]); ``n_radial`` basis
    functions per l; ``channels[l]`` channels n of the site vector; ``neighbour_rank`` and ``centre_rank`` ranks s, t of
    the species embeddings; ``bonds`` irreps of the bonds of the train (order d = len(bonds) + 1); ``target`` '1x0e' for
    an energy, or another single irrep for a covariant output; ``layers`` of message passing. NetworkError for sizes or
    ranks that cannot be.
    """

    species: tuple[str, ...]
    cutoff: float
    inner: float
    n_radial: int
    channels: tuple[int, ...]
    neighbour_rank: int
    centre_rank: int
    bonds: tuple[str, ...]
    target: str = "1x0e"
    layers: tuple[MessageLayer, ...] = ()

    def __post_init__(self) -> None:
        check_scope(self.species, self.cutoff)
        if not 0 <= self.inner < self.cutoff:
            raise NetworkError(f"the inner radius must be in [0, cutoff = {self.cutoff}), got {self.inner} A")
        sizes = {"n_radial": self.n_radial, "neighbour_rank": self.neighbour_rank, "centre_rank": self.centre_rank}
        if bad := {k: v for k, v in sizes.items() if not 1 <= v <= LARGEST_SIZE}:
            raise NetworkError(f"these sizes must be at least 1 and at most {LARGEST_SIZE}: {bad}")
        if not self.channels or any(not 0 <= n <= LARGEST_SIZE for n in self.channels):
            raise NetworkError(
                f"channels must give a number from 0 to {LARGEST_SIZE} for each l = 0..lmax, got {self.channels}"
            )
        if self.lmax > LARGEST_DEGREE or len(self.bonds) > MOST_BONDS:
            raise NetworkError(
                f"degrees may go up to {LARGEST_DEGREE} and bonds be up to {MOST_BONDS}, got channels up to l = "
                f"{self.lmax} and {len(self.bonds)} bonds"
            )
        if len(self.layers) > MOST_LAYERS:
            raise NetworkError(f"there may be up to {MOST_LAYERS} layers of message passing, got {len(self.layers)}")
        bonds = [*self.bonds, *(bond for layer in self.layers for bond in (*layer.bonds, layer.hidden))]
        for irreps in (Irreps(text) for text in (*bonds, self.target)):
            if any(ir.l > LARGEST_DEGREE or mul > LARGEST_SIZE for mul, ir in irreps):
                raise NetworkError(
                    f"irreps may have degrees up to {LARGEST_DEGREE} and multiplicities up to {LARGEST_SIZE}, got "
                    f"{str(irreps)[:100]}"
                )
        if Irreps(self.target).num_irreps != 1:
            raise NetworkError(f"the target must be a single irrep such as 1x0e or 1x1o, got {self.target}")
        _ = self.train
        for number, layer in enumerate(self.layers, 1):
            self._check_layer(number, layer)

    def _check_layer(self, number: int, layer: MessageLayer) -> None:
        _ = self.heads
        if layer.lmax > self.lmax or layer.n_radial > self.n_radial:
            raise NetworkError(
                f"layer {number} has harmonics up to l = {layer.lmax} and {layer.n_radial} radial functions, the site "
                f"vector up to {self.lmax} and {self.n_radial}: messages use no others"
            )
        if not layer.paths(self.degrees):
            raise NetworkError(
                f"no message of layer {number} couples to a channel of the site vector: harmonics up to l = "
                f"{layer.lmax} times {layer.hidden}, channels with l in {self.degrees}"
            )

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.species)

    @property
    def lmax(self) -> int:
        """Largest l of the site vector."""
        return len(self.channels) - 1

    @cached_property
    def feature(self) -> Irreps:
        """Irreps of the site vector, the constant included."""
        counts = [(self.channels[0] + 1, 0)] + [(n, l) for l, n in enumerate(self.channels) if l > 0 and n > 0]
        return Irreps("+".join(f"{n}x{l}{'eo'[l % 2]}" for n, l in counts))

    @property
    def degrees(self) -> tuple[int, ...]:
        """Degrees l of the site vector that have channels beside the constant."""
        return tuple(l for l, n in enumerate(self.channels) if n)

    @cached_property
    def heads(self) -> tuple[Train, ...]:
        """The trains of the layers of message passing, from which messages come."""
        return tuple(layer.head(self.feature, number) for number, layer in enumerate(self.layers, 1))

    @cached_property
    def train(self) -> Train:
        """The tensor train on the site vector."""
        return Train(self.feature, tuple(Irreps(b) for b in self.bonds), Irreps(self.target))

    @cached_property
    def radial(self) -> Radial:
        """The radial basis."""
        return Radial(self.n_radial, self.cutoff, self.inner)

    @cached_property
    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the parameter arrays that the Programs take, in a fixed order."""
        shapes: dict[str, tuple[int, ...]] = {}
        for l, n in enumerate(self.channels):
            if n:
                shapes[f"B{l}"] = (n, self.n_radial, self.neighbour_rank, self.centre_rank)
        shapes["U"] = (self.neighbour_rank, self.n_species)
        shapes["W"] = (self.centre_rank, self.n_species)
        if self.channels[0]:
            shapes["A"] = (self.channels[0], self.n_species)
        for number, (layer, head) in enumerate(zip(self.layers, self.heads, strict=True), 1):
            shapes |= {core.name: (core.size,) for core in head.cores}
            if layer.attention:
                shapes[f"Q{number}"] = (layer.query_size,)
            for l, n in layer.channels(self.degrees).items():
                shapes[f"M{number}_{l}"] = (self.channels[l], layer.n_radial, n, self.centre_rank)
            if (sector := layer.readout_sector(Irreps(self.target))) is not None:
                shapes[f"P{number}"] = (sector.mul,)
        return shapes | {core.name: (core.size,) for core in self.train.cores}

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter array, in a fixed order: those of the network, and reference energies."""
        return self.network_shapes | ({REFERENCES: (self.n_species,)} if self.is_energy else {})

    @cached_property
    def is_energy(self) -> bool:
        """Whether the output is an atomic energy (an invariant)."""
        return Irreps(self.target) == Irreps("1x0e")

    @property
    def n_parameters(self) -> int:
        """Total number of parameters."""
        return sum(prod(shape) for shape in self.parameter_shapes.values())

    @property
    def described(self) -> str:
        """The kind of potential in words."""
        layers = f"{len(self.layers) + 1} layers, " if self.layers else ""
        return f"{layers}order {self.train.order}, cutoff {self.cutoff:g} A"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; of a single layer it is what it was before there were more."""
        data = asdict(self)
        if not self.layers:
            del data["layers"]
        return data

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Architecture:
        """Inverse of :meth:`to_dict`."""
        names = ("species", "channels", "bonds")
        fields: dict[str, Any] = {k: tuple(v) if k in names else v for k, v in data.items()}
        layers = tuple(MessageLayer(**(layer | {"bonds": tuple(layer["bonds"])})) for layer in data.get("layers", ()))
        return Architecture(**fields | {"layers": layers})
