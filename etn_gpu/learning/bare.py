"""A structure as its teacher shall see it: nothing that someone else said about it."""

from __future__ import annotations

from ase import Atoms

#: Of the per-structure values of an input, what a calculation needs.
NEEDED_INFO = ("charge", "spin")
#: Of the per-atom values, what goes with an element: atoms take it along when they change places.
OF_ELEMENTS = ("initial_magmoms", "initial_charges")


def bare(atoms: Atoms) -> Atoms:
    """A copy with numbers, positions, cell, pbc, initial magnetic moments and charges, and ``charge`` and ``spin``.

    Calculators, constraints, momenta and other values stay behind: labels of another level of theory among them would
    be taken for those of the teacher, and constraints would take forces away.
    """
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    out.info |= {key: atoms.info[key] for key in NEEDED_INFO if key in atoms.info}
    for name in OF_ELEMENTS:
        if atoms.has(name):
            out.set_array(name, atoms.arrays[name])
    return out
