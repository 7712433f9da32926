"""Whether energies, forces and stresses of a set go together: signs and units, from a rough fit to a sample of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.structures.rough_fit import Fitted, RoughFit
from etn_gpu.structures.unit_factors import FORCE_FACTORS, HARTREE, STRESS_UNITS, conversion, nearest_unit

if TYPE_CHECKING:
    from etn_gpu.structures.labels import LabelledSet

# Thresholds, and what right labels give (published sets of Mo, Si and alloys, whole, in random parts from 5 structures
# and in their calm parts; EMT, Lennard-Jones and Tersoff crystals, liquids, surfaces and clusters; molecules):
# a fit explains 0.2 to 1.0 of both blocks; where it is more than 0.7, the correlation of stresses is 0.26 and more, of
# most of them above 0.8, and the ratio 0.4 to 2.9.
_EXPLAINED = 0.7
# Of few structures more is asked.
_STRESSES, _MANY = 5, 30
_TURNED, _TURNED_FEW = -0.4, -0.55
_UNIT_CORRELATION, _UNIT_CORRELATION_FEW = 0.3, 0.5
# Within this factor, a virial divided by the volume is what it should be.
_VIRIAL = 2.5
# Forces of another sign or unit: what the fit leaves unexplained falls to less than the given share of itself, and by
# the given difference. Right labels give a share of at least 0.6; the three sets with forces turned 0.05 to 0.13.
_SHARE, _DIFFERENCE, _LEFT = 0.4, 0.08, 0.3


def consistency_warnings(labels: LabelledSet, without: Collection[int] = ()) -> tuple[list[str], bool]:
    """Warnings of signs and units, and whether one is of the unit of the stress; without the structures named."""
    with np.errstate(all="ignore"):
        fit = RoughFit.of(labels, without)
        if fit is None:
            return [], False
        fitted = fit.fit()
        if not np.isfinite(fitted.unexplained):
            return [], False
        found, fitted = _forces(fit, fitted)
        stress, of_unit = _stress(fit, fitted, energies_certain=not found)
    return found + stress, of_unit


def _forces(fit: RoughFit, given: Fitted) -> tuple[list[str], Fitted]:
    """What is wrong with the forces, and the fit to what they should be."""
    if not (fit.force_labels.any() and fit.energy_labels.any()) or given.unexplained < _DIFFERENCE:
        return [], given
    tried = {factor: fit.fit(factor) for factor in FORCE_FACTORS}
    factor, best = min(tried.items(), key=lambda item: item[1].unexplained)
    less = given.unexplained - best.unexplained
    if best.unexplained > min(_SHARE * given.unexplained, _LEFT) or less < _DIFFERENCE:
        return [], given
    name, remedy = FORCE_FACTORS[factor]
    return [
        f"forces do not go with energies and look {name}: a rough fit to both in {fit.n_structures} structures leaves "
        f"{given.unexplained:.2f} of their squares unexplained as they are, {best.unexplained:.2f} with forces times "
        f"{factor:.4g}. {remedy}"
    ], best


def _stress(fit: RoughFit, fitted: Fitted, energies_certain: bool) -> tuple[list[str], bool]:
    if fit.n_stresses < _STRESSES or 1.0 - fitted.unexplained_together < _EXPLAINED:
        return [], False
    correlation, ratio = fitted.against(fit.stress_labels)
    times = f"times what a rough fit to energies and forces predicts in {fit.n_stresses} structures (correlation"
    unit = nearest_unit(STRESS_UNITS, ratio)
    many = fit.n_stresses >= _MANY
    turned_at, enough = (_TURNED, _UNIT_CORRELATION) if many else (_TURNED_FEW, _UNIT_CORRELATION_FEW)
    turned = correlation <= turned_at
    if energies_certain and unit != 1.0 and abs(correlation) >= enough:
        virial_correlation, virial_ratio = fitted.against(fit.virial_labels)
        if virial_correlation <= turned_at and abs(np.log(virial_ratio)) < min(
            np.log(_VIRIAL), abs(np.log(ratio / unit))
        ):
            return [
                f"the stress looks like a virial in eV: divided by the volume, it is {-virial_ratio:.3g} {times} "
                f"{virial_correlation:.2f}). Expected the stress in eV/A^3, tension positive: minus the virial divided "
                "by the volume."
            ], True
        name, turned = STRESS_UNITS[unit], correlation < 0
        if abs(np.log(ratio / HARTREE)) < abs(np.log(ratio / unit)):
            name = f"eV/A^3 beside energies and forces in Hartree, or like {name}"
        how = conversion(-unit if turned else unit)
        return [
            f"the stress looks like {name}{', with the sign of a pressure' if turned else ''}: it is "
            f"{-ratio if turned else ratio:.3g} {times} {correlation:.2f}). Expected eV/A^3 with tension positive: "
            f"{how} if it is in {STRESS_UNITS[unit]}."
        ], True
    if turned:
        return [
            f"the sign of the stress looks like that of a pressure: it is {-ratio:.2g} {times} {correlation:.2f}). "
            "Expected tension positive: turn its sign, or that of the forces if they are derivatives of the energy."
        ], False
    return [], False
