"""An untrained neuroevolution potential (NEP4) as GPUMD's text, of the sizes that its ``nep`` has by default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_MAX, BASIS_SIZE, L_MAX, NEURONS = 4, 8, 4, 30


def untrained(species: Sequence[str], cutoff: float) -> str:
    """A nep.txt with random coefficients: networks, one bias, descriptor coefficients, then scales of descriptors."""
    descriptors = (N_MAX + 1) * (1 + L_MAX + 1)
    networks = len(species) * (descriptors + 2) * NEURONS + 1
    expansion = 2 * len(species) ** 2 * (N_MAX + 1) * (BASIS_SIZE + 1)
    random = np.random.default_rng(0).normal(scale=0.1, size=networks + expansion)
    header = [
        f"nep4 {len(species)} {' '.join(species)}",
        f"cutoff {cutoff} {cutoff} 500 500",
        f"n_max {N_MAX} {N_MAX}",
        f"basis_size {BASIS_SIZE} {BASIS_SIZE}",
        f"l_max {L_MAX} 2 0",
        f"ANN {NEURONS} 0",
    ]
    numbers = [f"{value:.7e}" for value in (*random, *np.full(descriptors, 0.1))]
    return "\n".join((*header, *numbers)) + "\n"
