"""Elements that stand for each other: which compositions come of it, how large cells are, and what stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.data import atomic_numbers, covalent_radii
from ase.io import write
from numpy.typing import NDArray

from etn_gpu.errors import LearningError
from etn_gpu.learning import learn
from etn_gpu.learning.exchange import Exchange, check_groups, element_sizes
from etn_gpu.learning.samples import Sampler
from tests.learning.students import alloys, config

METALS = ("Nb", "Mo", "Ta", "W")
LATTICE = {"Nb": 3.30, "Mo": 3.15, "Ta": 3.31, "W": 3.17}


def metals() -> list[Atoms]:
    """The four crystals."""
    return [bulk(symbol, "bcc", a=a, cubic=True) for symbol, a in LATTICE.items()]


def oxides() -> list[Atoms]:
    """Magnesia and lime."""
    return [bulk(name, "rocksalt", a=a, cubic=True) for name, a in (("MgO", 4.21), ("CaO", 4.81))]


def alloy(symbols: Sequence[str], a: float = 3.2) -> Atoms:
    """A random bcc crystal of 16 atoms."""
    atoms = bulk(symbols[0], "bcc", a=a, cubic=True) * 2
    atoms.symbols[:] = np.random.default_rng(0).choice(symbols, len(atoms))
    return atoms


def composition(atoms: Atoms) -> tuple[int, ...]:
    return tuple(sorted(atoms.numbers))


def made(exchange: Exchange, atoms: Atoms, count: int) -> list[Atoms]:
    rng = np.random.default_rng(1)
    return [exchange.exchanged(atoms, rng) for _ in range(count)]


def volume_of(sizes: NDArray[np.float64], atoms: Atoms) -> float:
    """The volume that sizes of elements give to a structure."""
    return float(len(atoms) * sizes[atoms.numbers].mean() ** 3)


class TestCompositions:
    def test_from_the_elements_to_equal_shares(self) -> None:
        found = made(Exchange([METALS], metals()), alloy(["Nb", "Ta"]), 250)
        kinds = Counter(frozenset(atoms.get_chemical_symbols()) for atoms in found)
        assert set().union(*kinds) == set(METALS)
        # All four pure crystals, all six pairs, all four triples and all together.
        assert Counter(len(kind) for kind in kinds) == {1: 4, 2: 6, 3: 4, 4: 1}
        numbers = Counter({n: sum(kinds[kind] for kind in kinds if len(kind) == n) for n in range(1, 5)})
        assert all(0.05 < numbers[n] / len(found) < 0.5 for n in numbers)
        shares = np.array([[atoms.symbols.count(symbol) / len(atoms) for symbol in METALS] for atoms in found])
        np.testing.assert_allclose(shares.mean(axis=0), 0.25, atol=0.06)
        binary = shares[(shares > 0).sum(axis=1) == 2].max(axis=1)
        assert binary.min() < 0.6
        assert binary.max() > 0.9

    def test_the_same_state_gives_the_same_structure(self) -> None:
        exchange = Exchange([METALS], metals())
        one, same, other = (exchange.exchanged(alloy(METALS), np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert one == same
        assert composition(one) != composition(other)

    def test_only_elements_of_a_group_stand_for_each_other(self) -> None:
        slag = bulk("MgO", "rocksalt", a=4.5, cubic=True) * 2
        slag.symbols[[k for k, symbol in enumerate(slag.symbols) if symbol == "O"][:5]] = "S"
        slag.symbols[[k for k, symbol in enumerate(slag.symbols) if symbol == "Mg"][:9]] = "Ba"
        given = [*oxides(), slag]
        for atoms in made(Exchange([("Mg", "Ca"), ("O", "S")], given), slag, 40):
            for group, others in ({"Mg", "Ca"}, {"Mg", "Ca"}), ({"O", "S"}, {"O", "S"}), ({"Ba"}, {"Ba"}):
                places = [k for k, symbol in enumerate(slag.symbols) if symbol in group]
                assert set(atoms.symbols[places]) <= others

    def test_structures_without_such_elements_stay(self) -> None:
        assert made(Exchange([METALS], [*metals(), bulk("Cu")]), bulk("Cu"), 1) == [bulk("Cu")]

    def test_compositions_can_be_kept(self) -> None:
        start = alloy(["Nb", "Mo", "W"])
        start.set_initial_magnetic_moments(start.numbers / 10.0)
        exchange = Exchange([("Nb", "W")], [*metals(), start], keep_compositions=True)
        orders = set()
        for atoms in made(exchange, start, 20):
            assert composition(atoms) == composition(start)
            assert np.array_equal(atoms.numbers == 42, start.numbers == 42)
            assert np.array_equal(atoms.positions, start.positions)
            assert np.array_equal(atoms.cell.array, start.cell.array)
            assert np.array_equal(atoms.get_initial_magnetic_moments(), atoms.numbers / 10.0)
            orders.add(tuple(atoms.numbers))
        assert len(orders) > 15

    def test_every_order_is_as_likely(self) -> None:
        start = bulk("Nb", cubic=True, a=3.25) * (2, 1, 1)
        start.numbers[0] = 42
        exchange = Exchange([("Nb", "Mo")], [start], keep_compositions=True)
        places = np.bincount([int(np.argmax(atoms.numbers == 42)) for atoms in made(exchange, start, 200)], minlength=4)
        assert np.abs(places - 50).max() < 20

    @pytest.mark.parametrize("state", [{"charge": 1}, {"spin": 3}])
    def test_a_total_charge_belongs_to_a_composition(self, state: dict[str, int]) -> None:
        start = alloy(["Nb", "W"])
        start.info |= state
        for atoms in made(Exchange([METALS], metals()), start, 5):
            assert atoms.info == state
            assert composition(atoms) == composition(start)
            assert not np.array_equal(atoms.numbers, start.numbers)

    def test_large_atoms_do_not_go_where_there_is_no_room(self) -> None:
        hydride = Atoms("W2H", [[0, 0, 0], [3.2, 0, 0], [1.6, 0.8, 0]])
        exchange = Exchange([("W", "H")], [hydride], keep_compositions=True)
        assert made(exchange, hydride, 20) == [hydride] * 20

    def test_moments_and_charges_are_those_of_the_element(self) -> None:
        iron, chromium = bulk("Fe", cubic=True) * 2, bulk("Cr", a=2.9, cubic=True)
        iron.set_initial_magnetic_moments([2.2] * 16)
        chromium.set_initial_magnetic_moments([0.9, -0.9])
        moments = set()
        for atoms in made(Exchange([("Fe", "Cr")], [iron, chromium]), iron, 10):
            own = atoms.get_initial_magnetic_moments()
            assert (own[atoms.numbers == 26] == 2.2).all()
            moments |= set(own[atoms.numbers == 24])
            assert "initial_charges" not in atoms.arrays
        assert moments == {0.9, -0.9}

    def test_nothing_that_could_be_taken_for_a_label_is_left(self) -> None:
        start = alloy(["Nb", "W"])
        start.info |= {"energy": -1.0, "name": "x"}
        start.new_array("REF_forces", np.ones((16, 3)))
        (atoms,) = made(Exchange([METALS], metals()), start, 1)
        assert not atoms.info
        assert set(atoms.arrays) == {"numbers", "positions"}


class TestSamples:
    """What a run makes of its given structures."""

    def sampler(self, folder: Path, given: list[Atoms], **options: Any) -> Sampler:
        return Sampler(config(folder, backend="numpy", **options), given, lambda: None)

    def test_some_are_exchanged_and_some_are_not(self, tmp_path: Path) -> None:
        given = [alloy(["Cu", "Ag"], 3.9)[:8], *(bulk(symbol, cubic=True) for symbol in ("Cu", "Ag", "Au"))]
        sampler = self.sampler(tmp_path, given[:1], rattle=0.0)
        assert {composition(sample.atoms) for sample in sampler.first(40)} == {composition(given[0])}
        sampler = self.sampler(tmp_path, given, exchange=[("Cu", "Ag", "Au")])
        samples = sampler.first(80)
        made = [sample.atoms for sample in samples if sample.origin == "perturbed"]
        known = {frozenset(atoms.get_chemical_symbols()) for atoms in given}
        new = [atoms for atoms in made if frozenset(atoms.get_chemical_symbols()) not in known]
        assert 0.2 < len(new) / len(made) < 0.8
        assert {"Cu", "Ag", "Au"} in [set(atoms.get_chemical_symbols()) for atoms in new]
        assert [sample.atoms for sample in self.sampler(tmp_path, given, exchange=[("Cu", "Ag", "Au")]).first(80)] == [
            sample.atoms for sample in samples
        ]

    def test_elements_that_are_not_given_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "start.extxyz", alloys())
        message = r"exchange: none of the given structures has Ag or Ni, found Au, Cu; give one that has"
        with pytest.raises(LearningError, match=message):
            learn(config(tmp_path, exchange=[("Cu", "Ag", "Au", "Ni")]))
        assert not (tmp_path / "student.learn").exists()


class TestSizes:
    def test_volumes_follow_the_composition(self) -> None:
        """From niobium to tungsten and what lies between, by lengths that are linear in the shares."""
        start = bulk("Nb", "bcc", a=LATTICE["Nb"], cubic=True) * 3
        for atoms in made(Exchange([METALS], metals()), start, 60):
            expected = np.mean([LATTICE[symbol] for symbol in atoms.get_chemical_symbols()])
            assert atoms.cell.lengths() == pytest.approx(3 * expected, rel=3e-3)
            np.testing.assert_allclose(atoms.get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)

    def test_a_strained_structure_stays_strained(self) -> None:
        start = bulk("Nb", "bcc", a=1.05 * LATTICE["Nb"], cubic=True) * 2
        for atoms in made(Exchange([METALS], metals()), start, 20):
            expected = np.mean([LATTICE[symbol] for symbol in atoms.get_chemical_symbols()])
            assert atoms.cell.lengths() == pytest.approx(2 * 1.05 * expected, rel=3e-3)

    def test_oxides_follow_their_metals(self) -> None:
        """Those of the metals alone would not do: half of the atoms are oxygen."""
        sizes = element_sizes(oxides())
        for crystal in oxides():
            assert volume_of(sizes, crystal) == pytest.approx(crystal.get_volume(), rel=0.01)
        mixed = oxides()[0]
        mixed.numbers[np.flatnonzero(mixed.numbers == 12)[:2]] = 20
        assert mixed.numbers.tolist().count(20) == 2
        volumes = [crystal.get_volume() for crystal in oxides()]
        assert volumes[0] < volume_of(sizes, mixed) < volumes[1]

    def test_radii_decide_where_the_structures_do_not(self) -> None:
        given = [alloy(["Mo", "Nb"])]
        sizes = element_sizes(given)
        assert volume_of(sizes, given[0]) == pytest.approx(given[0].get_volume(), rel=1e-3)
        molybdenum, niobium = (sizes[atomic_numbers[symbol]] for symbol in ("Mo", "Nb"))
        assert niobium / molybdenum == pytest.approx(1.64 / 1.54, rel=1e-2)
        assert sizes[atomic_numbers["W"]] / covalent_radii[74] == pytest.approx(3.2 / 2 ** (1 / 3) / 1.59, rel=0.05)

    def test_noise_is_averaged_and_vacuum_is_not_believed(self) -> None:
        rng = np.random.default_rng(0)
        crystals = [crystal.copy() for crystal in metals() for _ in range(10)]
        for crystal in crystals:
            crystal.set_cell(crystal.cell.array * np.exp(rng.normal(scale=0.01)), scale_atoms=True)
        slabs = [bulk("W", a=LATTICE["W"], cubic=True) * (1, 1, 2) for _ in range(5)]
        for slab in slabs:
            slab.set_cell(slab.cell.array * [[1], [1], [3]])
        sizes = element_sizes([*crystals, *slabs])
        for crystal in metals():
            assert volume_of(sizes, crystal) == pytest.approx(crystal.get_volume(), rel=0.04)

    @pytest.mark.parametrize(
        "given",
        [
            [molecule("CH3Cl")],
            [Atoms("CCl4", np.eye(5, 3), cell=[20, 20, 20], pbc=True)],
            [fcc111("Al", (1, 1, 2), vacuum=9.0)],
        ],
    )
    def test_boxes_of_molecules_tell_nothing(self, given: list[Atoms]) -> None:
        assert np.array_equal(element_sizes(given), covalent_radii)

    def test_molecules_and_slabs_are_scaled(self) -> None:
        slab = fcc111("Al", (2, 2, 3), vacuum=6.0)
        gold = bulk("Au", a=1.05 * 4.05)
        exchange = Exchange([("Al", "Au")], [bulk("Al", a=4.05), gold, slab])
        for atoms in made(exchange, slab, 10):
            scale = 1 + 0.05 * (atoms.numbers == 79).mean()
            assert atoms.pbc.tolist() == [True, True, False]
            np.testing.assert_allclose(atoms.positions, slab.positions * scale, rtol=2e-3)
            np.testing.assert_allclose(atoms.cell.lengths()[:2], slab.cell.lengths()[:2] * scale, rtol=2e-3)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("Nb,Mo", r"expected groups of elements such as \[\('Nb', 'Mo'\), .* got 'Nb,Mo'"),
        (("Nb", "Mo"), r"expected groups of elements .* got \('Nb', 'Mo'\)"),
        ([("Nb", "Xx")], "exchange Nb,Xx: 'Xx' is no element; write chemical symbols"),
        ([("Nb", "")], "exchange Nb,: '' is no element"),
        ([("Nb", "X")], "'X' is no element"),
        ([("Nb", 42)], "42 is no element"),
        ([("Nb",)], "exchange Nb: a group needs two elements or more"),
        ([()], "a group needs two elements or more"),
        ([("Nb", "Mo", "Nb")], "exchange Nb,Mo,Nb: Nb is there twice; an element belongs to one group"),
        ([("Nb", "Mo"), ("W", "Mo")], "exchange W,Mo: Mo is in the group Nb,Mo too; an element belongs to one group"),
    ],
)
def test_groups_that_cannot_be_meant(groups: Any, message: str) -> None:
    with pytest.raises(LearningError, match=message):
        check_groups(groups)
