"""The cutoff, where none is given: atoms of dense matter need a shorter one.

Every neighbour more is something more to be determined by the same labels, and costs time. Twice the cube root of the
volume of an atom holds some 33 of them. On structures that no run saw, each left out once, errors in meV/atom and eV/A
were in Mo, whose atoms take 15.6 A^3, 2.03 and 0.0823 with 5.0 A and by 0.28 +- 0.12 and 0.0010 +- 0.0004 more with
5.6 A (``perf/cross_validate.py zuo2020_Mo cutoff=5.0 cutoff=5.6 --time-limit 2m``; in an earlier run of four minutes on
one core 1.93 and 0.0816, 2.15 and 0.0823; 4.6 A was no better). It is the other way round in Si, whose atoms take
20 A^3: 2.09 and 0.0478 with 5.0 A, 1.87 and 0.0460 with 5.6 A, on half of its structures; on all of them 1.90 and
0.0463 with 5.45 A, of which 6.0 A differs by 0.01 +- 0.09 and -0.0003 +- 0.0002.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from etn_gpu.structures import LabelledSet

#: Cutoff over the cube root of the volume of an atom.
IN_UNITS_OF_ATOMS = 2.0
#: Limits in A. Light atoms are close to each other, but what holds molecules and ions together reaches as far as
#: between others; where there is no density, as of a molecule in a large box, the upper one is taken.
SHORTEST, LONGEST = 5.0, 5.6


def usual_cutoff(labels: LabelledSet, indices: Iterable[int]) -> float:
    """Cutoff in A for the structures ``indices``, by the median volume of an atom in those that fill space.

    It is a multiple of 0.05 A.
    """
    chosen = (labels.atoms[i] for i in indices)
    volumes = np.array([abs(a.cell.volume) / len(a) for a in chosen if a.pbc.all() and len(a)])
    known = volumes[np.isfinite(volumes) & (volumes > 0)]
    if not known.size:
        return LONGEST
    return round(20 * float(np.clip(IN_UNITS_OF_ATOMS * np.cbrt(np.median(known)), SHORTEST, LONGEST))) / 20
