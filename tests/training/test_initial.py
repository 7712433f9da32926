"""Where training starts: reference energies, a site vector of unit variance, and no surprise from degenerate data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.plan import ProgramBuilder
from etn_gpu.potential import Architecture
from etn_gpu.potential.kernel import Execution, Kernel
from etn_gpu.potential.programs import programs
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import initial
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.initial import initial_parameters, parameter_scales, radial_sizes, reference_energies

Array = NDArray[np.float64]
COPPER = Architecture(("Cu",), 4.0, 1.8, 4, (4, 3, 3), 1, 1, ("2x0e+2x1o",))


def piece_of(frames: list[Atoms], species: tuple[str, ...], cutoff: float) -> Piece:
    [piece] = cut_pieces(collect_labels(frames), range(len(frames)), species, cutoff)
    return piece


@pytest.fixture
def copper(make_alloy: Callable[..., Atoms]) -> Piece:
    rng = np.random.default_rng(0)
    return piece_of([make_alloy(rng, ["Cu"]) for _ in range(6)], COPPER.species, COPPER.cutoff)


def site_vectors(architecture: Architecture, parameters: dict[str, Array], piece: Piece) -> Array:
    """v of every atom [N, size of the feature leg]."""
    program = ProgramBuilder(programs(architecture).energy).build({"v": "v"})
    inputs = {"x": piece.environments.vectors} | {k: v.ravel() for k, v in parameters.items()}
    return backends.run(program, inputs, piece.environments.geometry, backend="numpy")["v"].astype(np.float64)


def energies(architecture: Architecture, parameters: dict[str, Array], piece: Piece) -> Array:
    return Kernel(architecture, Execution("numpy")).energies(parameters, piece.environments)


def start(architecture: Architecture, piece: Piece, seed: int = 0) -> dict[str, Array]:
    references = np.zeros(architecture.n_species)
    return initial_parameters(architecture, scales(architecture, piece), references, seed)


def scales(architecture: Architecture, piece: Piece, backend: str | None = None) -> dict[str, Array]:
    return parameter_scales(architecture, radial_sizes(architecture, piece, backend))


def test_site_vector_has_unit_variance(copper: Piece) -> None:
    """Mean over many starts, for each l; the constant in front is 1."""
    vectors = np.stack([site_vectors(COPPER, start(COPPER, copper, seed), copper) for seed in range(40)])
    np.testing.assert_array_equal(vectors[..., 0], 1.0)
    offset = 1
    for l, channels in enumerate(COPPER.channels):
        block = vectors[..., offset : offset + channels * (2 * l + 1)]
        assert 0.5 < np.mean(np.var(block, axis=1)) < 1.5
        offset += block.shape[-1]


def test_species_differ_little_at_the_start(make_alloy: Callable[..., Atoms]) -> None:
    """The same environments of copper and of gold: site vectors that are alike, and not the same."""
    architecture = replace(COPPER, species=("Cu", "Au"), neighbour_rank=2, centre_rank=2)
    frames = [make_alloy(np.random.default_rng(k), ["Cu"]) for k in range(4)]
    copper = piece_of(frames, architecture.species, architecture.cutoff)
    for atoms in frames:
        atoms.symbols[:] = "Au"
    gold = piece_of(frames, architecture.species, architecture.cutoff)
    ratios = []
    for seed in range(20):
        parameters = start(architecture, copper, seed)
        one, other = (
            site_vectors(architecture, parameters, piece)[:, 1 + architecture.channels[0] :] for piece in (copper, gold)
        )
        ratios.append(np.std(one - other) / np.std(one))
    assert 0.05 < np.median(ratios) < 0.5


def test_starts_differ_by_seed_only(copper: Piece) -> None:
    first, again, other = (start(COPPER, copper, seed) for seed in (0, 0, 1))
    assert {name: array.shape for name, array in first.items()} == COPPER.parameter_shapes
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["B1"], other["B1"])


def test_scales_are_the_same_on_every_backend(backend: str, copper: Piece) -> None:
    expected = scales(COPPER, copper, "numpy")
    found = scales(COPPER, copper, backend)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10)


def test_reference_energies_have_no_scale(copper: Piece) -> None:
    assert np.isinf(scales(COPPER, copper)["E0"]).all()


def test_a_perfect_crystal_tells_no_scale_but_a_finite_one_is_used(copper: Piece) -> None:
    """All atoms alike: the sums do not vary, and those of l > 0 vanish. Rattled atoms must not explode afterwards."""
    perfect = piece_of([bulk("Cu", a=3.9)], COPPER.species, COPPER.cutoff)
    parameters = start(COPPER, perfect)
    assert np.abs(energies(COPPER, parameters, perfect)).max() < 1e3
    assert np.abs(energies(COPPER, parameters, copper)).max() < 1e3


def test_atoms_without_neighbours_tell_no_scale(copper: Piece) -> None:
    lonely = piece_of([Atoms("Cu", [[0.0, 0.0, 0.0]])], COPPER.species, COPPER.cutoff)
    assert np.abs(energies(COPPER, start(COPPER, lonely), copper)).max() < 1e3


def test_species_start_similar_but_distinguishable(architecture: Architecture, pieces: list[Piece]) -> None:
    parameters = start(architecture, pieces[0])
    for name in ("U", "W"):
        np.testing.assert_array_equal(parameters[name][0], 1.0)
        assert np.linalg.matrix_rank(parameters[name]) == 2


class TestReferenceEnergies:
    def test_exact_for_energies_that_are_sums(self, make_alloy: Callable[..., Atoms]) -> None:
        rng = np.random.default_rng(0)
        frames = [make_alloy(rng) for _ in range(5)]
        for atoms in frames:
            symbols = atoms.get_chemical_symbols()
            atoms.info["REF_energy"] = -3.5 * symbols.count("Cu") - 3.2 * symbols.count("Au")
        found = reference_energies([piece_of(frames, ("Cu", "Au"), 4.0)], 2)
        np.testing.assert_allclose(found, [-3.5, -3.2], rtol=1e-10)

    def test_structures_without_energy_are_left_out(self, make_alloy: Callable[..., Atoms]) -> None:
        rng = np.random.default_rng(0)
        frames = [make_alloy(rng, ["Cu"]) for _ in range(2)]
        frames[0].info["REF_energy"] = -28.0
        piece = piece_of(frames, ("Cu",), 4.0)
        np.testing.assert_allclose(reference_energies([piece, piece], 1), [-3.5])

    def test_no_energy_anywhere(self, make_alloy: Callable[..., Atoms]) -> None:
        piece = piece_of([make_alloy(np.random.default_rng(0))], ("Cu", "Au"), 4.0)
        np.testing.assert_array_equal(reference_energies([piece], 2), [0.0, 0.0])

    def test_one_composition_is_shared_evenly(self) -> None:
        """Only the sum is known: the least-norm solution."""
        atoms = Atoms("CuAu", [[0.0, 0.0, 0.0], [2.6, 0.0, 0.0]])
        atoms.info["REF_energy"] = -6.0
        np.testing.assert_allclose(reference_energies([piece_of([atoms], ("Cu", "Au"), 4.0)], 2), [-3.0, -3.0])


@pytest.mark.parametrize("bond", ["2x0e+2x1o", "3x0e+1x1o+2x2e"])
def test_middle_cores_begin_as_the_identity(bond: str, copper: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its random part a train of order 4 is the train of order 2 with the same outer cores."""
    monkeypatch.setattr(initial, "MIDDLE_GAIN", 0.0)
    long, short = (replace(COPPER, bonds=(bond,) * n) for n in (3, 1))
    parameters = start(long, copper)
    outer = {name: parameters[name] for name in short.parameter_shapes if name != "G2"} | {"G2": parameters["G4"]}
    np.testing.assert_allclose(energies(long, parameters, copper), energies(short, outer, copper), rtol=1e-12)


def test_the_random_part_of_middle_cores_adds_higher_orders(copper: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    long = replace(COPPER, bonds=COPPER.bonds * 3)
    with_random_part = energies(long, start(long, copper), copper)
    monkeypatch.setattr(initial, "MIDDLE_GAIN", 0.0)
    difference = np.abs(with_random_part - energies(long, start(long, copper), copper)).max()
    assert 0 < difference < 0.3 * np.abs(with_random_part).max()


@pytest.mark.parametrize("bonds", [("2x0e+2x1o",), ("2x0e+1x1o", "3x0e+1x1o", "1x0e+1x2e")])
def test_a_constant_energy_beside_the_references(copper: Piece, bonds: tuple[str, ...]) -> None:
    """For every atom, up to the small random part of the network; nothing else is larger for it."""
    architecture = replace(COPPER, bonds=bonds)
    natural = scales(architecture, copper)
    some, without = (
        energies(architecture, initial_parameters(architecture, natural, np.zeros(1), 0, c), copper)
        for c in (-4.0, 0.0)
    )
    assert np.abs(some + 4.0).max() < 1.0
    assert np.abs(without).max() < 1.0
