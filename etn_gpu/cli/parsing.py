"""Text on the command line that stands for a duration, a set of weights or energies of elements."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from etn_gpu.cli.console import WrongUseError

__all__ = ["parse_group_weights", "parse_reference_energies", "parse_time_limit", "parse_weights"]

_DURATION = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_WEIGHTED = ("energy", "forces", "stress")


def parse_time_limit(text: str, option: str = "--time-limit") -> float:
    """Seconds of a duration such as `45s`, `30m`, `1.5h` or `1h30m`, given by an option.

    Raises:
        WrongUseError: the text is no duration above zero.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = 0.0 if match is None else sum(float(n) * _SECONDS[unit] for unit, n in match.groupdict().items() if n)
    if not seconds > 0.0:
        raise WrongUseError(f"{option} {text!r} is no duration above zero; write 45s, 30m, 2h or 1h30m")
    return seconds


def parse_weights(text: str) -> dict[str, float]:
    """Weights of the terms of the loss from `energy=1,forces=0.1,stress=0.01`; what is left out is absent from the
    result.

    Raises:
        WrongUseError: an unknown or repeated term, or a weight that is no finite number >= 0.
    """
    weights: dict[str, float] = {}
    for item in text.split(","):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name not in _WEIGHTED:
            raise WrongUseError(
                f"--weights {text!r}: {item.strip()!r} is not understood; write any of {', '.join(_WEIGHTED)}, "
                "for example energy=1,forces=0.1,stress=0.01"
            )
        if name in weights:
            raise WrongUseError(f"--weights {text!r}: {name} is given twice")
        weights[name] = _weight("--weights", text, name, value)
    return weights


def parse_group_weights(texts: Sequence[str]) -> dict[str, float]:
    """Factors of groups from texts such as `liquid=0.5`; a name may hold '='.

    Raises:
        WrongUseError: a text that is no name with a factor, a factor that is no finite number >= 0, a name given twice.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (equals and name):
            raise WrongUseError(f"--group-weight {text!r} is not understood; write NAME=FACTOR, for example liquid=0.5")
        if name in weights:
            raise WrongUseError(f"--group-weight {text!r}: {name} is given twice")
        weights[name] = _weight("--group-weight", text, name, value)
    return weights


def parse_reference_energies(text: str) -> str | dict[str, float]:
    """The words `fit` and `isolated` as they are, or energies in eV by element from `Mo=-4.6,W=-4.5` or a JSON file.

    Raises:
        WrongUseError: another word, an element given twice, no number, or a file that is no JSON object of numbers.
    """
    if text in ("fit", "isolated"):
        return text
    if text.lower().endswith(".json"):
        return _energies_in(Path(text))
    energies: dict[str, float] = {}
    for item in text.split(","):
        symbol, equals, value = (part.strip() for part in item.partition("="))
        if not (equals and symbol):
            raise WrongUseError(
                f"--reference-energies {text!r}: {item.strip()!r} is not understood; write fit, isolated, energies in "
                "eV such as Mo=-4.6,W=-4.5, or the name of a .json file"
            )
        if symbol in energies:
            raise WrongUseError(f"--reference-energies {text!r}: {symbol} is given twice")
        try:
            energies[symbol] = float(value)
        except ValueError:
            raise WrongUseError(
                f"--reference-energies {text!r}: the energy of {symbol} is {value!r}, expected a number (eV)"
            ) from None
    return energies


def _energies_in(path: Path) -> dict[str, float]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WrongUseError(f"cannot read the reference energies {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise WrongUseError(f"the reference energies {path} are no JSON ({str(error)[:100]})") from None
    expected = 'expected an object of numbers in eV by symbol, such as {"Mo": -4.6, "W": -4.5}'
    if not isinstance(content, dict) or not content:
        raise WrongUseError(f"the reference energies {path} hold {str(content)[:60]!r}; {expected}")
    if bad := {symbol: value for symbol, value in content.items() if type(value) not in (int, float)}:
        symbol, value = next(iter(bad.items()))
        raise WrongUseError(f"the reference energies {path} have {str(value)[:60]!r} for {symbol[:20]}; {expected}")
    try:
        return {symbol: float(value) for symbol, value in content.items()}
    except OverflowError:
        raise WrongUseError(f"the reference energies {path} have a number beyond all energies; {expected}") from None


def _weight(option: str, text: str, name: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0.0):
        raise WrongUseError(f"{option} {text!r}: the weight of {name} is {value!r}; a finite number >= 0 is expected")
    return weight
