"""Cohesive energies of the elements: what separates an atom in its crystal from one that is alone.

C. Kittel, Introduction to Solid State Physics, 8th edition (Wiley, 2005), chapter 3, table 1: energies in eV per atom
that it takes to take the crystal at 0 K and 1 atm apart into neutral atoms in their ground state. Hydrogen: half of the
dissociation energy of its molecule.
"""

from __future__ import annotations

#: For elements that the table does not have, such as promethium.
USUAL = 3.0

_ENERGIES = {
    "H": 2.24, "Li": 1.63, "Be": 3.32, "B": 5.81, "C": 7.37, "N": 4.92, "O": 2.6, "F": 0.84, "Ne": 0.02, "Na": 1.113,
    "Mg": 1.51, "Al": 3.39, "Si": 4.63, "P": 3.43, "S": 2.85, "Cl": 1.4, "Ar": 0.08, "K": 0.934, "Ca": 1.84,
    "Sc": 3.9, "Ti": 4.85, "V": 5.31, "Cr": 4.1, "Mn": 2.92, "Fe": 4.28, "Co": 4.39, "Ni": 4.44, "Cu": 3.49,
    "Zn": 1.35, "Ga": 2.81, "Ge": 3.85, "As": 2.96, "Se": 2.46, "Br": 1.22, "Kr": 0.116, "Rb": 0.852, "Sr": 1.72,
    "Y": 4.37, "Zr": 6.25, "Nb": 7.57, "Mo": 6.82, "Tc": 6.85, "Ru": 6.74, "Rh": 5.75, "Pd": 3.89, "Ag": 2.95,
    "Cd": 1.16, "In": 2.52, "Sn": 3.14, "Sb": 2.75, "Te": 2.23, "I": 1.11, "Xe": 0.16, "Cs": 0.804, "Ba": 1.9,
    "La": 4.47, "Ce": 4.32, "Pr": 3.7, "Nd": 3.4, "Sm": 2.14, "Eu": 1.86, "Gd": 4.14, "Tb": 4.05, "Dy": 3.04,
    "Ho": 3.14, "Er": 3.29, "Tm": 2.42, "Yb": 1.6, "Lu": 4.43, "Hf": 6.44, "Ta": 8.1, "W": 8.9, "Re": 8.03,
    "Os": 8.17, "Ir": 6.94, "Pt": 5.84, "Au": 3.81, "Hg": 0.67, "Tl": 1.88, "Pb": 2.03, "Bi": 2.18, "Po": 1.5,
    "Rn": 0.202, "Ra": 1.66, "Ac": 4.25, "Th": 6.2, "U": 5.55, "Np": 4.73, "Pu": 3.6, "Am": 2.73,
}  # fmt: skip


def cohesive_energy(symbol: str) -> float:
    """Cohesive energy of an element in eV per atom; ``USUAL`` where the table does not have it."""
    return _ENERGIES.get(symbol, USUAL)
