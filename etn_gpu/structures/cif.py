"""CIF, data block by data block: every site has to be occupied by one whole atom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from etn_gpu.errors import DataError
from etn_gpu.structures.frame import Frame, reason
from etn_gpu.structures.occupancy import FULL, describe

if TYPE_CHECKING:
    from ase import Atoms

#: Sites closer than this, in fractions of the cell, are one.
_SAME_SITE = 1e-3
_OVERFULL = 2.0 - FULL


def cif_frames(stream: BinaryIO, source: str) -> Iterator[Frame]:
    """The structures of a CIF, one from each data block with sites; a broken one comes with its error."""
    from ase.io.cif import parse_cif

    blocks = parse_cif(stream)
    index = 0
    while True:
        try:
            block = next(blocks, None)
            if block is None:
                return
            if not block.has_structure():
                continue
        except Exception as error:  # a fault of the text: where the next block begins is not known
            message = f"{source}, frame {index}: not valid CIF ({reason(error)}); nothing after it was read."
            yield Frame(index, None, DataError(message), None)
            return
        place = f"{source}, frame {index} (data_{block.name})"
        try:
            fault = _disorder(block)
            atoms = None if fault else _atoms(block)
        except Exception as error:  # ASE's conversions raise what they like
            atoms, fault = None, f"not a readable cif block ({reason(error)})"
        yield Frame(index, atoms, None if fault is None else DataError(f"{fault}.", place))
        index += 1


def _atoms(block: Any) -> Atoms:
    atoms = cast("Atoms", block.get_atoms())
    # All occupied by one whole atom, as has been checked; ASE's note of parts of one element would say otherwise.
    atoms.info.pop("occupancy", None)
    return atoms


def _disorder(block: Any) -> str | None:
    """The first site that is not occupied by one whole atom, in words."""
    given = block.get("_atom_site_occupancy")
    if given is None:
        return None
    symbols = block.get_symbols()
    kind, coordinates = block._get_site_coordinates()
    places = np.asarray(coordinates, dtype=np.float64)
    if kind != "scaled":
        places = block.get_cell().scaled_positions(places)
    shares = [_number(value) for value in given]
    sites: list[tuple[Any, dict[str, float]]] = []
    for symbol, place, share in zip(symbols, places, shares, strict=True):
        for where, elements in sites:
            apart = place - where
            if (np.abs(apart - np.round(apart)) < _SAME_SITE).all():
                elements[symbol] = elements.get(symbol, 0.0) + share
                break
        else:
            sites.append((place, {symbol: share}))
    for site, (_, elements) in enumerate(sites):
        if len(elements) > 1 or not FULL <= next(iter(elements.values())) <= _OVERFULL:
            return describe(site, {name: round(share, 6) for name, share in elements.items()})
    return None


def _number(value: Any) -> float:
    """An occupancy; CIF has ? for unknown and . for the default, 1."""
    try:
        return float(value)
    except ValueError:
        return 1.0
