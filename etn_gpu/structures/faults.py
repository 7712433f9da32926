"""What is wrong with structures before neighbours are known: one pass over their numbers, for many or a single one.

:mod:`etn_gpu.structures.validate` has the limits and the words.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from etn_gpu.backend.cpu.loops import compiled

#: The first that applies. CROWDED and THIN by upper bounds, which a closer look may overrule.
SOUND, EMPTY, WILD_POSITION, WILD_CELL, NO_VOLUME, FAR_OUTSIDE, UNKNOWN_ELEMENT, CROWDED, THIN = range(9)


@compiled
def find_faults(
    atom_offsets: Any, positions: Any, cells: Any, pbc: Any, species_index: Any, cutoff: float, largest: float,
    shortest: float, least_volume: float, most_shifts: float, most_neighbours: float, most_images: float, faults: Any,
) -> int:  # fmt: skip
    """The fault of each structure into ``faults`` [S]; returns how many are not sound."""
    count, gram = 0, np.empty((3, 3))
    for s in range(len(faults)):
        begin, end = atom_offsets[s], atom_offsets[s + 1]
        furthest, tame, known = 0.0, True, True
        for i in range(begin, end):
            known &= species_index[i] >= 0
            for k in range(3):
                size = abs(positions[i, k])
                tame &= size <= largest  # nan, for which every comparison is false, is not
                furthest = max(furthest, size)
        cell, tame_cell, long, lengths = cells[s], True, True, 1.0
        for k in range(3):
            for m in range(3):
                tame_cell &= abs(cell[k, m]) <= largest
                gram[k, m] = 1.0 if k == m else 0.0
                if pbc[s, k] and pbc[s, m]:
                    gram[k, m] = cell[k, 0] * cell[m, 0] + cell[k, 1] * cell[m, 1] + cell[k, 2] * cell[m, 2]
            long &= not pbc[s, k] or math.sqrt(gram[k, k]) >= shortest
            lengths *= gram[k, k]
        # squares of what two vectors span, and all; directions that are not periodic count as unit vectors
        a = gram[1, 1] * gram[2, 2] - gram[1, 2] ** 2
        b = gram[0, 0] * gram[2, 2] - gram[0, 2] ** 2
        c = gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2
        volume = (
            gram[0, 0] * a
            - gram[0, 1] * (gram[0, 1] * gram[2, 2] - gram[1, 2] * gram[0, 2])
            + gram[0, 2] * (gram[0, 1] * gram[1, 2] - gram[1, 1] * gram[0, 2])
        )
        lowest, images = math.inf, 1.0
        for k in range(3):
            if pbc[s, k]:
                height = math.sqrt(volume / (a if k == 0 else (b if k == 1 else c)))
                lowest = min(lowest, height)
                images *= 2.0 * cutoff / height + 1.0
        faults[s] = SOUND
        if end == begin:
            faults[s] = EMPTY
        elif not tame:
            faults[s] = WILD_POSITION
        elif not tame_cell:
            faults[s] = WILD_CELL
        elif not long or volume < least_volume * least_volume * lengths:
            faults[s] = NO_VOLUME
        elif furthest > most_shifts * lowest:
            faults[s] = FAR_OUTSIDE
        elif not known:
            faults[s] = UNKNOWN_ELEMENT
        elif (end - begin) * images > most_neighbours:
            faults[s] = CROWDED
        elif images > most_images:
            faults[s] = THIN
        count += faults[s] != SOUND
    return count
