"""`etn-gpu plan`: how a model is contracted and what an atom costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etn_gpu.cli.console import output_console
from etn_gpu.cli.options import AllowLarge, Species
from etn_gpu.cli.reading import load_model

if TYPE_CHECKING:
    from etn_gpu.potential import Potential

__all__ = ["plan"]


def plan(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name of a shipped model, or path of a model file (.etn).")
    ],
    species: Species = None,
    allow_large: AllowLarge = False,
) -> None:
    """Show how a model is contracted: the path, flops and bytes per atom, the
    largest intermediate; whether it gives extrapolation grades; and what its file
    tells of data, licence and citation.

    \b
    Examples:
      etn-gpu plan nbmotaw
      etn-gpu plan model.etn
    """
    from etn_gpu.potential import ETNPotential
    from etn_gpu.potential.content import listed_terms

    potential = load_model(model, species, allow_large)
    console = output_console()
    console.print(
        f"{model}: {' '.join(potential.species)}, cutoff {potential.cutoff:g} A", style="bold", soft_wrap=True
    )
    if potential.is_energy:
        terms = " + ".join(term["kind"] for term in listed_terms(potential))
        console.print(f"energy                {terms}", soft_wrap=True)
    else:
        console.print(f"output                {potential.quantity or potential.target}", soft_wrap=True, markup=False)
    if isinstance(potential, ETNPotential):
        console.print(f"bonds                 {' | '.join(potential.architecture.bonds)}", soft_wrap=True)
    console.print(str(potential.plan_report()), soft_wrap=True)
    if isinstance(potential, ETNPotential) and potential.is_energy:
        console.print(f"extrapolation grade   {_grade(potential)}", soft_wrap=True)
    for label, name in (("data", "training_data_origin"), ("licence", "licence"), ("cite", "citation")):
        told = potential.metadata.get(name, ())
        for line in told if isinstance(told, list | tuple) else (told,):
            console.print(f"{label:<22}{line}", soft_wrap=True, markup=False, highlight=False)


def _grade(potential: Potential) -> str:
    from etn_gpu.potential.grade import LACKS_GRADE

    if potential.grade is None:
        return f"none: the model {LACKS_GRADE}"
    counts = ", ".join(f"{n:.0f} {s}" for s, n in zip(potential.species, potential.grade.atoms, strict=True))
    return f"from {potential.grade.atoms.sum():.0f} training atoms ({counts})"
