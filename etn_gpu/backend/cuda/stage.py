"""What the stages of a lowered Program have in common: how the arguments of a kernel are bound to values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: An edge value that the stage reads: ``const double*`` [n_edges, size].
EDGE_INPUT: Final = "edge input"
#: An edge value that an earlier pass of a Program made: ``const Real*`` [n_edges, size].
EDGE_KEPT: Final = "edge kept"
#: An edge value that the stage writes: ``Real*`` [n_edges, size].
EDGE_OUTPUT: Final = "edge output"
#: An atom value that the stage reads: ``const Real*`` [n_tiles, size, 32], 0 in padding slots.
TILES_IN: Final = "tiles in"
#: An atom value that the stage writes, every slot of it: ``Real*`` [n_tiles, size, 32].
TILES_OUT: Final = "tiles out"


@dataclass(frozen=True)
class Argument:
    """An array that a kernel reads or writes: its name in the signature, its role, the value of the Program it holds.

    ``role`` is one of :data:`EDGE_INPUT`, :data:`EDGE_KEPT`, :data:`EDGE_OUTPUT`, :data:`TILES_IN` and
    :data:`TILES_OUT`.
    """

    name: str
    role: str
    value: str
