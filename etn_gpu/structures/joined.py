"""Several labelled sets as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from etn_gpu.structures.copies import fingerprint
from etn_gpu.structures.labels import PROPERTIES, LabelledSet
from etn_gpu.structures.target_labels import join_targets


def join_labelled(sets: Sequence[LabelledSet]) -> LabelledSet:
    """The structures of all sets, one set after the other; a single set as it is.

    Structures without a group get that of their set: the name of its file. What was not used and what disagrees is left
    to the audits of the sets.

    Raises:
        DataError: labels of a target that is a number in one set and a vector in another, or has different units.
    """
    if len(sets) == 1:
        return sets[0]
    targets = [labels.target for labels in sets if labels.target is not None]
    return LabelledSet(
        source=", ".join(labels.source for labels in sets),
        atoms=[*chain.from_iterable(labels.atoms for labels in sets)],
        energy=np.concatenate([labels.energy for labels in sets]),
        forces=[*chain.from_iterable(labels.forces for labels in sets)],
        stress=np.concatenate([labels.stress for labels in sets]),
        config_type=[group or Path(labels.source).name for labels in sets for group in labels.config_type],
        frames=[*chain.from_iterable(labels.frames for labels in sets)],
        keys={name: sum((labels.keys[name] for labels in sets), Counter()) for name in PROPERTIES},
        parts=tuple((labels.source, len(labels)) for labels in sets),
        target=join_targets(targets, [labels.source for labels in sets]) if targets else None,
    )


def copies_between(sets: Sequence[LabelledSet]) -> list[tuple[LabelledSet, int]]:
    """Sets with structures that are in an earlier one as well, and how many: those count several times."""
    seen: set[bytes] = set()
    found = []
    for labels in sets:
        own = [fingerprint(atoms) for atoms in labels.atoms]
        if count := sum(mark in seen for mark in own):
            found.append((labels, count))
        seen.update(own)
    return found
