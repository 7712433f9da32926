"""What the compiled reader of extended XYZ finds in bytes, without that reader, which takes a second to import."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Columns of the table of frames: first byte, begin and end of the header, begin and end of the atom lines, number of
#: atoms, words of each line, first of its numbers among all, whether all of them were read; where the header goes on
#: behind a lattice that was read, or 0.
BEGIN, HEADER, HEADER_END, ROWS, END, ATOMS, WORDS, FIRST, READ, REST = range(10)


class Scanned(NamedTuple):
    """What was found.

    frames [F, 10]: one row each; numbers: atomic numbers of all atoms, values: all numbers behind them, line by line;
    cells [F, 9]; end: where the first frame begins that is not there; doubt: whether it is for another reader, and not
    only incomplete.
    """

    frames: NDArray[np.int64]
    numbers: NDArray[np.int64]
    values: NDArray[np.float64]
    cells: NDArray[np.float64]
    end: int
    doubt: bool
