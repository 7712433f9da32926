"""Where labels come from: extended XYZ, or VASP's own logs, which also say what did not converge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etn_gpu.errors import DataError
from etn_gpu.structures.opening import UNREADABLE, InputFile

if TYPE_CHECKING:
    from etn_gpu.structures.label_keys import Source

#: The end of an ionic step in an OUTCAR; ASE's reader makes one structure of what lies between two such lines.
_STEP_END = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_ITERATION = re.compile(r"Iteration\s*\d+\(\s*(\d+)\)")
_NELM = re.compile(r"\bNELM\s*=\s*(\d+)")
_XML_ITEM = re.compile(r'<scstep\b|<calculation\b|</calculation>|name="NELM"[^>]*>\s*(\d+)|name="ALGO"[^>]*>\s*(\w+)')

#: What ASE's readers of VASP's logs call energy and free_energy.
_VASP_ENERGIES = {
    "energy": "extrapolated to zero smearing",
    "free_energy": "TOTEN, which VASP's forces belong to",
}


@dataclass(frozen=True)
class LabelOrigin:
    """What kind of file holds labels, and what it says of them.

    kind: "OUTCAR", "vasprun.xml", "xyz" or "" for all else; unconverged: the structures, counted from 0 as ASE's reader
    does, whose electronic loop did not reach EDIFF by VASP's own log. In an OUTCAR that is what the line "aborting loop
    ..." says, whatever else but reaching EDIFF ended the loop; where it is missing, as in older versions of VASP, and
    in a vasprun.xml, as many electronic steps as NELM allows.
    """

    kind: str = ""
    unconverged: frozenset[int] = frozenset()

    @classmethod
    def of(cls, path: Path) -> LabelOrigin:
        """The origin of the labels of a file; a pipe, which can be read once only, has none."""
        if not path.is_file():
            return cls()
        try:
            file = InputFile(path)
            kind = _kind(file.head.decode("utf-8", "replace"), file.name)
            if kind in ("", "xyz"):
                return cls(kind)
            with file.text() as stream:
                return cls(kind, frozenset((_of_outcar if kind == "OUTCAR" else _of_xml)(stream)))
        except (DataError, *UNREADABLE):
            return cls()  # reading the structures says what is wrong

    def shown(self, source: Source) -> str:
        """The key of a label as the file spells it, and which of VASP's energies it is."""
        if self.kind == "xyz":
            return source.key  # ASE's reader has moved it into a calculator
        if self.kind and source.store == "results" and source.key in _VASP_ENERGIES:
            return f"{source.name} ({_VASP_ENERGIES[source.key]})"
        return source.name


def _kind(head: str, name: str) -> str:
    text = head.lstrip("\ufeff \t\r\n")
    first = text.split("\n", 1)[0].strip()
    if first.isdecimal():
        return "xyz"
    if text.startswith("<?xml") and "<modeling" in text:
        return "vasprun.xml"
    return "OUTCAR" if first.startswith("vasp.") or "OUTCAR" in name.upper() or "POTCAR:" in text else ""


def _of_outcar(lines: Iterable[str]) -> list[int]:
    unconverged, step, most, iterations = [], 0, None, 0
    reached: bool | None = None
    for line in lines:
        if "Iteration" in line and (match := _ITERATION.search(line)):
            iterations = int(match[1])
        elif "aborting loop" in line:
            reached = "EDIFF is reached" in line
        elif "NELM" in line and (match := _NELM.search(line)):
            most = int(match[1])
        elif _STEP_END in line:
            if reached is None:
                reached = most is None or iterations < most
            if not reached:
                unconverged.append(step)
            step, iterations, reached = step + 1, 0, None
    return unconverged


def _of_xml(lines: Iterable[str]) -> list[int]:
    unconverged, step, most, iterations, algorithm = [], 0, None, 0, ""
    for line in lines:
        for match in _XML_ITEM.finditer(line):
            text = match[0]
            if text == "<scstep":
                iterations += 1
            elif text == "<calculation":
                iterations = 0
            elif text == "</calculation>":
                # One exact diagonalisation is no loop that could converge.
                single = most == 1 and algorithm.lower() in ("exact", "diag")
                if most is not None and iterations >= most and not single:
                    unconverged.append(step)
                step += 1
            elif match[1]:
                most = int(match[1])
            else:
                algorithm = match[2]
    return unconverged
