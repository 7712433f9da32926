"""Legs of a tensor: checked irreps, and errors that name both legs and both sectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from etn_gpu.errors import TensorError
from etn_gpu.symmetry import Irreps

#: A leg as the user writes it.
LegLike = Irreps | str


def as_leg(leg: LegLike) -> Irreps:
    """The leg without empty blocks. Raises IrrepsError for what is no leg, TensorError if an irrep comes twice."""
    return _checked(Irreps(leg))


@lru_cache(maxsize=4096)
def _checked(leg: Irreps) -> Irreps:
    # Cached also so that equal legs are one object, which makes comparing them fast.
    irreps = leg.simplify()
    names = [str(block.ir) for block in irreps]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise TensorError(
            f"the leg {irreps} holds {', '.join(repeated)} in more than one block; a sector needs one block: "
            "pass Irreps(leg).sort().simplify()"
        )
    return irreps


def as_legs(legs: Iterable[LegLike], side: str) -> tuple[Irreps, ...]:
    """Several legs; `side` ('rows' or 'cols') is named when a single string or Irreps was passed for a sequence."""
    if isinstance(legs, (str, Irreps)):
        raise TensorError(f"{side} must be a sequence of legs, got the single leg {str(legs)!r}: pass ({str(legs)!r},)")
    return tuple(as_leg(leg) for leg in legs)


def describe_leg(legs: Sequence[Irreps], names: Sequence[str | None], index: int) -> str:
    """A leg in an error message: its number, its name if it has one, and its irreps."""
    name = f" {names[index]!r}" if names[index] is not None else ""
    return f"leg {index}{name} ({legs[index] or 'empty'})"


def describe_legs(legs: Sequence[Irreps], names: Sequence[str | None]) -> str:
    """All legs of a tensor in an error message."""
    return ", ".join(describe_leg(legs, names, i) for i in range(len(legs))) or "none"


def require_equal_legs(first: Irreps, second: Irreps, first_text: str, second_text: str) -> None:
    """TensorError unless the two legs are equal; the texts describe the legs, the sectors that differ are added."""
    if first == second:
        return
    sectors = {ir: (first.count(ir), second.count(ir)) for ir in (block.ir for block in (*first, *second))}
    different = [
        f"{ir} has multiplicity {m} on the first and {n} on the second" for ir, (m, n) in sectors.items() if m != n
    ]
    reason = "sector " + ", sector ".join(different) if different else "their sectors come in another order"
    raise TensorError(f"{first_text} and {second_text} do not match: {reason}")
