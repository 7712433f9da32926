"""The text of a NEP potential (nep.txt of GPUMD): what the file says, number by number, and what is wrong with it.

The head has one keyword a line; then follows one number a line: for each species (nep3: once) the weights w0 [neurons,
descriptors], the biases b0 and the weights w1 [neurons] (nep5: and a bias), then the bias of all, the coefficients of
the radial and of the angular functions [n, k, species, species], the scale of each descriptor, and ten numbers for
each pair of species where the core repulsion is flexible. K. Song et al., Nat. Commun. 15, 10208 (2024); the manual of
GPUMD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.structures.elements import SYMBOLS
from etn_gpu.structures.validate import LARGEST_CUTOFF

Array = NDArray[np.float64]

#: What the first word may say beside the version, and what of it is no energy of this kind.
REFUSED = {
    "dipole": "dipole moments",
    "polarizability": "polarizabilities",
    "temperature": "free energies with the temperature as an input",
    "charge": "energies with charges of the atoms (qNEP)",
    "vdw": "energies with dispersion (van der Waals)",
    "spin": "energies of spins",
}
VERSIONS = (3, 4, 5)
#: Flags of the line l_max, in its order: degrees that are coupled.
FLAGS = ("222", "1111", "112", "123", "233", "134")
LARGEST_DEGREE = 8
LARGEST_BASIS = 16
#: Elements with a covalent radius, from H to Pu.
LIGHT = 94
#: Numbers of a pair in a flexible core repulsion: inner and outer radius, four pairs of (share, decay).
FLEXIBLE = 10


@dataclass(frozen=True, eq=False)
class CoreRepulsion:
    """The line zbl: radii in A, the factor of covalent radii, numbers of pairs [species (species + 1) / 2, 10]."""

    inner: float
    outer: float
    factor: float | None
    pairs: Array | None


@dataclass(frozen=True, eq=False)
class NepFile:
    """What a file says. Cutoffs [species] in A; energies in eV.

    ``flags`` are those of FLAGS that are set. w0 [networks, neurons, descriptors], b0 and w1 [networks, neurons], for
    each species or, with nep3, once; ``species_bias`` [species] is zero but for nep5. ``radial`` and ``angular`` are
    coefficients [n, k, species of the centre, species of the neighbour], ``scale`` [descriptors].
    """

    version: int
    species: tuple[str, ...]
    repulsion: CoreRepulsion | None
    radial_cutoffs: Array
    angular_cutoffs: Array
    degree: int
    flags: tuple[str, ...]
    w0: Array
    b0: Array
    w1: Array
    species_bias: Array
    bias: float
    radial: Array
    angular: Array
    scale: Array

    @property
    def kind(self) -> str:
        """The first word of the file."""
        return f"nep{self.version}" + ("_zbl" if self.repulsion else "")


def parse_nep(path: str | Path) -> NepFile:
    """Read and check a file; ModelFileError names the line that is wrong, what it should be, and what to do."""
    return _Parser(Path(path)).parse()


class _Parser:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        try:
            text = path.read_text(encoding="ascii")
        except OSError as error:
            raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{path}: not a NEP potential (nep.txt), which is plain text") from error
        self.lines = text.splitlines()
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()

    def parse(self) -> NepFile:
        version, with_repulsion, species = self._first()
        n = len(species)
        repulsion = self._repulsion(species) if with_repulsion else None
        radial_cutoffs, angular_cutoffs = self._cutoffs(n)
        n_radial, n_angular = (int(k) + 1 for k in self._whole("n_max", 2, 0, 1000))
        k_radial, k_angular = (int(k) + 1 for k in self._whole("basis_size", 2, 0, LARGEST_BASIS))
        degree, flags = self._degrees()
        neurons = self._neurons()
        networks = 1 if version == 3 else n
        size = n_radial + n_angular * (degree + len(flags))
        shapes: list[tuple[int, ...]] = []
        for _ in range(networks):
            shapes += [(neurons, size), (neurons,), (neurons,), (int(version == 5),)]
        shapes += [(1,), (n_radial, k_radial, n, n), (n_angular, k_angular, n, n), (size,)]
        flexible = repulsion is not None and repulsion.inner == repulsion.outer == 0
        if flexible:
            shapes.append((n * (n + 1) // 2, FLEXIBLE))
        numbers = self._numbers(sum(map(prod, shapes)))
        ends = np.cumsum([prod(shape) for shape in shapes])
        arrays = [part.reshape(shape) for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)]
        if flexible:
            assert repulsion is not None
            repulsion = CoreRepulsion(0.0, 0.0, None, self._pairs(arrays.pop(), species))
        w0, b0, w1 = (np.stack([arrays[4 * k + part] for k in range(networks)]) for part in range(3))
        biases = np.concatenate([arrays[4 * k + 3] for k in range(networks)]) if version == 5 else np.zeros(n)
        bias, radial, angular, scale = arrays[4 * networks :]
        return NepFile(
            version, species, repulsion, radial_cutoffs, angular_cutoffs, degree, flags, w0, b0, w1, biases,
            float(bias[0]), radial, angular, scale,
        )  # fmt: skip

    # The head.

    def _first(self) -> tuple[int, bool, tuple[str, ...]]:
        words = self.lines[0].split() if self.lines else []
        self.at = 1
        if not words or not words[0].startswith("nep"):
            raise ModelFileError(f"{self.path}: not a NEP potential: its first word is not nep3, nep4 or nep5")
        name, _, rest = words[0].partition("_")
        for word, what in REFUSED.items():
            if word in rest:
                self._fail(f"{words[0]} is a NEP of {what}; only energies of nep3, nep4 and nep5 are read")
        if name not in [f"nep{v}" for v in VERSIONS] or rest not in ("", "zbl"):
            self._fail(f"the kind {words[0]} is not known; nep3, nep4, nep5 are, each also with _zbl")
        species = tuple(words[2:])
        count = self._integer(words[1], "the number of species") if len(words) > 1 else 0
        if count != len(species) or not species:
            self._fail(f"{words[0]} announces {count} species, but {len(species)} symbols follow: {' '.join(species)}")
        if unknown := [s for s in species if s not in SYMBOLS]:
            self._fail(f"{', '.join(unknown)}: no symbols of elements")
        if len(set(species)) != count:
            self._fail(f"a species is named twice: {' '.join(species)}")
        return int(name[3:]), rest == "zbl", species

    def _repulsion(self, species: tuple[str, ...]) -> CoreRepulsion:
        words = self._line("zbl", (2, 3), "zbl INNER OUTER [FACTOR]")
        inner, outer, *factor = (self._number(w) for w in words)
        if inner == outer == 0:
            return CoreRepulsion(0.0, 0.0, None, None)
        if not 0 <= inner < outer <= LARGEST_CUTOFF:
            self._fail(f"the radii of zbl must obey 0 <= inner < outer, got {inner:g} and {outer:g}")
        if factor and factor[0] <= 0:
            self._fail(f"the factor of zbl must be above 0, got {factor[0]:g}")
        if factor and (heavy := [s for s in species if SYMBOLS.index(s) >= LIGHT]):
            self._fail(f"{', '.join(heavy)}: GPUMD has no covalent radius beyond Pu, which the factor of zbl needs")
        return CoreRepulsion(inner, outer, factor[0] if factor else None, None)

    def _cutoffs(self, n_species: int) -> tuple[Array, Array]:
        layout = f"cutoff RADIAL ANGULAR, once or for each of {n_species} species, then two numbers of neighbours"
        words = self._line("cutoff", (4, 2 * n_species + 2), layout)
        *radii, _, _ = (self._number(w) for w in words)
        table = np.broadcast_to(np.array(radii).reshape(-1, 2), (n_species, 2))
        for radial, angular in table:
            if not 0 < angular <= radial <= LARGEST_CUTOFF:
                self._fail(
                    f"cutoffs must obey 0 < angular <= radial <= {LARGEST_CUTOFF:g} A, got {radial:g} (radial) and "
                    f"{angular:g} (angular)"
                )
        return table[:, 0].copy(), table[:, 1].copy()

    def _degrees(self) -> tuple[int, tuple[str, ...]]:
        layout = f"l_max L and a flag for each of {' '.join(FLAGS)}, from the left, two at least"
        degree, *flags = self._whole("l_max", range(3, len(FLAGS) + 2), 0, LARGEST_DEGREE, layout)
        return degree, tuple(name for name, flag in zip(FLAGS, flags, strict=False) if flag)

    def _neurons(self) -> int:
        neurons, second = self._whole("ANN", 2, 0, 100_000, "ANN NEURONS 0")
        if second:
            self._fail(f"a second hidden layer ({second} neurons) is not known; expected ANN NEURONS 0")
        if not neurons:
            self._fail("there must be at least one neuron")
        return neurons

    # Lines.

    def _whole(self, keyword: str, counts: int | range, least: int, most: int, layout: str | None = None) -> list[int]:
        counts = range(counts, counts + 1) if isinstance(counts, int) else counts
        words = self._line(keyword, tuple(counts), layout or f"{keyword} RADIAL ANGULAR")
        numbers = [self._integer(w, keyword) for w in words]
        if bad := [k for k in numbers if not least <= k <= most]:
            self._fail(f"{keyword} takes numbers from {least} to {most}, got {bad[0]}")
        return numbers

    def _line(self, keyword: str, counts: tuple[int, ...], layout: str) -> list[str]:
        """The words after ``keyword`` on the next line."""
        self.at += 1
        words = self.lines[self.at - 1].split() if self.at <= len(self.lines) else []
        if not words:
            self._fail(f"the file ends or has an empty line where '{layout}' should be; is it truncated?")
        if words[0] != keyword:
            self._fail(f"expected '{layout}', found the keyword {words[0][:40]!r}")
        if len(words) - 1 not in counts:
            self._fail(f"expected '{layout}', found {len(words) - 1} words after {keyword}")
        return words[1:]

    def _numbers(self, count: int) -> Array:
        """All the lines that are left, one number each."""
        there = len(self.lines) - self.at
        if there != count:
            more = "is it truncated?" if there < count else "does the head belong to these numbers?"
            raise ModelFileError(
                f"{self.path}: {there} numbers after line {self.at}, but the head describes {count}; {more}"
            )
        found = np.empty(count)
        for k in range(count):
            self.at += 1
            found[k] = self._number(self.lines[self.at - 1].strip())
        return found

    def _pairs(self, pairs: Array, species: tuple[str, ...]) -> Array:
        names = [f"{a}-{b}" for k, a in enumerate(species) for b in species[k:]]
        for name, (inner, outer, *_) in zip(names, pairs, strict=True):
            if not 0 <= inner < outer <= LARGEST_CUTOFF:
                raise ModelFileError(
                    f"{self.path}: the radii of the core repulsion of {name} must obey 0 <= inner < outer, got "
                    f"{inner:g} and {outer:g}"
                )
        return pairs

    def _number(self, word: str) -> float:
        try:
            value = float(word) if "_" not in word else float("nan")
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            self._fail(f"expected a finite number, found {word[:40]!r}")
        return value

    def _integer(self, word: str, what: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,8}", word):
            self._fail(f"{what}: expected a whole number, found {word[:40]!r}")
        return int(word)

    def _fail(self, message: str) -> NoReturn:
        raise ModelFileError(f"{self.path}, line {self.at}: {message}")
