"""Slabs, wires and clusters: the cell changes along periodic directions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

import etn_gpu
from etn_gpu.calculator import ETNCalculator
from etn_gpu.potential import ETNPotential
from etn_gpu.structures import StructureBatch

Alloys = Callable[..., list[Atoms]]


class SlabCalculator(ETNCalculator):
    """The virial over the volume of the whole cell, vacuum included, as ASE's filters want it of slabs."""

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        if name != "stress" or atoms is None:
            return super().get_property(name, atoms, allow_calculation)
        self.calculate(atoms, ["forces"], all_changes)
        batch = StructureBatch.build([atoms], self.model.species, self.model.cutoff)
        virial = self.model.evaluate_batch(batch).virial
        assert virial is not None
        return virial[0] / atoms.get_volume()


@pytest.fixture
def slab(alloys: Alloys) -> Atoms:
    (atoms,) = alloys(1, ((1, 1, 1),), strain=0.0)
    atoms *= (1, 1, 2)
    atoms.center(vacuum=6.0, axis=2)
    atoms.pbc = True, True, False
    return atoms


def test_a_slab_step_by_step_as_in_ase(model: ETNPotential, slab: Atoms) -> None:
    theirs = slab.copy()
    theirs.calc = SlabCalculator(model, threads=1, grade=0)
    FIRE(FrechetCellFilter(theirs, mask=[1, 1, 0, 0, 0, 1]), logfile=None).run(fmax=0.01, steps=8)
    (ours,) = etn_gpu.relax(model, slab, cell="full", optimizer="fire", steps=8)
    np.testing.assert_allclose(ours.atoms.positions, theirs.positions, atol=1e-9)
    np.testing.assert_allclose(ours.atoms.cell.array, theirs.cell.array, atol=1e-9)
    assert np.array_equal(ours.atoms.cell.array[2], slab.cell.array[2])
    assert ours.stress is None


@pytest.mark.parametrize("vacuum", [True, False])
def test_any_orientation_and_cells_without_a_third_vector(model: ETNPotential, slab: Atoms, vacuum: bool) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3))).Q
    turned = slab.copy()
    turned.set_cell(slab.cell.array @ rotation, scale_atoms=True)
    if not vacuum:
        turned.cell[2] = 0.0
    straight, other = etn_gpu.relax(model, [slab, turned], cell="full", fmax=1e-3)
    assert other.status == "converged"
    assert other.energy == pytest.approx(straight.energy, abs=1e-6)
    np.testing.assert_allclose(other.atoms.cell.lengths()[:2], straight.atoms.cell.lengths()[:2], atol=1e-3)


def test_a_wire_shrinks_along_its_axis(model: ETNPotential, slab: Atoms) -> None:
    slab.pbc = False, False, True
    slab.positions[:, :2] += 5.0
    slab.cell[0, 0] = slab.cell[1, 1] = 12.0
    slab.cell[2, 2] = 6.44
    (wire,) = etn_gpu.relax(model, slab, cell="full", fmax=1e-3)
    assert wire.status == "converged"
    assert np.array_equal(wire.atoms.cell.array[:2], slab.cell.array[:2])
    assert not np.isclose(wire.atoms.cell.array[2, 2], 6.44, atol=1e-3)
    for scale in (0.999, 1.001):
        strained = wire.atoms.copy()
        strained.set_cell(wire.atoms.cell.array * [[1.0], [1.0], [scale]], scale_atoms=True)
        assert model.evaluate(strained)[0]["energy"] > wire.energy


def test_the_plane_of_a_slab_keeps_its_shape(model: ETNPotential, slab: Atoms) -> None:
    (ours,) = etn_gpu.relax(model, slab, cell="volume", fmax=1e-3)
    lengths = ours.atoms.cell.lengths()
    assert lengths[0] / lengths[1] == pytest.approx(1.0, abs=1e-12)
    assert lengths[0] != pytest.approx(slab.cell.lengths()[0], abs=1e-3)
    assert lengths[2] == slab.cell.lengths()[2]


@pytest.mark.parametrize("cell", ["none", "full", "volume"])
def test_clusters_relax_their_atoms(model: ETNPotential, slab: Atoms, cell: Any) -> None:
    cluster = Atoms(slab.symbols, slab.positions)
    (ours,) = etn_gpu.relax(model, cluster, cell=cell)
    assert ours.status == "converged"
    assert ours.steps > 0
    assert ours.residual_cell == 0.0
    assert not ours.atoms.cell.array.any()
    assert ours.forces is not None
    assert np.linalg.norm(ours.forces, axis=1).max() < 0.01


def test_a_single_atom_has_converged(backend: str, model: ETNPotential) -> None:
    (ours,) = etn_gpu.relax(model, Atoms("W"), cell="full", backend=backend)
    assert (ours.status, ours.steps) == ("converged", 0)
