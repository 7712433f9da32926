"""What a warm start takes from a model: columns by symbol, new elements as the average one, E0 from the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import ModelFileError, TrainingError
from etn_gpu.plan import ProgramBuilder
from etn_gpu.potential import PRESETS, Architecture, ETNPotential, save
from etn_gpu.potential.programs import programs
from etn_gpu.structures.labels import collect_labels
from etn_gpu.training import TrainingConfig
from etn_gpu.training.data import Piece, cut_pieces
from etn_gpu.training.fixed import Fixed
from etn_gpu.training.initial_model import InitialModel, warm_parameters
from etn_gpu.training.objective import Weights
from etn_gpu.training.problem import Problem

Array = NDArray[np.float64]
MakeAlloy = Callable[..., Atoms]


def a_model(architecture: Architecture, seed: int = 4) -> ETNPotential:
    rng = np.random.default_rng(seed)
    shapes = architecture.parameter_shapes
    distances = np.array([[2.1, 0.0], [0.0, 2.3]])
    parameters = {name: 0.4 * rng.normal(size=shape) for name, shape in shapes.items()}
    return ETNPotential(
        architecture, parameters, minimum_distances=distances,
        metadata={"licence": "MIT", "formation_references": {"Cu": -3.0, "Au": -2.0}, "note": "x"},
    )  # fmt: skip


@pytest.fixture
def initial(architecture: Architecture) -> InitialModel:
    """Of Cu and Au, in that order."""
    return InitialModel("base", a_model(architecture))


def extended(initial: InitialModel, species: tuple[str, ...]) -> ETNPotential:
    return ETNPotential(initial.architecture(species), initial.parameters(species))


def site_vectors(model: ETNPotential, atoms: Atoms) -> Array:
    """v of every atom [N, size of the feature leg]."""
    [piece] = cut_pieces(collect_labels([atoms]), [0], model.species, model.cutoff)
    program = ProgramBuilder(programs(model.architecture).energy).build({"v": "v"})
    inputs = {"x": piece.environments.vectors} | {k: v.ravel() for k, v in model.parameters.items()}
    found = backends.run(program, inputs, piece.environments.geometry, backend="numpy")
    return found["v"].astype(np.float64)


def test_the_same_elements_give_the_same_network(initial: InitialModel) -> None:
    assert initial.species_with(["Au"]) == ("Cu", "Au")
    assert initial.architecture(("Cu", "Au")) == initial.model.architecture
    for name, array in initial.parameters(("Cu", "Au")).items():
        np.testing.assert_array_equal(array, initial.model.parameters[name])


@pytest.mark.parametrize(
    ("new", "species"),
    [
        (["Ag"], ("Cu", "Ag", "Au")),
        (["Pt", "Ni"], ("Ni", "Cu", "Pt", "Au")),
        (["Au", "Cu"], ("Cu", "Au")),
    ],
)
def test_columns_move_by_symbol(
    new: list[str], species: tuple[str, ...], initial: InitialModel, make_alloy: MakeAlloy, backend: str
) -> None:
    """Old structures have their old energies, forces and stresses, whatever elements are beside them."""
    rng = np.random.default_rng(1)
    structures = [make_alloy(rng) for _ in range(3)]
    assert initial.species_with(new) == species
    expected = initial.model.evaluate(structures, backend="numpy")
    for found, old in zip(extended(initial, species).evaluate(structures, backend=backend), expected, strict=True):
        assert found["energy"] == pytest.approx(old["energy"], rel=1e-12)
        np.testing.assert_allclose(found["forces"], old["forces"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["stress"], old["stress"], rtol=1e-9, atol=1e-12)


def test_elements_of_a_model_in_another_order(initial: InitialModel, make_alloy: MakeAlloy) -> None:
    """By atomic number from now on, and the energies are the same."""
    swapped = ETNPotential(
        replace(initial.model.architecture, species=("Au", "Cu")),
        {name: array[..., ::-1] if name in ("U", "W", "A", "E0") else array
         for name, array in initial.model.parameters.items()},
    )  # fmt: skip
    atoms = make_alloy(np.random.default_rng(2))
    again = InitialModel("swapped", swapped)
    assert again.species_with([]) == ("Cu", "Au")
    [found], [expected] = extended(again, ("Cu", "Au")).evaluate(atoms), swapped.evaluate(atoms)
    assert found["energy"] == pytest.approx(expected["energy"], rel=1e-12)


@pytest.mark.parametrize("place", [0, 5])
def test_a_new_element_is_the_average_one(place: int, initial: InitialModel, make_alloy: MakeAlloy) -> None:
    """An atom of it has, and gives to its neighbours, the mean of what atoms of the known elements there would."""
    model = extended(initial, ("Cu", "Ag", "Au"))
    atoms = make_alloy(np.random.default_rng(3))
    found = {}
    for symbol in ("Cu", "Ag", "Au"):
        atoms.symbols[place] = symbol
        found[symbol] = site_vectors(model, atoms)
    mean = 0.5 * (found["Cu"] + found["Au"])
    images = np.flatnonzero(np.abs(found["Cu"] - found["Au"]).max(axis=1) > 1e-6)
    assert len(images) > 1  # the atom and neighbours of it
    others = images[images != place]
    np.testing.assert_allclose(found["Ag"][others], mean[others], rtol=1e-10, atol=1e-12)
    # An atom and its own images are a product of both embeddings: without them its site vector is the mean as well.
    alone = atoms.copy()
    alone.pbc = False
    single = {}
    for symbol in ("Cu", "Ag", "Au"):
        alone.symbols[place] = symbol
        single[symbol] = site_vectors(model, alone)[place]
    np.testing.assert_allclose(single["Ag"], 0.5 * (single["Cu"] + single["Au"]), rtol=1e-10, atol=1e-12)
    assert np.abs(single["Cu"] - single["Au"]).max() > 0.01


class TestReferenceEnergies:
    """Where E0 of the elements begins."""

    SPECIES = ("Cu", "Ag", "Au")

    def problem(self, pieces: list[Piece], initial: InitialModel, fixed: Fixed | None = None) -> Problem:
        return Problem(initial.architecture(self.SPECIES), Weights(1.0, 1.0, 1.0), pieces, "numpy", fixed=fixed)

    def pieces(self, initial: InitialModel, make_alloy: MakeAlloy, silver: float) -> list[Piece]:
        """Energies of the extended model, in which E0 of silver is that, and none at all for one structure."""
        model = extended(initial, self.SPECIES)
        parameters = dict(model.parameters) | {"E0": model.parameters["E0"].copy()}
        parameters["E0"][1] = silver
        truth = ETNPotential(model.architecture, parameters)
        rng = np.random.default_rng(5)
        frames = [make_alloy(rng, self.SPECIES) for _ in range(5)]
        for atoms, result in zip(frames[1:], truth.evaluate(frames[1:]), strict=True):
            atoms.info["REF_energy"] = result["energy"]
        frames[0].arrays["REF_forces"] = np.zeros((8, 3))
        return cut_pieces(collect_labels(frames), range(5), self.SPECIES, model.cutoff, piece_atoms=16)

    def test_of_a_new_element_comes_from_the_labels(self, initial: InitialModel, make_alloy: MakeAlloy) -> None:
        problem = self.problem(self.pieces(initial, make_alloy, -7.25), initial)
        found = problem.layout.unpack(warm_parameters(initial, problem))
        expected = initial.model.parameters["E0"]
        np.testing.assert_array_equal(found["E0"][[0, 2]], expected)
        assert found["E0"][1] == pytest.approx(-7.25, abs=1e-10)

    def test_without_energies_it_is_the_mean(self, initial: InitialModel, make_alloy: MakeAlloy) -> None:
        pieces = [
            replace(piece, energy=np.full_like(piece.energy, np.nan))
            for piece in self.pieces(initial, make_alloy, 0.0)
        ]  # fmt: skip
        problem = self.problem(pieces, initial)
        found = problem.layout.unpack(warm_parameters(initial, problem))
        assert found["E0"][1] == pytest.approx(initial.model.parameters["E0"].mean(), rel=1e-14)

    def test_those_that_are_given_are_taken(self, initial: InitialModel, make_alloy: MakeAlloy) -> None:
        fixed = Fixed(np.array([-1.5, -2.5, np.nan]), np.zeros(3, bool))
        problem = self.problem(self.pieces(initial, make_alloy, -7.25), initial, fixed)
        found = problem.layout.unpack(warm_parameters(initial, problem))
        np.testing.assert_array_equal(found["E0"], [-1.5, -2.5, initial.model.parameters["E0"][1]])


def test_what_the_model_was_trained_on_is_remembered(initial: InitialModel) -> None:
    inf = np.inf
    expected = [[2.1, inf, inf], [inf, inf, inf], [inf, inf, 2.3]]
    np.testing.assert_array_equal(initial.closest(("Cu", "Ag", "Au")), expected)
    told = initial.told({"formation_references": {"Cu": -3.5, "Ag": -1.0}, "formation_reference_structures": {}})
    assert told["formation_references"] == {"Cu": -3.5, "Au": -2.0, "Ag": -1.0}
    assert told["initial_model"] == {"checksum": initial.checksum, "species": ["Cu", "Au"], "licence": "MIT"}


def test_the_checksum_is_of_the_content(architecture: Architecture, tmp_path: Path) -> None:
    model = a_model(architecture)
    save(model, tmp_path / "a.etn")
    loaded = InitialModel.load(TrainingConfig(Path("t"), Path("o.etn"), init=tmp_path / "a.etn"))
    assert loaded is not None
    assert loaded.checksum == InitialModel("another name", model).checksum
    assert loaded.checksum != InitialModel("base", a_model(architecture, seed=5)).checksum


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"cutoff": 4.0}, r"the cutoff is that of the initial model, 3\.6 A \(.*base\.etn\), got 4 A: leave it out"),
        ({"preset": "small"}, r"the sizes are those of the initial model .*n_radial is 2, the preset has 8"),
    ],
)
def test_other_sizes_than_the_model_has(
    options: dict[str, object], complaint: str, architecture: Architecture, tmp_path: Path
) -> None:
    save(a_model(architecture), tmp_path / "base.etn")
    config = TrainingConfig(Path("t"), Path("o.etn"), init=tmp_path / "base.etn", **options)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=complaint):
        InitialModel.load(config)


def test_options_that_agree_with_a_shipped_model() -> None:
    found = InitialModel.load(TrainingConfig(Path("t"), Path("o.etn"), init="mo", preset="standard"))
    assert found is not None
    assert found.model.architecture.bonds == PRESETS["standard"].bonds


def test_no_such_model() -> None:
    with pytest.raises(ModelFileError, match=r"no model file 'nonesuch', nor a shipped model of that name"):
        InitialModel.load(TrainingConfig(Path("t"), Path("o.etn"), init="nonesuch"))


def test_a_model_without_energy(architecture: Architecture, tmp_path: Path) -> None:
    vector = replace(architecture, target="1x1o")
    parameters = {name: np.zeros(shape) for name, shape in vector.parameter_shapes.items()}
    save(ETNPotential(vector, parameters), tmp_path / "v.etn")
    with pytest.raises(TrainingError, match=r"v\.etn cannot be trained on: it has the covariant output 1x1o, expected"):
        InitialModel.load(TrainingConfig(Path("t"), Path("o.etn"), init=tmp_path / "v.etn"))


def test_messages(initial: InitialModel) -> None:
    first, new, ranks, held = initial.messages(("Cu", "Ag", "Au"), held_out=True)
    assert first == "starting from base (Cu Au), with its sizes and its cutoff"
    assert new == "Ag: unknown to base, beginning as the average of Cu, Au"
    assert ranks.startswith("the ranks of the species embeddings stay those of base, 2 and 2: with 3 elements")
    assert "base may have been trained on structures that are held out now" in held
    assert initial.messages(("Cu", "Au"), held_out=False) == [first]
    assert initial.warnings(("Cu", "Au")) == ()
    [absent] = initial.warnings(("Cu",))
    assert absent.startswith("Au: known to base, and not among the training data. The model keeps")
