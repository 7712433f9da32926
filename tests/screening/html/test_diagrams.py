"""What the drawings show: hull lines through the stable phases, tie lines, points that are kept, axes, crystals."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from etn_gpu.screening.html import ReportContent, report_page
from etn_gpu.screening.html.axes import Scale, tick_text
from etn_gpu.screening.html.compositions import Compositions, Phases
from etn_gpu.screening.html.crystal import crystal, shadings
from etn_gpu.screening.html.sampling import axis_range, chosen_points
from etn_gpu.screening.html.ternary import tie_lines
from etn_gpu.screening.html.units import duration, rate, shown
from etn_gpu.screening.hull import EnergyHull

Make = Callable[..., ReportContent]
SVG = "{http://www.w3.org/2000/svg}"


def diagram(page: str, name: str) -> ET.Element:
    found = re.search(rf'<svg[^>]*data-system="{name}".*?</svg>', page, flags=re.DOTALL)
    assert found
    return ET.fromstring(found[0])


def paths(drawing: ET.Element, look: str) -> list[str]:
    return [p.attrib["d"] for p in drawing.iter(f"{SVG}path") if p.attrib["class"].split()[0] == look]


def numbers(text: str) -> np.ndarray:
    return np.array([float(n) for n in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)])


def test_the_hull_line_goes_through_the_stable_phases_and_below_all_points(make: Make) -> None:
    content = make(("Mo", "W"), 80)
    drawing = diagram(report_page(content), "Mo–W")
    (line,) = paths(drawing, "hull")
    corners = numbers(line).reshape(-1, 2)
    diamonds = np.array([numbers(d)[:2] + np.array([0.0, 5.0]) for d in paths(drawing, "stable")])
    np.testing.assert_allclose(diamonds[np.argsort(diamonds[:, 0])], corners, atol=0.02)

    assert content.hull
    phases = Phases.of(content.hull)
    x, y = phases.shares[:, 1], phases.formation
    order = np.argsort(x)
    # The drawing is a linear map of shares and formation energies.
    for places, values in ((corners[:, 0], x[order]), (corners[:, 1], y[order])):
        fit = np.polynomial.Polynomial.fit(values, places, 1)
        np.testing.assert_allclose(fit(values), places, atol=0.02)
    dots = np.concatenate([numbers(d.replace("h0", " ")).reshape(-1, 2) for d in paths(drawing, "dots")])
    assert len(dots) == 80
    assert (dots[:, 1] <= np.interp(dots[:, 0], corners[:, 0], corners[:, 1]) + 0.1).all()


def test_phases_of_a_hull_by_hand() -> None:
    hull = EnergyHull(("W", "Mo"), [[1, 0], [0, 1], [1, 3], [1, 1]], [-13.0, -11.0, -11.7, -12.0])
    phases = Phases.of(hull)
    assert phases.elements == ("Mo", "W")
    assert dict(zip(phases.formulas, phases.formation.round(9), strict=True)) == {"W": 0.0, "Mo3W": -0.2, "Mo": 0.0}
    only = phases.within(("Ta", "W"))
    assert only.formulas == ["W"]
    np.testing.assert_array_equal(only.shares, [[0.0, 1.0]])


def test_tie_lines_are_the_edges_of_the_lower_hull() -> None:
    rng = np.random.default_rng(3)
    counts = np.vstack([np.eye(3), rng.integers(0, 6, size=(40, 3)) + np.array([0, 0, 1])])
    shares = counts / counts.sum(axis=1, keepdims=True)
    energies = np.append(np.zeros(3), -(shares[3:] ** 0.5).sum(axis=1) + 1.0 + rng.normal(scale=0.01, size=40))
    phases = Phases.of(EnergyHull(("Mo", "Ta", "W"), shares, energies))
    points = np.column_stack([phases.shares[:, :2], phases.energies])
    hull = ConvexHull(points)
    lower = hull.simplices[hull.equations[:, 2] < -1e-9]
    edges = {tuple(sorted((int(s[i]), int(s[j])))) for s in lower for i, j in ((0, 1), (0, 2), (1, 2))}
    assert len(phases.shares) > 5
    assert set(tie_lines(phases)) == edges


def test_tie_lines_without_phases() -> None:
    assert tie_lines(Phases.of(None).within(("Mo", "Ta", "W"))) == []


def test_tie_lines_of_few_phases_and_of_phases_in_a_plane() -> None:
    elements = ("Mo", "Ta", "W")
    assert tie_lines(Phases(elements, np.eye(3), np.array([-1.0, -2.0, -3.0]))) == [(0, 1), (0, 2), (1, 2)]
    on_a_side = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    assert tie_lines(Phases(elements, on_a_side, np.array([-1.0, -2.0, -1.6]))) == [(0, 2), (1, 2)]
    assert tie_lines(Phases(elements, on_a_side[:1], np.zeros(1))) == []
    with_a_middle = np.vstack([np.eye(3), np.full((1, 3), 1 / 3)])
    ties = tie_lines(Phases(elements, with_a_middle, np.array([0.0, 0.0, 0.0, -1e-5])))
    assert ties == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_compositions() -> None:
    known = Compositions(["Mo3W", None, "W", "H2O", "no formula", "WMo3", "", "W2Mo"])
    assert known.systems == {("H", "O"): 1, ("Mo", "W"): 3, ("W",): 1}
    rows, shares = known.within(("W", "Mo"))
    assert rows.tolist() == [0, 2, 5, 7]
    np.testing.assert_allclose(shares[:, 1], [0.75, 0.0, 0.75, 1 / 3])


@given(st.integers(1, 400), st.integers(20, 100), st.integers(0, 9))
def test_chosen_points_have_the_extremes(n: int, limit: int, seed: int) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    kept = chosen_points(x, y, limit)
    assert len(kept) == min(n, limit)
    assert (np.diff(kept) > 0).all()
    assert {x.argmin(), x.argmax(), y.argmin(), y.argmax()} <= set(kept.tolist())


def test_chosen_points_do_not_follow_a_period() -> None:
    n = 100_000
    kept = chosen_points(np.arange(n, dtype=float), np.zeros(n), 4000)
    counts = np.bincount(kept[kept > 1000] % 4)
    assert counts.min() > 0.9 * counts.max()


def test_an_axis_leaves_out_what_is_far_from_all_others() -> None:
    values = np.append(np.linspace(0.0, 1.0, 1000), 1e9)
    low, high = axis_range(values)
    assert low < 0.0
    assert 1.0 < high < 2.0
    assert axis_range(np.linspace(0.0, 1.0, 11), margin=0.0) == (0.0, 1.0)


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_ticks_are_few_round_and_told_apart(low: float, width: float) -> None:
    scale = Scale(low, low + max(width, 1e-6 * abs(low)), 0.0, 100.0)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(-1e-6 <= scale.at(t) <= 100.0 + 1e-6 for t in ticks)
    if max(map(abs, ticks)) < 1e6 * (ticks[1] - ticks[0]):
        assert len({tick_text(t, ticks) for t in ticks}) == len(ticks)


def test_text_of_ticks_and_numbers() -> None:
    assert [tick_text(t, [-0.1, -0.05, 0.0]) for t in (-0.1, -0.05, -1e-17)] == ["−0.10", "−0.05", "0.00"]
    assert shown(-1.5, 2) == "−1.50"
    assert shown(np.float64("nan")) == shown(None) == "–"
    assert shown(1234567) == "1\u202f234\u202f567"
    assert [rate(n, 2.0) for n in (1, 121.6, 246912)] == ["0.5", "60.8", "123\u202f000"]
    assert [duration(s) for s in (1.234, 150.0, 7300.0)] == ["1.23 s", "2 min 30 s", "2 h 01 min"]


def circles(drawing: str) -> list[dict[str, str]]:
    return [c.attrib for c in ET.fromstring(drawing).iter(f"{SVG}circle")]


def test_a_cell_shows_the_images_of_atoms_at_its_sides() -> None:
    drawing = crystal(bulk("W", "bcc", a=3.2, cubic=True), "W")
    assert len(circles(drawing)) == 9
    assert len(paths(ET.fromstring(drawing), "cell")) == 12
    open_along_z = bulk("W", "bcc", a=3.2, cubic=True)
    open_along_z.pbc = (True, True, False)
    assert len(circles(crystal(open_along_z, "W"))) == 5


def test_radii_are_in_proportion_to_covalent_radii_and_the_nearest_atom_is_last() -> None:
    drawn = circles(crystal(Atoms("CH", positions=[[0, 0, 0], [0, -1.1, 0]]), "CH"))
    assert [c["fill"] for c in drawn] == ["url(#atom6)", "url(#atom1)"]
    assert float(drawn[0]["r"]) / float(drawn[1]["r"]) == pytest.approx(0.76 / 0.31, rel=1e-2)
    assert [c["fill"] for c in circles(crystal(Atoms("CH", positions=[[0, 0, 0], [0, 1.1, 0]]), "CH"))][
        -1
    ] == "url(#atom6)"


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms(),
        Atoms("W"),
        molecule("C2H6"),
        bulk("W", "bcc", a=3.2) * (8, 8, 8),
        Atoms("W", positions=[[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True),
        Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]], cell=[0, 0, 5.0], pbc=(False, False, True)),
        Atoms(numbers=[200], positions=[[0, 0, 0]]),
    ],
)
def test_any_structure_can_be_drawn(atoms: Atoms) -> None:
    drawing = crystal(atoms, "picture")
    drawn = circles(drawing) if drawing else []
    assert len(drawn) <= 400
    for circle in drawn:
        radius = float(circle["r"])
        assert all(radius - 1 <= float(circle[key]) <= 221 - radius for key in ("cx", "cy"))
    shades = shadings([atoms, None])
    names = {g.attrib["id"] for g in ET.fromstring(shades).iter(f"{SVG}radialGradient")} if shades else set()
    assert {circle["fill"][5:-1] for circle in drawn} <= names
