"""The norm of all coefficients of a network, layer by layer, with its derivatives.

The squared norm is that of the coefficient tensor of the last train, in the metric of the site vector that the layers
of message passing leave (:mod:`etn_gpu.training.message_metric`), and of what the layers add to the output. The trains
of the layers come in by the products of the components of h. It does not change with the gauge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.network import Matrices, NormDerivatives, gram, norm_derivatives, squared_norm
from etn_gpu.potential import Architecture
from etn_gpu.training.message_metric import MessageGradients, MessageMetric
from etn_gpu.training.site_metric import SiteMetric

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]


@dataclass(frozen=True)
class _Stages:
    """Metrics of the site vector before the first layer and after each, and the products of h of each."""

    metrics: list[Matrices]
    products: list[Matrices]


@dataclass(frozen=True)
class NetworkNormDerivatives:
    """``gradient`` by parameter; ``curvature``: second derivatives of half the squared norm within each parameter.

    What goes through other parameters is left out: they are exact for the cores of the last train, positive for all.
    """

    train: NormDerivatives
    gradient: dict[str, Array]
    curvature: dict[str, Array]


class NetworkNorm:
    """The squared norm of the coefficients of networks of an architecture.

    ``radial_sizes`` [n_radial] are natural sizes of the coefficients of radial functions of each degree.
    """

    def __init__(self, architecture: Architecture, radial_sizes: Mapping[int, Array]) -> None:
        self.architecture = architecture
        self._site = SiteMetric(architecture, radial_sizes)
        self._layers = [MessageMetric(architecture, k + 1, radial_sizes) for k in range(len(architecture.layers))]

    def value(self, parameters: Parameters) -> float:
        """The squared norm."""
        stages = self._stages(parameters)
        total = squared_norm(self.architecture.train, parameters, stages.metrics[-1])
        for k, products in enumerate(stages.products):
            p, g, dim = self._readout(k, parameters, products)
            total += dim * float(p @ g @ p)
        return total

    def train(self, parameters: Parameters) -> NormDerivatives:
        """That of the last train alone, with derivatives."""
        return norm_derivatives(self.architecture.train, parameters, self._stages(parameters).metrics[-1])

    def derivatives(self, parameters: Parameters, curvature: bool = False) -> NetworkNormDerivatives:
        """Its gradient, and second derivatives where they are asked for."""
        stages = self._stages(parameters)
        norm = norm_derivatives(self.architecture.train, parameters, stages.metrics[-1])
        gradient, blocks = dict(norm.weights), dict[str, Array]()
        if curvature:
            blocks = {core.name: norm.curvature(core) for core in self.architecture.train.cores}
        bars = dict(norm.metrics)
        w_bar = np.zeros((self.architecture.centre_rank,) * 2)
        for k in reversed(range(len(self._layers))):
            found = self._through_layer(k, parameters, stages, bars, gradient, blocks, curvature)
            w_bar += found.w
        _add(gradient, self._site.gradient(parameters, bars))
        w, n = parameters["W"], self.architecture.n_species
        gradient["W"] = gradient["W"] + 2.0 / n * w_bar @ w
        if curvature:
            blocks |= self._site.curvature(parameters, bars)
            blocks["W"] = blocks["W"] + np.kron(w_bar, np.eye(n) / n)
        return NetworkNormDerivatives(norm, gradient, blocks)

    def _through_layer(
        self,
        k: int,
        parameters: Parameters,
        stages: _Stages,
        bars: Matrices,
        gradient: dict[str, Array],
        blocks: dict[str, Array],
        curvature: bool,
    ) -> MessageGradients:
        """Gradients and second derivatives in the parameters of layer k; ``bars`` become those before the layer."""
        metric, products, head = self._layers[k], stages.products[k], self.architecture.heads[k]
        of_degree = {l: bars[l, (-1) ** l] if l else bars[0, 1][1:, 1:] for l in self.architecture.degrees}
        found = metric.gradients(parameters, products, of_degree)
        gradient |= found.parameters
        p, g, dim = self._readout(k, parameters, products)
        if p.size:
            sector = self.architecture.layers[k].readout_sector(self.architecture.train.target)
            assert sector is not None
            gradient[f"P{k + 1}"] = 2.0 * dim * g @ p
            found.products[sector.l, sector.p] += dim * np.outer(p, p)
        norm = norm_derivatives(head, parameters, stages.metrics[k], found.products)
        gradient |= norm.weights
        if curvature:
            blocks |= metric.curvature(parameters, products, of_degree, found)
            blocks |= {core.name: norm.curvature(core) for core in head.cores}
            if p.size:
                blocks[f"P{k + 1}"] = dim * g
        for key, bar in norm.metrics.items():
            bars[key] = bars[key] + bar
        return found

    def _stages(self, parameters: Parameters) -> _Stages:
        metric = self._site(parameters)
        stages = _Stages([metric], [])
        for layer, head in zip(self._layers, self.architecture.heads, strict=True):
            products = gram(head, parameters, metric)
            metric = {key: matrix.copy() for key, matrix in metric.items()}
            for (l, p), added in layer.added(parameters, products).items():
                if l:
                    metric[l, p] += added
                else:
                    metric[0, 1][1:, 1:] += added
            stages.products.append(products)
            stages.metrics.append(metric)
        return stages

    def _readout(self, k: int, parameters: Parameters, products: Matrices) -> tuple[Array, Array, int]:
        """Weights of what layer k adds to the output, products of these components, 2l+1; empty without readout."""
        sector = self.architecture.layers[k].readout_sector(self.architecture.train.target)
        if sector is None:
            return np.zeros(0), np.zeros((0, 0)), 1
        return parameters[f"P{k + 1}"], products[sector.l, sector.p], sector.dim


def _add(total: dict[str, Array], parts: Mapping[str, Array]) -> None:
    for name, part in parts.items():
        total[name] = total[name] + part if name in total else part
