"""Text on the command line that stands for a duration or a set of weights."""

from __future__ import annotations

import math
import re

from etn_gpu.cli.console import WrongUseError

__all__ = ["parse_time_limit", "parse_weights"]

_DURATION = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_WEIGHTED = ("energy", "forces", "stress")


def parse_time_limit(text: str) -> float:
    """Seconds of a duration such as `45s`, `30m`, `1.5h` or `1h30m`.

    Raises:
        WrongUseError: the text is no duration above zero.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = 0.0 if match is None else sum(float(n) * _SECONDS[unit] for unit, n in match.groupdict().items() if n)
    if not seconds > 0.0:
        raise WrongUseError(f"--time-limit {text!r} is no duration above zero; write 45s, 30m, 2h or 1h30m")
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
        weights[name] = _weight(text, name, value)
    return weights


def _weight(text: str, name: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0.0):
        raise WrongUseError(f"--weights {text!r}: the weight of {name} is {value!r}; a finite number >= 0 is expected")
    return weight
