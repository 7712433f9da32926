"""Factors between the units that labels come in and those of etn_gpu, and what to say where one is met."""

from __future__ import annotations

import numpy as np

from etn_gpu.structures.units import GPA, KBAR

# CODATA 2014, as in ASE's units.
HARTREE = 27.21138602
BOHR = 0.52917721067
KCAL_PER_MOL = 23.060548
KJ_PER_MOL = 96.485333

#: By how many times larger stresses in other units are than in eV/A^3.
STRESS_UNITS = {
    1.0: "eV/A^3",
    1.0 / GPA: "GPa",
    1.0 / KBAR: "kbar",
    1e3 / GPA: "MPa",
    1e4 / GPA: "bar",
    1e9 / GPA: "Pa",
    BOHR**3 / HARTREE: "Hartree/bohr^3",
    2.0 * BOHR**3 / HARTREE: "Rydberg/bohr^3",
}

#: What forces have to be multiplied by to go with the energies, how they look then, and what to do.
FORCE_FACTORS = {
    -1.0: ("like derivatives, of the opposite sign", "Expected minus the derivatives of the energy: turn their sign."),
    1.0 / BOHR: (
        "like Hartree/bohr beside energies in Hartree",
        f"Expected eV and eV/A: multiply energies by {HARTREE:.4f} and forces by {HARTREE / BOHR:.4f}.",
    ),
    HARTREE: (
        "like Hartree/A beside energies in eV",
        f"Expected eV/A: multiply forces by {HARTREE:.4f}.",
    ),
    HARTREE / BOHR: (
        "like Hartree/bohr beside energies in eV",
        f"Expected eV/A: multiply forces by {HARTREE / BOHR:.4f}.",
    ),
    1.0 / HARTREE: (
        "like eV/A beside energies in Hartree",
        f"Expected energies in eV: multiply them by {HARTREE:.4f}.",
    ),
    1.0 / KJ_PER_MOL: (
        "like kJ/mol/A beside energies in eV",
        "Expected eV/A: divide forces by 96.4853.",
    ),
    KJ_PER_MOL: (
        "like eV/A beside energies in kJ/mol",
        "Expected energies in eV: divide them by 96.4853.",
    ),
}


#: By how many times larger forces in other units are than in eV/A, with the sign of minus derivatives.
FORCE_UNITS = {
    1.0: "eV/A",
    BOHR / HARTREE: "Hartree/bohr",
    2.0 * BOHR / HARTREE: "Rydberg/bohr",
    1.0 / HARTREE: "Hartree/A",
    KCAL_PER_MOL: "kcal/mol/A",
    KJ_PER_MOL: "kJ/mol/A",
    1e3: "meV/A",
}
#: By how many times larger energies in other units are than in eV.
ENERGY_UNITS = {
    1.0: "eV",
    1.0 / HARTREE: "Hartree",
    2.0 / HARTREE: "Rydberg",
    KCAL_PER_MOL: "kcal/mol",
    KJ_PER_MOL: "kJ/mol",
}
#: By how many times larger dipole moments in other units are than in e*A.
DIPOLE_UNITS = {1.0: "e*A", 1.0 / BOHR: "e*bohr", 4.80320467: "debye"}


def nearest_unit(units: dict[float, str], ratio: float) -> float:
    """The factor of `units` nearest to a positive ratio, on a scale of logarithms."""
    return min(units, key=lambda factor: abs(float(np.log(factor / ratio))))


def conversion(factor: float) -> str:
    """How labels that are a factor, which may be negative, too large become right."""
    if factor == -1.0:
        return "turn the sign"
    return f"divide by {factor:.6g}" if abs(factor) >= 1.0 else f"multiply by {1.0 / factor:.6g}"
