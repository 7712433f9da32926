"""Labels as the programs of this field write them: whatever key and unit, read right, with errors of zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ase import units

from .conftest import Evaluate, Labelled
from .xyz_text import Entries, matrix, write_dialect

HARTREE, BOHR = units.Hartree, units.Bohr
KCAL, GPA = units.kcal / units.mol, units.GPa


@dataclass
class Dialect:
    """How a program writes labels: entries of the header, columns, the unit of lengths, options for `evaluate`."""

    entries: Entries
    columns: Entries | None = None
    length: float = 1.0
    options: list[str] = field(default_factory=list)
    measured: tuple[str, ...] = ("energy", "forces", "stress")


DIALECTS = {
    "GPUMD": Dialect(lambda x: {"energy": x.energy, "virial": x.virial}, lambda x: {"force": x.forces}),
    "converters of GPUMD": Dialect(
        lambda x: {"Energy": x.energy, "Virial": x.virial, "Weight": 1.0}, lambda x: {"forces": x.forces}
    ),
    "MACE": Dialect(lambda x: {"REF_energy": x.energy, "REF_virials": x.virial}, lambda x: {"REF_forces": x.forces}),
    "MACE with a stress": Dialect(
        lambda x: {"REF_energy": x.energy, "REF_stress": matrix(x)}, lambda x: {"REF_forces": x.forces}
    ),
    "GAP": Dialect(lambda x: {"dft_energy": x.energy, "dft_virial": x.virial}, lambda x: {"dft_force": x.forces}),
    "capitals": Dialect(lambda x: {"ENERGY": x.energy, "STRESS": matrix(x)}, lambda x: {"FORCES": x.forces}),
    "mixed": Dialect(lambda x: {"Ref_Energy": x.energy, "Dft-Virials": x.virial}, lambda x: {"ref_force": x.forces}),
    "Voigt": Dialect(lambda x: {"energy": x.energy, "Stress": x.stress}, lambda x: {"Forces": x.forces}),
    "virial of six": Dialect(
        lambda x: {"energy": x.energy, "virial": -x.stress * x.atoms.get_volume()}, lambda x: {"forces": x.forces}
    ),
    "free energy alone": Dialect(
        lambda x: {"free_energy": x.energy}, lambda x: {"forces": x.forces}, measured=("energy", "forces")
    ),
    "capital free energy alone": Dialect(lambda x: {"Free-Energy": x.energy}, measured=("energy",)),
    "hartree, GPa": Dialect(
        lambda x: {
            "energy": x.energy / HARTREE,
            "energy-unit": "hartree",
            "stress": matrix(x) / GPA,
            "stress-unit": "GPa",
            "forces_unit": "Hartree/Bohr",
        },
        lambda x: {"forces": x.forces / (HARTREE / BOHR)},
    ),
    "kcal/mol": Dialect(
        lambda x: {
            "REF_energy": x.energy / KCAL,
            "energy_units": "kcal/mol",
            "virial": x.virial / KCAL,
            "unit_virial": "kcal mol^-1",
            "force_units": "kcal/mol/A",
        },
        lambda x: {"force": x.forces / KCAL},
    ),
    "meV, kbar": Dialect(
        lambda x: {
            "energy": 1e3 * x.energy,
            "energyUnit": "meV",
            "stress": matrix(x) / (0.1 * GPA),
            "stress_unit": "kbar",
            "forces-unit": "meV/Angstrom",
        },
        lambda x: {"forces": 1e3 * x.forces},
    ),
    "energies per atom": Dialect(
        lambda x: {"energy": x.energy / len(x.atoms), "energy_unit": "eV/atom"}, measured=("energy",)
    ),
    "units of the file's prefix": Dialect(
        lambda x: {"dft_energy": x.energy / units.Rydberg, "dft_energy_unit": "Ry", "config_type": "a"},
        measured=("energy",),
    ),
    "atomic units": Dialect(
        lambda x: {"energy": x.energy / HARTREE, "units": "atomic", "virial": x.virial / HARTREE},
        lambda x: {"forces": x.forces / (HARTREE / BOHR)},
        length=BOHR,
    ),
    "lengths in bohr": Dialect(
        lambda x: {"energy": x.energy, "length_unit": "bohr", "stress": matrix(x)},
        lambda x: {"forces": x.forces},
        length=BOHR,
    ),
    "usual units": Dialect(
        lambda x: {"energy": x.energy, "stress": matrix(x), "units": "eV, Angstrom", "stress_unit": "eV/Å^3"},
        lambda x: {"forces": x.forces},
    ),
    "keys of one's own": Dialect(
        lambda x: {"Etot": x.energy, "W": x.virial},
        lambda x: {"gradient": -x.forces, "F": x.forces},
        options=["--energy-key", "etot", "--forces-key", "F", "--virial-key", "W"],
    ),
    "stress of one's own": Dialect(
        lambda x: {"energy": x.energy, "sigma": matrix(x), "virial": 2 * x.virial},
        lambda x: {"forces": x.forces},
        options=["--stress-key", "sigma"],
    ),
    "the other energy": Dialect(
        lambda x: {"energy": x.energy + 1.0, "free_energy": x.energy},
        options=["--energy-key", "free_energy"],
        measured=("energy",),
    ),
    "a unit of one's own key": Dialect(
        lambda x: {"E_total": x.energy / HARTREE, "E_total_unit": "Ha"},
        options=["--energy-key", "E_total"],
        measured=("energy",),
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_read_right(name: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    dialect = DIALECTS[name]
    path = write_dialect(tmp_path / "a.xyz", alloys, dialect.entries, dialect.columns, dialect.length)
    result = evaluate(path, *dialect.options)
    assert result.code == 0, result.err
    for quantity in ("energy", "forces", "stress"):
        expected = pytest.approx(0.0, abs=1e-7) if quantity in dialect.measured else None
        assert result.error(quantity) == expected
        assert result.numbers[quantity]["count"] == (
            0 if expected is None else {"energy": 3, "forces": 144, "stress": 18}[quantity]
        )
    assert "not used" not in result.out


@pytest.mark.parametrize("key", ["config_type", "Config_type", "CONFIG_TYPE", "config-type"])
def test_groups_in_any_case(key: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy, key: "md/300K"})
    assert list(evaluate(path).numbers["groups"]) == ["md/300K"]


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "", "null"])
def test_words_for_what_is_missing(word: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    first = alloys[0]

    def entries(item: Labelled) -> dict[str, object]:
        missing = item is first
        return {"energy": word if missing else item.energy, "stress": word if missing else matrix(item)}

    path = write_dialect(tmp_path / "a.xyz", alloys, entries, lambda x: {"forces": x.forces})
    result = evaluate(path)
    assert result.code == 0, result.err
    assert [result.numbers[name]["count"] for name in ("energy", "forces", "stress")] == [2, 144, 12]
    assert result.error("energy") == pytest.approx(0.0, abs=1e-7)
    assert result.error("stress") == pytest.approx(0.0, abs=1e-7)
    assert "energy NaN or empty in 1 structure" in result.out


def test_a_force_that_is_nan_leaves_the_forces_out(alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path) -> None:
    def forces(item: Labelled) -> dict[str, object]:
        values = item.forces.copy()
        if item is alloys[0]:
            values[3, 1] = float("nan")
        if item is alloys[1]:
            values[:] = float("nan")
        return {"force": values}

    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy}, forces)
    result = evaluate(path)
    assert result.numbers["forces"]["count"] == 48
    assert result.error("forces") == pytest.approx(0.0, abs=1e-7)
    assert "forces NaN or empty in 2 structures, in 1 of them for some atoms only" in result.out


@pytest.mark.parametrize("key", ["virial", "Virial", "REF_virials"])
@pytest.mark.parametrize("comma", [", ", " "])
def test_matrices_in_nested_brackets(
    key: str, comma: str, alloys: list[Labelled], evaluate: Evaluate, tmp_path: Path
) -> None:
    path = write_dialect(tmp_path / "a.xyz", alloys, lambda x: {"energy": x.energy, key: x.virial})
    lines = path.read_text().splitlines(keepends=True)
    for k, item in enumerate(alloys):
        rows = comma.join(f"[{comma.join(repr(float(x)) for x in row)}]" for row in item.virial)
        head, tail = lines[18 * k + 1].split(f' {key}="')
        lines[18 * k + 1] = f"{head} {key}=[{rows}]{tail.split(chr(34), 1)[1]}"
    path.write_text("".join(lines))
    result = evaluate(path)
    assert result.code == 0, result.err
    assert result.error("stress") == pytest.approx(0.0, abs=1e-7)
