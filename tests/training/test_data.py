"""Splitting and cutting labelled sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import DataError, StructureError
from etn_gpu.structures import LabelledSet
from etn_gpu.structures.copies import fingerprint
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training.data import checksum, cut_pieces, labelled, species_of, split_validation


def set_of(groups: list[str | None], symbols: str = "Cu") -> LabelledSet:
    frames = []
    for k, group in enumerate(groups):
        info = {"REF_energy": float(k)} | ({} if group is None else {"config_type": group})
        frames.append(Atoms(symbols, cell=[5.0 + k, 5.0, 5.0], info=info))
    return collect_labels(frames)


def split(labels: LabelledSet, fraction: float, seed: int = 0) -> tuple[list[int], list[int]]:
    return split_validation(labels, fraction, seed, range(len(labels)))


class TestSplit:
    @given(
        st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40),
        st.floats(0, 0.95),
        st.integers(0, 1000),
    )
    def test_disjoint_complete_and_deterministic(self, groups: list[str | None], fraction: float, seed: int) -> None:
        labels = set_of(groups)
        train, valid = split(labels, fraction, seed)
        assert sorted(train + valid) == list(range(len(groups)))
        assert train
        assert (train, valid) == split(labels, fraction, seed)

    def test_stratified(self) -> None:
        """Each group gives its part, within one structure."""
        groups: list[str | None] = ["a"] * 100 + ["b"] * 50 + [None] * 30
        _, valid = split(set_of(groups), 0.2)
        found = Counter(groups[i] for i in valid)
        for group, size in Counter(groups).items():
            assert abs(found[group] - 0.2 * size) <= 1

    @given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.booleans())
    def test_calm_and_violent_structures_are_in_both_parts(self, seed: int, every: int, forces: bool) -> None:
        """One of each `every` structures that follow each other in order."""
        order = np.random.default_rng(seed).permutation(every * 6)
        frames = [Atoms("Cu", [[k, 0, 0]]) for k in range(len(order))]
        for size, k in enumerate(order):
            if forces:
                frames[k].arrays["REF_forces"] = np.full((1, 3), float(size))
            else:
                frames[k].info["REF_energy"] = float(size)
        _, valid = split(collect_labels(frames), 1 / every + 1e-9, seed)
        assert np.isin(order, valid).reshape(-1, every).sum(axis=1).tolist() == [1] * 6

    def test_the_fraction_is_met_on_average_by_small_groups(self) -> None:
        """A tenth of groups of three: never all or always none."""
        labels = set_of([f"group {k // 3}" for k in range(300)])
        sizes = [len(split(labels, 0.1, seed)[1]) for seed in range(20)]
        assert 20 < np.mean(sizes) < 40

    def test_seeds_differ(self) -> None:
        labels = set_of([None] * 50)
        assert split(labels, 0.2, 0)[1] != split(labels, 0.2, 1)[1]
        assert split(labels, 0.2, 0)[0] != sorted(split(labels, 0.2, 0)[0])

    def test_no_fraction_no_validation(self) -> None:
        train, valid = split(set_of(["a"] * 10), 0.0)
        assert len(train) == 10
        assert valid == []

    @pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
    def test_one_structure_is_trained_on(self, fraction: float) -> None:
        assert split(set_of([None]), fraction) == ([0], [])

    def test_two_structures(self) -> None:
        train, valid = split(set_of(["a", "a"]), 0.9)
        assert len(train) == len(valid) == 1

    def test_groups_of_one_are_split_as_one_group(self) -> None:
        """A config_type that is a name of each structure does not prevent validation."""
        train, valid = split(set_of([f"frame {k}" for k in range(40)]), 0.25)
        assert (len(train), len(valid)) == (30, 10)

    def test_an_element_in_one_structure_stays_in_training(self) -> None:
        frames = [Atoms("Cu", [[k, 0, 0]], info={"REF_energy": 1.0}) for k in range(9)]
        frames.append(Atoms("CuAu", [[0, 0, 0], [2.5, 0, 0]], info={"REF_energy": 1.0}))
        labels = collect_labels(frames)
        for seed in range(10):
            train, valid = split(labels, 0.5, seed)
            assert 9 in train
            assert sorted(train + valid) == list(range(10))

    def test_the_only_labels_of_a_property_stay_in_training(self) -> None:
        """Held out, the one energy of gold would be compared with an arbitrary number."""
        frames = [Atoms(symbol, [[k, 0, 0]]) for k, symbol in enumerate(["Cu"] * 5 + ["Au"] * 5)]
        for k, atoms in enumerate(frames):
            atoms.arrays["REF_forces"] = np.zeros((1, 3))
            if k <= 5:
                atoms.info["REF_energy"] = -1.0
        labels = collect_labels(frames)
        parts = [split(labels, 0.5, seed) for seed in range(10)]
        assert all(5 in train for train, _ in parts)
        assert all(len(valid) >= 4 for _, valid in parts)

    def test_only_the_given_structures(self) -> None:
        train, valid = split_validation(set_of(["a"] * 20), 0.25, 0, [3, 5, 7, 9])
        assert sorted(train + valid) == [3, 5, 7, 9]


@st.composite
def with_copies(draw: st.DrawFn) -> tuple[LabelledSet, list[int]]:
    """Structures of which many are copies of few, in several groups, and the number of the original of each."""
    originals = draw(st.lists(st.integers(0, 5), min_size=1, max_size=25))
    groups = draw(st.lists(st.sampled_from(["a", "b", None]), min_size=6, max_size=6))
    frames = []
    for k, original in enumerate(originals):
        atoms = Atoms("Cu", [[0.0, 0.0, float(original)]], info={"REF_energy": float(k)})
        # A copy may have another label, and another config_type.
        if (group := groups[(original + draw(st.integers(0, 1))) % 6]) is not None:
            atoms.info["config_type"] = group
        frames.append(atoms)
    return collect_labels(frames), originals


class TestCopies:
    @given(with_copies(), st.floats(0, 0.95), st.integers(0, 1000))
    def test_copies_stay_together(self, case: tuple[LabelledSet, list[int]], fraction: float, seed: int) -> None:
        labels, originals = case
        train, valid = split(labels, fraction, seed)
        assert not {originals[i] for i in train} & {originals[i] for i in valid}
        assert sorted(train + valid) == list(range(len(labels)))
        assert train

    @given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.floats(0, 0.95), st.integers(0, 1000))
    def test_the_fraction_is_that_of_different_structures(
        self, originals: list[int], fraction: float, seed: int
    ) -> None:
        frames = [Atoms("Cu", [[0.0, 0.0, z]], info={"REF_energy": 1.0}) for z in originals]
        _, valid = split(collect_labels(frames), fraction, seed)
        held, different = len({originals[i] for i in valid}), len(set(originals))
        assert abs(held - min(fraction * different, different - 1)) <= 1

    @pytest.mark.parametrize("seed", range(5))
    def test_nothing_can_be_held_out_of_copies_only(self, seed: int) -> None:
        labels = collect_labels([Atoms("Cu", info={"REF_energy": 1.0}) for _ in range(10)])
        train, valid = split(labels, 0.5, seed)
        assert sorted(train) == list(range(10))
        assert valid == []

    def test_copies_that_went_through_other_files(self, make_alloy: Callable[..., Atoms]) -> None:
        """Fewer digits, no labels, minus zero."""
        atoms = make_alloy(np.random.default_rng(0))
        atoms.positions = np.round(atoms.positions, 4)
        atoms.positions[0] = 0.0
        copy = Atoms(atoms.numbers, atoms.positions + 1e-6, cell=atoms.cell[:] + 1e-9, pbc=True, info={"energy": 1.0})
        copy.positions[0] = -0.0
        assert fingerprint(copy) == fingerprint(atoms)

    @pytest.mark.parametrize(
        "change",
        [
            lambda atoms: atoms.positions.__iadd__(0.01),
            lambda atoms: atoms.numbers.__setitem__(0, 47),
            lambda atoms: atoms.set_pbc((True, True, False)),
            lambda atoms: atoms.set_cell(atoms.cell[:] * 1.001),
            lambda atoms: atoms.extend(Atoms("Cu")),
        ],
        ids=["positions", "elements", "periodicity", "cell", "atoms"],
    )
    def test_what_is_no_copy(self, make_alloy: Callable[..., Atoms], change: Callable[[Atoms], object]) -> None:
        atoms = make_alloy(np.random.default_rng(0))
        other = atoms.copy()
        change(other)
        assert fingerprint(other) != fingerprint(atoms)


class TestPieces:
    def test_order_and_labels(self, labels: LabelledSet) -> None:
        order = [3, 0, 4, 1, 2, 5]
        pieces = cut_pieces(labels, order, ("Cu", "Au"), 4.0, piece_atoms=12)
        assert [piece.batch.n_structures for piece in pieces] == [2, 2, 2]
        np.testing.assert_array_equal(np.concatenate([p.energy for p in pieces]), labels.energy[order])
        np.testing.assert_array_equal(np.concatenate([p.stress for p in pieces]), labels.stress[order])
        parts = []
        for i in order:
            given = labels.forces[i]
            parts.append(np.full((len(labels.atoms[i]), 3), np.nan) if given is None else given)
        np.testing.assert_array_equal(np.concatenate([p.forces for p in pieces]), np.concatenate(parts))
        positions = np.concatenate([labels.atoms[i].positions for i in order])
        np.testing.assert_array_equal(np.concatenate([p.batch.positions for p in pieces]), positions)
        sizes = [len(labels.atoms[i]) for i in order]
        np.testing.assert_array_equal(np.concatenate([p.atoms_per_structure for p in pieces]), sizes)

    @pytest.mark.parametrize(("piece_atoms", "count"), [(1, 6), (1000, 1)])
    def test_number_of_pieces(self, labels: LabelledSet, piece_atoms: int, count: int) -> None:
        assert len(cut_pieces(labels, range(6), ("Cu", "Au"), 4.0, piece_atoms)) == count

    def test_nothing(self, labels: LabelledSet) -> None:
        assert cut_pieces(labels, [], ("Cu", "Au"), 4.0) == []

    def test_a_bad_structure_is_named_by_its_place_in_the_file(self, make_alloy: Callable[..., Atoms]) -> None:
        rng = np.random.default_rng(0)
        frames = [make_alloy(rng) for _ in range(4)]
        frames[2].positions[5] = np.nan
        with pytest.raises(StructureError, match=r"structures, structure 2 \(counted from 0\): atom 5 is at"):
            cut_pieces(collect_labels(frames), [3, 0, 2, 1], ("Cu", "Au"), 4.0)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda atoms: atoms.info.update(REF_energy=-8.1e7), r"-1\.0125e\+07 \(energy per atom in eV\)"),
        (lambda atoms: atoms.arrays["REF_forces"].__setitem__((3, 1), 1e99), r"1e\+99 \(force in eV/A\)"),
        (lambda atoms: atoms.info.update(REF_stress=[0, 0, 2e8, 0, 0, 0]), r"2e\+08 \(stress in eV/A\^3\)"),
    ],
    ids=["energy", "forces", "stress"],
)
def test_a_label_that_no_calculation_gives(
    make_alloy: Callable[..., Atoms],
    label: Callable[..., Atoms],
    spoil: Callable[[Atoms], object],
    complaint: str,
) -> None:
    rng = np.random.default_rng(0)
    frames = [label(make_alloy(rng)) for _ in range(3)]
    spoil(frames[1])
    message = rf"structures, structure 1 \(counted from 0\): a label is {complaint}, expected at most 1e\+07"
    with pytest.raises(DataError, match=message):
        cut_pieces(collect_labels(frames), [2, 1, 0], ("Cu", "Au"), 4.0)


def test_checksum_sees_structures_labels_and_order(labels: LabelledSet) -> None:
    def of(order: list[int], given: LabelledSet = labels) -> str:
        return checksum(cut_pieces(given, order, ("Cu", "Au"), 4.0))

    assert of([0, 1, 2]) == of([0, 1, 2])
    assert len({of([0, 1, 2]), of([0, 2, 1]), of([0, 1])}) == 3
    for change in (
        lambda atoms: atoms.positions.__iadd__(1e-9),
        lambda atoms: atoms.info.update(REF_energy=1.0),
        lambda atoms: atoms.symbols.__setitem__(0, "Au" if atoms.symbols[0] == "Cu" else "Cu"),
    ):
        frames = [atoms.copy() for atoms in labels.atoms]
        change(frames[1])
        assert of([0, 1, 2], collect_labels(frames)) != of([0, 1, 2], collect_labels(labels.atoms))


def test_species_by_atomic_number(labels: LabelledSet) -> None:
    assert species_of(labels, range(6)) == ("Cu", "Au")
    assert species_of(labels, [5]) == ("Au",)


@pytest.mark.parametrize(
    ("properties", "indices"),
    [
        (["energy"], [0, 1, 3, 4, 5]),
        (["forces"], [0, 2, 3, 4, 5]),
        (["stress"], [0, 3]),
        (["energy", "stress"], [0, 1, 3, 4, 5]),
        (["energy", "forces", "stress"], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_labelled(labels: LabelledSet, properties: list[str], indices: list[int]) -> None:
    assert labelled(labels, properties).tolist() == indices
