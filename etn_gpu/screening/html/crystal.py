"""Pictures of crystals: atoms as shaded discs, sorted by depth, and the edges of the cell."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.content import Array

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["crystal", "element_legend", "shadings"]

_SIZE = 220.0
_MARGIN = 8.0
#: Of the covalent radii: neighbours in a crystal nearly touch, and those behind are seen.
_RADIUS = 0.55
_MOST_ATOMS = 400
#: Atoms so near a side of the cell, in shares of it, are drawn at the opposite one as well.
_AT_THE_SIDE = 0.02
_AZIMUTH, _ELEVATION = np.radians(-24.0), np.radians(14.0)


def crystal(atoms: Atoms, label: str) -> str:
    """A drawing of a structure seen from the side, its third lattice vector upwards.

    Periodic images of atoms on the sides of the cell are drawn, of more than 400 atoms those that are nearest.
    """
    from ase.data import covalent_radii

    numbers, positions = _with_images(atoms)
    cell = np.asarray(atoms.cell.array, np.float64)
    axes = _axes(cell)
    lines = _edges(cell)
    corners = lines.reshape(-1, 3) @ axes.T
    seen = positions @ axes.T
    radii = _RADIUS * covalent_radii[np.clip(numbers, 0, len(covalent_radii) - 1)]
    everything = np.concatenate([seen[:, :2] - radii[:, None], seen[:, :2] + radii[:, None], corners[:, :2]])
    everything = everything[np.isfinite(everything).all(axis=1)]
    if not len(everything):
        return ""
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = (_SIZE - 2 * _MARGIN) / max(float((high - low).max()), 1e-6)
    middle = (low + high) / 2

    def place(points: Array) -> Array:
        shifted = (points[:, :2] - middle) * scale
        return np.column_stack([_SIZE / 2 + shifted[:, 0], _SIZE / 2 - shifted[:, 1]])

    discs = place(seen)
    nearest = np.argsort(seen[:, 2], kind="stable")[-_MOST_ATOMS:]
    parts = [
        (float(seen[i, 2]), _disc(discs[i], float(radii[i]) * scale, int(numbers[i])))
        for i in nearest
        if np.isfinite(discs[i]).all()
    ]
    ends, depth = place(corners).reshape(-1, 2, 2), corners[:, 2].reshape(-1, 2).mean(axis=1)
    parts += [
        (float(z), svg.polyline([tuple(a), tuple(b)], class_="cell")) for (a, b), z in zip(ends, depth, strict=True)
    ]
    parts.sort(key=lambda part: part[0])
    return svg.drawing(_SIZE, _SIZE, "".join(markup for _, markup in parts), label, class_="crystal")


def shadings(structures: Iterable[Atoms | None]) -> str:
    """The shades of the elements of some structures, which :func:`crystal` refers to."""
    from ase.data.colors import jmol_colors

    parts = []
    for z in _numbers(structures):
        colour = jmol_colors[z] if 0 <= z < len(jmol_colors) else np.full(3, 0.7)
        stops = ((0.0, 0.55 * colour + 0.45), (0.55, colour), (1.0, 0.62 * colour))
        content = "".join(svg.tag("stop", offset=offset, stop_color=_hex(c)) for offset, c in stops)
        parts.append(svg.tag("radialGradient", content, id=f"atom{z}", cx="0.36", cy="0.32", r="0.75"))
    if not parts:
        return ""
    defs = svg.tag("defs", "".join(parts))
    return svg.tag(
        "svg", defs, xmlns="http://www.w3.org/2000/svg", width="0", height="0", class_="shades", aria_hidden="true"
    )


def element_legend(structures: Iterable[Atoms | None]) -> str:
    """Which shade is which element."""
    from ase.data import chemical_symbols

    items = ""
    for z in _numbers(structures):
        symbol = chemical_symbols[z] if 0 <= z < len(chemical_symbols) else str(z)
        items += svg.tag(
            "li", svg.tag("svg", _disc(np.array([10.0, 8.0]), 7.0, z), viewBox="0 0 20 16", aria_hidden="true") + symbol
        )
    return svg.tag("ul", items, class_="legend elements")


def _numbers(structures: Iterable[Atoms | None]) -> list[int]:
    return sorted({int(z) for atoms in structures if atoms is not None for z in atoms.numbers})


def _disc(middle: Array, radius: float, number: int) -> str:
    x, y = map(float, middle)
    return svg.tag("circle", cx=x, cy=y, r=radius, fill=f"url(#atom{number})", class_="atom")


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{round(255 * min(max(float(c), 0.0), 1.0)):02x}" for c in colour)


def _with_images(atoms: Atoms) -> tuple[Any, Array]:
    """Numbers and positions of the atoms in the cell, and of those images that lie on its sides."""
    cell = np.asarray(atoms.cell.array, np.float64)
    positions = np.asarray(atoms.positions, np.float64)
    if len(atoms) > _MOST_ATOMS or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        return atoms.numbers, positions
    shares = np.linalg.solve(cell.T, positions.T).T
    periodic = np.asarray(atoms.pbc, bool)
    shares[:, periodic] -= np.floor(shares[:, periodic] + _AT_THE_SIDE)
    numbers, places = [], []
    for shift in product(*[(0, 1) if along else (0,) for along in periodic]):
        there = ((shares < _AT_THE_SIDE) | (np.array(shift) == 0)).all(axis=1)
        numbers.append(atoms.numbers[there])
        places.append((shares[there] + shift) @ cell)
    return np.concatenate(numbers), np.concatenate(places)


def _axes(cell: Array) -> Array:
    """Rows: to the right, upwards and to the viewer."""
    up = cell[2] if np.linalg.norm(cell[2]) > 1e-6 else np.array([0.0, 0.0, 1.0])
    up = up / np.linalg.norm(up)
    candidates = [cell[0], cell[1], np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])]
    right = next(r for r in (c - (c @ up) * up for c in candidates) if np.linalg.norm(r) > 1e-3)
    right = right / np.linalg.norm(right)
    viewer = np.cross(right, up)
    cos, sin = np.cos(_AZIMUTH), np.sin(_AZIMUTH)
    right, viewer = cos * right + sin * viewer, cos * viewer - sin * right
    cos, sin = np.cos(_ELEVATION), np.sin(_ELEVATION)
    return np.array([right, cos * up - sin * viewer, cos * viewer + sin * up])


def _edges(cell: Array) -> Array:
    """The edges [n, 2, 3] of the cell; those of vectors that are not zero."""
    vectors = [v for v in cell if np.isfinite(v).all() and np.linalg.norm(v) > 1e-6]
    edges = []
    for z, vector in enumerate(vectors):
        others = [v for i, v in enumerate(vectors) if i != z]
        for shift in product((0.0, 1.0), repeat=len(others)):
            start = sum((s * v for s, v in zip(shift, others, strict=True)), np.zeros(3))
            edges.append([start, start + vector])
    return np.array(edges).reshape(-1, 2, 3)
