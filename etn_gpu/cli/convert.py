"""`etn-gpu convert`: a model of any kind as a file of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etn_gpu.cli.console import WrongUseError, output_console
from etn_gpu.cli.options import AllowLarge, Overwrite, Species
from etn_gpu.cli.outputs import claimed_output
from etn_gpu.cli.reading import load_model
from etn_gpu.screening.text import escaped

__all__ = ["convert"]


def convert(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Path of a model file of any kind that is read.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL.etn", help="The model file to write.", show_default=False)
    ],
    overwrite: Overwrite = False,
    species: Species = None,
    zbl: Annotated[
        str | None,
        typer.Option(
            metavar="INNER,OUTER",
            help="Radii in A of the pair style zbl beside which a SNAP was fitted.",
            show_default=False,
        ),
    ] = None,
    allow_large: AllowLarge = False,
) -> None:
    """Write a model of any kind, such as an MTP, as a model file of this library,
    or one that was read from an MTP, SNAP or PACE file as such a file again.

    All numbers are kept bit for bit. What the file says of itself goes along as
    metadata.

    \b
    Examples:
      etn-gpu convert pot.mtp --species Nb,Mo,Ta,W --output pot.etn
      etn-gpu convert W.snapcoeff --zbl 4,4.8 --output W.etn
      etn-gpu convert pot.etn --output again.mtp
    """
    from etn_gpu.files import POTENTIAL
    from etn_gpu.interop.saving import METHODS, save_as
    from etn_gpu.potential.file import model_path

    context.with_resource(claimed_output(output, POTENTIAL, [model_path(model)], overwrite))
    potential = load_model(model, species, allow_large, **({} if zbl is None else {"zbl": _radii(zbl)}))
    if output.suffix.lower() in METHODS:
        save_as(potential, output)
    else:
        potential.save(output)
    output_console().print(escaped(f"{output}: {potential!r}"), soft_wrap=True, highlight=False)


def _radii(text: str) -> tuple[float, float]:
    try:
        inner, outer = (float(part) for part in text.split(","))
    except ValueError:
        raise WrongUseError(f"--zbl {text}: expected two radii in A, like 4,4.8") from None
    return inner, outer
