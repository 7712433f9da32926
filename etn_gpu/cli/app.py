"""The typer application: the list of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from etn_gpu.cli.convert import convert
from etn_gpu.cli.doctor import doctor
from etn_gpu.cli.evaluate import evaluate
from etn_gpu.cli.grade import grade
from etn_gpu.cli.learn import learn
from etn_gpu.cli.plan import plan
from etn_gpu.cli.screen import screen
from etn_gpu.cli.select import select
from etn_gpu.cli.train import train

__all__ = ["app"]

app = typer.Typer(
    name="etn-gpu",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (train, learn, evaluate, screen, select, grade, plan, convert, doctor):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        import etn_gpu

        print(f"etn-gpu {etn_gpu.__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Equivariant tensor network interatomic potentials: train, learn,
    evaluate, screen and select.

    Exit codes: 0 all is fine; 1 some structures failed, the others are done; 2
    wrong use; 3 an unexpected failure, such as a full disk; 130 interrupted.

    \b
    Examples:
      etn-gpu screen --demo
      etn-gpu screen nbmotaw candidates.extxyz --output results.csv
      etn-gpu evaluate nbmotaw test.extxyz.gz
      etn-gpu select model.etn md.traj --output chosen.extxyz
      etn-gpu train train.extxyz.gz --output model.etn
      etn-gpu learn ase.calculators.emt:EMT start.extxyz --output student.etn
    """
