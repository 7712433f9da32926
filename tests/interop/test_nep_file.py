"""What a NEP file says, number by number, and what is refused, by name and line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.nep import read_nep
from etn_gpu.interop.nep_file import parse_nep
from tests.interop.nep_cases import CASES, potential_text

TEXT = potential_text("covalent radii")


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "nep.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_where_the_file_has_it(name: str, tmp_path: Path) -> None:
    text = potential_text(name)
    file, case = parse_nep(written(tmp_path, text)), CASES[name]
    assert (file.kind, file.species, file.degree) == (case.kind, case.species, case.l_max[0])
    assert file.radial.shape == (case.n_max[0] + 1, case.basis[0] + 1, len(case.species), len(case.species))
    flat: list[float] = []
    for k in range(len(file.w0)):
        flat += [*file.w0[k].ravel(), *file.b0[k], *file.w1[k]]
        flat += [float(file.species_bias[k])] if file.version == 5 else []
    flat += [file.bias, *file.radial.ravel(), *file.angular.ravel(), *file.scale]
    if file.repulsion is not None and file.repulsion.pairs is not None:
        flat += [*file.repulsion.pairs.ravel()]
    numbers = [float(line) for line in text.splitlines() if len(line.split()) == 1]
    np.testing.assert_array_equal(flat, numbers)


def test_flags_set_to_any_number_count(tmp_path: Path) -> None:
    assert parse_nep(written(tmp_path, potential_text("all couplings"))).flags == (
        "222", "1111", "112", "123", "233", "134",
    )  # fmt: skip
    assert parse_nep(written(tmp_path, potential_text("some couplings"))).flags == ("112", "233")


def replaced(line: int, new: str) -> str:
    lines = TEXT.splitlines()
    lines[line - 1] = new
    return "\n".join(lines)


BAD: dict[str, tuple[str | bytes, str]] = {
    "dipoles": (replaced(1, "nep4_dipole 2 Al Ni"), "line 1: nep4_dipole is a NEP of dipole moments"),
    "polarizabilities": (replaced(1, "nep3_polarizability 2 Al Ni"), "line 1: .* of polarizabilities"),
    "temperatures": (replaced(1, "nep4_zbl_temperature 2 Al Ni"), "line 1: .* the temperature as an input"),
    "charges": (replaced(1, "nep4_zbl_charge2 2 Al Ni"), "line 1: .* charges of the atoms"),
    "dispersion": (replaced(1, "nep4_vdw 2 Al Ni"), "line 1: .* dispersion"),
    "spins": (replaced(1, "nep4_spin 2 Al Ni"), "line 1: .* spins"),
    "old version": (replaced(1, "nep2 2 Al Ni"), "line 1: the kind nep2 is not known; nep3, nep4, nep5 are"),
    "unknown kind": (replaced(1, "nep4_abc 2 Al Ni"), "line 1: the kind nep4_abc is not known"),
    "foreign": ("MTP\nversion = 1.1.0\n", "not a NEP potential: its first word is not nep3"),
    "empty": ("", "not a NEP potential"),
    "binary": (b"PK\x03\x04\xff\xfe", "not a NEP potential .*plain text"),
    "too few species": (replaced(1, "nep4_zbl 3 Al Ni"), "line 1: nep4_zbl announces 3 species, but 2 symbols follow"),
    "too many species": (replaced(1, "nep4_zbl 1 Al Ni"), "line 1: nep4_zbl announces 1 species, but 2"),
    "no species": (replaced(1, "nep4_zbl"), "line 1: nep4_zbl announces 0 species"),
    "no number of species": (replaced(1, "nep4_zbl Al Ni"), "line 1: the number of species: expected a whole number"),
    "no element": (replaced(1, "nep4_zbl 2 Al Qq"), "line 1: Qq: no symbols"),
    "species twice": (replaced(1, "nep4_zbl 2 Al Al"), "line 1: a species is named twice: Al Al"),
    "unknown keyword": (replaced(3, "cutof 4.5 4 90 60"), "line 3: expected 'cutoff .*', found the keyword 'cutof'"),
    "zbl missing": (TEXT.replace("zbl 0.6 2.4 0.75\n", ""), "line 2: expected 'zbl INNER OUTER"),
    "zbl without its word": (replaced(1, "nep4 2 Al Ni"), "line 2: expected 'cutoff .*', found the keyword 'zbl'"),
    "zbl upside down": (replaced(2, "zbl 2 1"), "line 2: the radii of zbl must obey 0 <= inner < outer, got 2 and 1"),
    "zbl factor": (replaced(2, "zbl 1 2 -1"), "line 2: the factor of zbl must be above 0, got -1"),
    "zbl of heavy elements": (replaced(1, "nep4_zbl 2 Al Cm"), "Cm: .* no covalent radius"),
    "cutoff of factors": (replaced(3, "cutoff 6 5 90 60 2.5 2 0.7"), "line 3: expected .*, found 7 words after cutoff"),
    "cutoffs upside down": (replaced(3, "cutoff 4 4.5 90 60"), "line 3: .* got 4 .radial. and 4.5 .angular."),
    "cutoff infinite": (replaced(3, "cutoff inf 4 90 60"), "line 3: expected a finite number, found 'inf'"),
    "cutoff huge": (replaced(3, "cutoff 400 4 90 60"), "line 3: cutoffs must obey 0 < angular <= radial <= 100"),
    "n_max negative": (replaced(4, "n_max -1 2"), "line 4: n_max takes numbers from 0 to 1000, got -1"),
    "n_max a fraction": (replaced(4, "n_max 2.5 2"), "line 4: n_max: expected a whole number, found '2.5'"),
    "basis too large": (replaced(5, "basis_size 4 17"), "line 5: basis_size takes numbers from 0 to 16, got 17"),
    "degree too large": (replaced(6, "l_max 9 0 0"), "line 6: l_max takes numbers from 0 to 8, got 9"),
    "flags missing": (replaced(6, "l_max 2"), "line 6: expected 'l_max L and a flag .*', found 1 words"),
    "unknown flags": (replaced(6, "l_max 2 0 0 0 0 0 0 1"), "line 6: expected .*, found 8 words after l_max"),
    "two layers": (replaced(7, "ANN 10 10"), r"line 7: a second hidden layer \(10 neurons\)"),
    "no neurons": (replaced(7, "ANN 0 0"), "line 7: there must be at least one neuron"),
    "other head": (replaced(7, "ANN 5 0"), "numbers after line 7, but the head describes .* is it truncated"),
    "truncated": ("\n".join(TEXT.splitlines()[:-3]), "numbers after line 7, but the head .* is it truncated"),
    "truncated head": ("\n".join(TEXT.splitlines()[:5]), "line 6: the file ends .*'l_max L"),
    "too long": (TEXT + "1.0\n", "numbers after line 7, .* does the head belong to these numbers"),
    "not a number": (replaced(9, "abc"), "line 9: expected a finite number, found 'abc'"),
    "two numbers": (replaced(9, "1.0 2.0"), "line 9: expected a finite number, found '1.0 2.0'"),
    "nan": (replaced(9, "nan"), "line 9: expected a finite number, found 'nan'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(name: str, tmp_path: Path) -> None:
    text, message = BAD[name]
    with pytest.raises(ModelFileError, match=f"nep.txt.*{message}"):
        read_nep(written(tmp_path, text))


def test_bad_radii_of_a_pair(tmp_path: Path) -> None:
    lines = potential_text("flexible repulsion").splitlines()
    lines[-20] = "9.0"
    with pytest.raises(ModelFileError, match="core repulsion of Ti-V must obey 0 <= inner < outer, got 9 and"):
        read_nep(written(tmp_path, "\n".join(lines)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nep\.txt: cannot be read: No such file"):
        read_nep(tmp_path / "nep.txt")


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=3))
def test_damaged_files_raise_nothing_else(tmp_path_factory: pytest.TempPathFactory, at: int, bytes_: bytes) -> None:
    text = TEXT.encode()
    path = written(tmp_path_factory.mktemp("damaged"), text[:at] + bytes_ + text[at + len(bytes_) :])
    with contextlib.suppress(ModelFileError):
        parse_nep(path)
