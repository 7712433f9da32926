r"""What messages add to the metric of the site vector: how large they are as functions, whatever the gauge.

A layer of message passing adds to channel n of degree l (see :mod:`etn_gpu.potential.architecture`)

    sum_{b, a, c} M[z][l, n, b, (a, c)] s_a f_b (Y x h[c])_l,

and with the products G[c, c'] of the components of h, taken in the metric of the site vector from which they come,

    sum_{b, a, c, c'}  mean over z of M[n, b, (a, c)] M[n', b, (a, c')] / size[l, b]^2  G[c, c'] q_a

to its metric. q_0 = 1; scores of attention are products of what two atoms have, as if these were independent:
q_a = sum over the irreps of h of (2l+1) tr(Q_a G Q_a^T G) / dim h. A change of basis of h changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etn_gpu.network import Matrices, MessageLayer
from etn_gpu.network.messages import Place
from etn_gpu.plan.cores import Sector
from etn_gpu.potential import Architecture
from etn_gpu.training.site_metric import mean_product

Array = NDArray[np.float64]


@dataclass
class MessageGradients:
    """Gradients in the parameters of a layer and in the products of the components of h; ``w`` in those of W."""

    parameters: dict[str, Array]
    products: Matrices
    w: Array
    scores: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class MessageMetric:
    """That of layer ``number``, from 1; ``sizes[l]`` [n_radial] are natural sizes of radial coefficients."""

    architecture: Architecture
    number: int
    sizes: Mapping[int, Array]

    @property
    def _layer(self) -> MessageLayer:
        return self.architecture.layers[self.number - 1]

    def added(self, parameters: Mapping[str, Array], products: Matrices) -> Matrices:
        """What the layer adds for each degree, [channels, channels] without the constant channel."""
        w, strengths = mean_product(parameters["W"]), self._strengths(parameters, products)
        found: Matrices = {}
        for l in self._places:
            m, mixing = self._scaled(parameters, l), self._mixing(strengths, products, l)
            turned = np.einsum("nbct,cd,tu->nbdu", m, mixing, w, optimize=True)
            found[l, (-1) ** l] = np.tensordot(turned, m, ((1, 2, 3), (1, 2, 3)))
        return found

    def gradients(
        self, parameters: Mapping[str, Array], products: Matrices, bars: Mapping[int, Array]
    ) -> MessageGradients:
        """Of a function whose gradient with respect to what is added are ``bars``, one for each degree."""
        layer = self._layer
        w = mean_product(parameters["W"])
        out = MessageGradients({}, {key: np.zeros_like(g) for key, g in products.items()}, np.zeros_like(w))
        out.scores = np.zeros(1 + layer.attention)
        strengths = self._strengths(parameters, products)
        for l in self._places:
            m, mixing = self._scaled(parameters, l), self._mixing(strengths, products, l)
            barred = np.tensordot(bars[l], m, 1)
            gradient = np.einsum("nbct,cd,tu->nbdu", barred, mixing, w, optimize=True)
            out.parameters[f"M{self.number}_{l}"] = 2.0 * gradient / self._size(l)
            out.w += np.einsum("nbct,cd,nbdu->tu", barred, mixing, m, optimize=True)
            outer = np.einsum("nbct,tu,nbdu->cd", barred, w, m, optimize=True)
            for place in self._places[l]:
                key, part = _key(place.hidden), outer[place.at, place.at]
                out.products[key] += strengths[place.head] * part
                out.scores[place.head] += float(np.sum(part * products[key]))
        self._through_scores(parameters, products, out)
        return out

    def curvature(
        self,
        parameters: Mapping[str, Array],
        products: Matrices,
        bars: Mapping[int, Array],
        gradients: MessageGradients,
    ) -> dict[str, Array]:
        """Second derivatives of half that function in each parameter of the layer, with all others held fixed."""
        layer, w = self._layer, mean_product(parameters["W"])
        strengths, out = self._strengths(parameters, products), {}
        for l in self._places:
            radial = np.diag(self.sizes[l][: layer.n_radial] ** -2.0)
            mixing = self._mixing(strengths, products, l)
            out[f"M{self.number}_{l}"] = np.kron(np.kron(bars[l], radial), np.kron(mixing, w))
        if layer.attention:
            out[f"Q{self.number}"] = block = np.zeros((layer.query_size, layer.query_size))
            for place in layer.queries:
                g, share = products[_key(place.hidden)], place.hidden.dim / layer.irreps.dim
                block[place.at, place.at] = gradients.scores[place.head] * share * np.kron(g, g)
        return out

    @property
    def _places(self) -> dict[int, tuple[Place, ...]]:
        """Where the channels of h are among the messages of each degree that has some."""
        return self._layer.places(self.architecture.degrees)

    def _size(self, l: int) -> Array:
        return self.sizes[l][: self._layer.n_radial, None, None]

    def _scaled(self, parameters: Mapping[str, Array], l: int) -> Array:
        """M_l in units of the natural size of radial coefficients, [n, b, c, t]."""
        return parameters[f"M{self.number}_{l}"] / self._size(l)

    def _mixing(self, strengths: Array, products: Matrices, l: int) -> Array:
        """Products of the messages of degree l, [c, c]."""
        places = self._places[l]
        out = np.zeros((places[-1].at.stop,) * 2)
        for place in places:
            out[place.at, place.at] = strengths[place.head] * products[_key(place.hidden)]
        return out

    def _query(self, parameters: Mapping[str, Array], place: Place) -> Array:
        return parameters[f"Q{self.number}"][place.at].reshape(place.hidden.mul, place.hidden.mul)

    def _strengths(self, parameters: Mapping[str, Array], products: Matrices) -> Array:
        """q_a, beginning with q_0 = 1."""
        layer = self._layer
        out = np.zeros(1 + layer.attention)
        out[0] = 1.0
        for place in layer.queries:
            q, g = self._query(parameters, place), products[_key(place.hidden)]
            out[place.head] += place.hidden.dim / layer.irreps.dim * float(np.sum((q @ g) * (g @ q)))
        return out

    def _through_scores(self, parameters: Mapping[str, Array], products: Matrices, out: MessageGradients) -> None:
        """Gradients by way of q_a, in Q_a and in the products."""
        layer = self._layer
        if not layer.attention:
            return
        gradient = out.parameters[f"Q{self.number}"] = np.zeros(layer.query_size)
        for place in layer.queries:
            key = _key(place.hidden)
            q, g = self._query(parameters, place), products[key]
            factor = out.scores[place.head] * place.hidden.dim / layer.irreps.dim
            gradient[place.at] = 2.0 * factor * (g @ q @ g).ravel()
            out.products[key] += factor * (q.T @ g @ q + q @ g @ q.T)


def _key(sector: Sector) -> tuple[int, int]:
    return (sector.l, sector.p)
