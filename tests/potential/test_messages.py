"""Message passing and attention: against loops over tensors, derivatives, symmetry, how far a layer reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from etn_gpu import backend as backends
from etn_gpu.errors import BackendError, NetworkError
from etn_gpu.network import MessageLayer, canonicalise_layer, from_train, gram
from etn_gpu.plan import ProgramBuilder
from etn_gpu.potential import Architecture, ETNPotential, assembly
from etn_gpu.potential.kernel import Environments, Execution, Kernel
from etn_gpu.potential.programs import programs
from etn_gpu.potential.size import too_large
from etn_gpu.structures import StructureBatch
from etn_gpu.symmetry import Irreps, clebsch_gordan
from etn_gpu.tensor.dense import to_dense

Array = NDArray[np.float64]
MakePotential = Callable[..., ETNPotential]
MakeStructures = Callable[[int], dict[str, Atoms]]

PLAIN = MessageLayer("2x0e+1x1o+1x2e", ("2x0e+1x1o",), 2, 3)
ATTENTIVE = MessageLayer("2x0e+1x1o", ("2x0e+1x1o",), 1, 3, attention=2)
#: An irrep that products of a site vector have, and a site vector has not.
TURNED = MessageLayer("1x0e+1x1e", ("2x0e+1x1o",), 2, 2, readout=False)
LAYERS = {"plain": (PLAIN,), "attention": (ATTENTIVE,), "two layers": (TURNED, ATTENTIVE)}


@pytest.fixture(scope="module", params=LAYERS)
def layered(request: pytest.FixtureRequest, make_potential: MakePotential) -> ETNPotential:
    """Random potentials of two elements with layers of every kind."""
    return make_potential(2, layers=LAYERS[request.param])


@pytest.fixture(scope="module")
def deep(make_potential: MakePotential) -> ETNPotential:
    """With two layers, attention, and messages of turned irreps: for what compiles much."""
    return make_potential(2, layers=LAYERS["two layers"])


@pytest.fixture(scope="module")
def batch(deep: ETNPotential, make_structures: MakeStructures) -> StructureBatch:
    return StructureBatch.build(list(make_structures(2).values()), deep.species, deep.cutoff)


def loops(potential: ETNPotential, batch: StructureBatch) -> Array:
    """Energies beyond the references [N], with tensors written out and a loop over edges."""
    a, parameters = potential.architecture, potential.parameters
    energy = programs(a).energy
    names = {"v0": "v0", "f": "radial", "y": "harmonics"}
    probe = ProgramBuilder(energy).build(names)
    environments = Environments.of(batch)
    inputs = {"x": environments.vectors, **{name: value.ravel() for name, value in parameters.items()}}
    out = backends.run(probe, inputs, environments.geometry, backend="numpy")
    v, f, y = (np.asarray(out[name], np.float64) for name in names)
    centre = np.repeat(np.arange(batch.n_atoms), np.diff(batch.edge_offsets))
    total = np.zeros(batch.n_atoms)
    for k, (layer, head) in enumerate(zip(a.layers, a.heads, strict=True), 1):
        h = contracted(head, parameters, v)
        if (sector := layer.readout_sector(a.train.target)) is not None:
            total += h[:, sector.offset : sector.offset + sector.mul] @ parameters[f"P{k}"]
        change = np.zeros_like(v)
        for i, j, radial, angular in zip(centre, batch.neighbour, f, y, strict=True):
            change[i] += message(a, layer, k, parameters, batch.species_index[i], h[i], h[j], radial, angular)
        v = v + change
    return total + contracted(a.train, parameters, v)[:, 0]


def contracted(train: Any, parameters: Mapping[str, Array], v: Array) -> Array:
    """The train on site vectors [N, dim], core by core: [N, dim of the target]."""
    nodes = from_train(train, parameters).nodes
    state = np.ones((len(v), 1))
    for core in train.cores:
        dense = to_dense(nodes[core.name]).reshape(core.out.dim, core.left.dim, core.feature.dim)
        state = np.einsum("cab,na,nb->nc", dense, state, v)
    return state


def message(
    a: Architecture, layer: MessageLayer, k: int, parameters: Mapping[str, Array], species: int, own: Array,
    other: Array, radial: Array, angular: Array,
) -> Array:  # fmt: skip
    """What one edge adds to the site vector."""
    factors = [1.0, *scores(layer, k, parameters, own, other)]
    change, target = np.zeros(a.feature.dim), 1
    for l, n in enumerate(a.channels):
        of = layer.paths(a.degrees).get(l, ())
        coupled = []
        for path in of:
            table = clebsch_gordan(path.l1, path.hidden.l, l)
            for c in range(path.hidden.mul):
                start = path.hidden.offset + c * path.hidden.dim
                part = other[start : start + path.hidden.dim]
                coupled.append(np.einsum("mno,m,n->o", table, angular[path.l1**2 : (path.l1 + 1) ** 2], part))
        if coupled:
            weights = np.einsum("nbct,t->nbc", parameters[f"M{k}_{l}"], parameters["W"][:, species])
            messages = np.array([factor * part for factor in factors for part in coupled])
            added = np.einsum("nbc,b,cm->nm", weights, radial[: layer.n_radial], messages)
            change[target : target + added.size] = added.ravel()
        target += n * (2 * l + 1)
    return change


def scores(layer: MessageLayer, k: int, parameters: Mapping[str, Array], own: Array, other: Array) -> list[float]:
    found, place = [], 0
    for _ in range(layer.attention):
        score = 0.0
        for s in layer.hidden_sectors:
            matrix = parameters[f"Q{k}"][place : place + s.mul**2].reshape(s.mul, s.mul)
            mine, theirs = (x[s.offset : s.offset + s.mul * s.dim].reshape(s.mul, s.dim) for x in (own, other))
            score += float(np.sum((matrix @ mine) * theirs))
            place += s.mul**2
        found.append(score / layer.irreps.dim**0.5)
    return found


def test_energies_are_those_of_loops_over_edges(backend: str, layered: ETNPotential, batch: StructureBatch) -> None:
    expected = loops(layered, batch)
    references = layered.parameters["E0"][batch.species_index]
    found = layered.evaluate_batch(batch, backend=backend, dtype="float64").energies - references
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * (1 + np.abs(expected).max()))
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_backends_agree(
    backend: str, layered: ETNPotential, batch: StructureBatch, dtype: str, tolerance: float
) -> None:
    if dtype == "float32" and len(layered.architecture.layers) < 2:
        pytest.skip("one model is enough for this precision")
    expected = layered.evaluate_batch(batch, backend="numpy", dtype="float64")
    found = layered.evaluate_batch(batch, backend=backend, dtype=dtype)
    for name in ("energies", "forces", "virial"):
        a, b = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (1 + np.abs(b).max()), err_msg=name)


def central(function: Callable[[float], Array], step: float) -> Array:
    """First derivative at 0, of fourth order in the step."""
    near, far = (function(k * step) - function(-k * step) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def test_forces_and_stresses_by_finite_differences(layered: ETNPotential, batch: StructureBatch) -> None:
    rng = np.random.default_rng(0)
    u, strain = 0.5 * rng.normal(size=(batch.n_atoms, 3)), 0.1 * rng.normal(size=(3, 3))
    strain = strain + strain.T

    def energies(positions: Array, cells: Array) -> Array:
        # The same edges: none crosses the cutoff.
        moved = layered.evaluate_batch(batch.with_vectors(positions, cells), forces=False, stress=False)
        return assembly.segment_sum(moved.energies[:, None], batch.atom_offsets)[:, 0]

    result = layered.evaluate_batch(batch)
    assert result.forces is not None
    assert result.virial is not None
    along = assembly.segment_sum((result.forces * u).sum(axis=1)[:, None], batch.atom_offsets)[:, 0]
    moved = central(lambda t: energies(batch.positions + t * u, batch.cells), 1e-4)
    np.testing.assert_allclose(-along, moved, rtol=0, atol=1e-8 * (1 + np.abs(moved).max()))
    strained = central(
        lambda t: energies(*((x @ (np.eye(3) + t * strain)) for x in (batch.positions, batch.cells))), 1e-4
    )
    voigt = np.array(
        [strain[0, 0], strain[1, 1], strain[2, 2], *(2 * strain[i, j] for i, j in ((1, 2), (0, 2), (0, 1)))]
    )
    np.testing.assert_allclose(result.virial @ voigt, strained, rtol=0, atol=1e-8 * (1 + np.abs(strained).max()))


def test_rotation_and_inversion(
    backend: str, deep: ETNPotential, make_structures: MakeStructures, random_orthogonal: Callable[[int], Array]
) -> None:
    q = random_orthogonal(3)
    structures = list(make_structures(2).values())
    turned = [atoms.copy() for atoms in structures]
    for atoms in turned:
        atoms.set_cell(atoms.cell @ q.T)
        atoms.positions = atoms.positions @ q.T
    for a, b in zip(*(deep.evaluate(s, backend=backend, dtype="float64") for s in (structures, turned)), strict=True):
        assert b["energy"] == pytest.approx(a["energy"], abs=1e-9)
        np.testing.assert_allclose(b["forces"], a["forces"] @ q.T, rtol=0, atol=1e-9)


def test_covariant_outputs_turn_with_the_structure(
    backend: str, make_potential: MakePotential, random_orthogonal: Callable[[int], Array]
) -> None:
    potential = make_potential(2, layers=(PLAIN,), target="1x1o")
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.2, seed=1)
    q = random_orthogonal(4)
    turned = Atoms(atoms.numbers, atoms.positions @ q.T, cell=atoms.cell @ q.T, pbc=True)
    (before,), (after,) = (potential.covariants(x, backend=backend) for x in (atoms, turned))
    xyz = [2, 0, 1]
    np.testing.assert_allclose(after[:, xyz], before[:, xyz] @ q.T, rtol=0, atol=1e-10)
    assert np.abs(before).max() > 1e-3


def test_a_structure_gives_the_same_beside_others(
    backend: str, deep: ETNPotential, make_structures: MakeStructures
) -> None:
    structures = make_structures(2)
    together = deep.evaluate(list(structures.values()) * 2, backend=backend)
    for (name, atoms), result in zip([*structures.items()] * 2, together, strict=True):
        (alone,) = deep.evaluate(atoms, backend=backend)
        for key, value in alone.items():
            np.testing.assert_allclose(result[key], value, rtol=0, atol=1e-11, err_msg=name)


def test_results_do_not_depend_on_threads(deep: ETNPotential, batch: StructureBatch) -> None:
    one, two = (deep.evaluate_batch(batch, backend="numba", threads=n) for n in (1, 2))
    assert np.array_equal(one.energies, two.energies)
    assert one.forces is not None
    assert two.forces is not None
    assert np.array_equal(one.forces, two.forces)


def test_a_layer_reaches_one_cutoff_further(make_potential: MakePotential) -> None:
    """A chain: what is beyond the cutoffs of all layers is not felt, and what is within them is."""
    for n, layers in enumerate([(), (PLAIN,), (PLAIN, PLAIN)], 1):
        potential = make_potential(1, layers=layers)
        energies = []
        for end in (0.0, 0.4):
            chain = Atoms("Al5", positions=[[3.0 * k, 0.0, 0.0] for k in range(5)])
            chain.positions[n, 1] += end
            chain.positions[n + 1 :, 1] += 0.2
            energies.append(potential.evaluate(chain)[0]["energies"][0])
        far = Atoms("Al5", positions=[[3.0 * k, 0.0, 0.0] for k in range(5)])
        far.positions[n + 1 :, 1] += 1.0
        still = Atoms("Al5", positions=[[3.0 * k, 0.0, 0.0] for k in range(5)])
        assert abs(energies[1] - energies[0]) > 1e-7
        a, b = (potential.evaluate(x)[0]["energies"][0] for x in (far, still))
        assert a == pytest.approx(b, abs=1e-14)


def test_hessian_vector_products(backend: str, deep: ETNPotential, batch: StructureBatch) -> None:
    rng = np.random.default_rng(1)
    u = 0.5 * rng.normal(size=(batch.n_atoms, 3))
    kernel = Kernel(deep.architecture, Execution(backend))
    dx = -assembly.edge_displacements(batch, u, np.zeros((batch.n_structures, 6)))
    d_gradient = kernel.hessian_vector(deep.parameters, Environments.of(batch), dx)
    found = assembly.forces_and_virials(batch, d_gradient)[0]

    def forces(t: float) -> Array:
        moved = batch.with_vectors(batch.positions + t * u, batch.cells)
        _, gradient = kernel.energies_and_gradients(deep.parameters, Environments.of(moved))
        return assembly.forces_and_virials(moved, gradient)[0]

    expected = central(forces, 1e-4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_parameter_gradients(backend: str, deep: ETNPotential, batch: StructureBatch) -> None:
    """Of sum w E + sum u . F, in total and structure by structure, by finite differences in each parameter array."""
    rng = np.random.default_rng(2)
    weights, u = rng.normal(size=batch.n_atoms), rng.normal(size=(batch.n_atoms, 3))
    kernel, environments = Kernel(deep.architecture, Execution(backend)), Environments.of(batch)
    dx = assembly.edge_displacements(batch, u, np.zeros((batch.n_structures, 6)))
    total = kernel.parameter_gradient(deep.parameters, environments, weights, dx)
    rows = kernel.parameter_gradient(deep.parameters, environments, weights, dx, batch.atom_offsets)
    assert list(total) == list(deep.architecture.parameter_shapes)
    for name, value in deep.parameters.items():
        direction = rng.normal(size=value.shape)

        def loss(t: float, name: str = name, value: Array = value, direction: Array = direction) -> Array:
            moved = {**deep.parameters, name: value + t * direction}
            energies, gradient = kernel.energies_and_gradients(moved, environments)
            return np.array(np.sum(weights * energies) + np.sum(u * assembly.forces_and_virials(batch, gradient)[0]))

        expected = float(central(loss, 1e-3))
        assert np.sum(total[name] * direction.ravel()) == pytest.approx(expected, rel=1e-6, abs=1e-8), name
        np.testing.assert_allclose(
            rows[name].sum(axis=0), total[name], rtol=0, atol=1e-9 * (1 + np.abs(total[name]).max())
        )


def test_samples_must_hold_the_neighbours_of_their_atoms(
    backend: str, deep: ETNPotential, batch: StructureBatch
) -> None:
    kernel, environments = Kernel(deep.architecture, Execution(backend)), Environments.of(batch)
    cut = np.array([0, 1, batch.n_atoms])
    with pytest.raises(BackendError, match="samples must hold the neighbours of their atoms"):
        kernel.parameter_gradient(deep.parameters, environments, np.ones(batch.n_atoms), None, cut)
    alone, _ = environments.gather(np.arange(3))
    with pytest.raises(BackendError, match="gathers values of neighbours"):
        kernel.energies(deep.parameters, alone)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": "0x0e"}, "at least one channel in what it passes on"),
        ({"hidden": ""}, "at least one channel in what it passes on"),
        ({"lmax": -1}, "harmonics up to a degree >= 0"),
        ({"n_radial": 0}, "at least one radial function"),
        ({"attention": 17}, "may have 0 to 16 heads of attention, got 17"),
        ({"lmax": 3}, "harmonics up to l = 3 and 3 radial functions, the site vector up to 2 and 5"),
        ({"n_radial": 6}, "the site vector up to 2 and 5"),
        ({"hidden": "1x0o", "bonds": ("1x1o+1x1e",)}, "no path leads to|nothing passes"),
        ({"hidden": "2x0e", "bonds": ()}, "order d >= 2"),
    ],
)
def test_layers_that_cannot_be(make_potential: MakePotential, changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"hidden": "2x0e", "bonds": ("2x0e+1x1o",), "lmax": 2, "n_radial": 3} | changes
    with pytest.raises(NetworkError, match=message):
        make_potential(2, layers=(MessageLayer(**fields),))


def test_too_many_layers(make_potential: MakePotential) -> None:
    with pytest.raises(NetworkError, match="up to 8 layers of message passing, got 9"):
        make_potential(2, layers=(PLAIN,) * 9)


def test_an_architecture_survives_json(deep: ETNPotential, plain: ETNPotential) -> None:
    a = deep.architecture
    assert Architecture.from_dict(a.to_dict()) == a
    assert "layers" not in plain.architecture.to_dict()


def test_the_canonical_form_of_layers_is_the_same_potential(layered: ETNPotential, batch: StructureBatch) -> None:
    """Its heads are isometries: the products of the components of h are an identity."""
    a, parameters, layers = layered.architecture, dict(layered.parameters), []
    for number, layer in enumerate(a.layers, 1):
        new, changed = canonicalise_layer(layer, number, a.feature, a.degrees, a.train.target, parameters)
        parameters |= changed
        layers.append(new)
    canonical = ETNPotential(replace(a, layers=tuple(layers)), parameters)
    before, after = (p.evaluate_batch(batch, stress=False, backend="numpy") for p in (layered, canonical))
    np.testing.assert_allclose(after.energies, before.energies, rtol=0, atol=1e-9 * (1 + np.abs(before.energies).max()))
    assert after.forces is not None
    assert before.forces is not None
    np.testing.assert_allclose(after.forces, before.forces, rtol=0, atol=1e-9 * (1 + np.abs(before.forces).max()))
    unit = {(ir.l, ir.p): np.eye(mul) for mul, ir in a.feature}
    for head in canonical.architecture.heads:
        for matrix in gram(head, parameters, unit).values():
            np.testing.assert_allclose(matrix, np.eye(len(matrix)), atol=1e-12)


def test_components_that_cannot_be_orthonormal() -> None:
    layer = MessageLayer("5x0e", ("1x0e",), 1, 1)
    feature = Irreps("2x0e+1x1o")
    head = layer.head(feature, 1)
    weights = {core.name: np.ones(core.size) for core in head.cores}
    with pytest.raises(NetworkError, match="h has 5 components of degree 0, and only 2 combinations"):
        canonicalise_layer(layer, 1, feature, (0, 1), Irreps("1x0e"), weights)


@pytest.mark.parametrize("pbc", [True, (True, True, False)], ids=["crystal", "slab"])
def test_a_cell_smaller_than_the_reach_is_its_supercell(backend: str, deep: ETNPotential, pbc: Any) -> None:
    """Atoms hear of images of themselves, over and over: 9 A across cells of 3 A."""
    small = Atoms(
        "Al2", scaled_positions=[[0, 0, 0], [0.4, 0.6, 0.5]], cell=[[3.2, 0, 0], [1.4, 3.1, 0], [-1.0, 1.3, 2.9]]
    )
    small.symbols[1] = "Ni"
    small.pbc = pbc
    large = small * (3, 2, 1) if pbc is not True else small * (2, 2, 2)
    (one,), (many,) = (deep.evaluate(atoms, backend=backend, dtype="float64") for atoms in (small, large))
    copies = len(large) // len(small)
    np.testing.assert_allclose(many["energies"], np.tile(one["energies"], copies), rtol=0, atol=1e-11)
    np.testing.assert_allclose(many["forces"], np.tile(one["forces"], (copies, 1)), rtol=0, atol=1e-11)
    if pbc is True:
        np.testing.assert_allclose(many["stress"], one["stress"], rtol=0, atol=1e-11)
    assert np.abs(one["forces"]).max() > 0.01


def test_very_large_layers_have_to_be_asked_for(plain: ETNPotential) -> None:
    """Before anything is planned or compiled."""
    layer = MessageLayer("400x0e+200x1o", ("9x0e+9x1o",), 2, 5)
    reason = too_large(replace(plain.architecture, layers=(layer,) * 3))
    assert reason is not None
    assert "its architecture is very large" in reason
    assert too_large(replace(plain.architecture, layers=(PLAIN,))) is None
