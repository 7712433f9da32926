"""`etn-gpu learn`: a fast student of a slow potential."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etn_gpu.cli.console import (
    INTERRUPTED,
    SOME_FAILED,
    WrongUseError,
    new_table,
    output_console,
    show_table,
)
from etn_gpu.cli.interrupt import remembered_interrupts
from etn_gpu.cli.options import Backend, Format, Overwrite, Species, Threads
from etn_gpu.cli.parsing import parse_time_limit, parse_weights
from etn_gpu.cli.reading import reading_options
from etn_gpu.cli.train import Preset
from etn_gpu.screening.text import escaped
from etn_gpu.structures.units import GPA

if TYPE_CHECKING:
    from rich.console import Console

    from etn_gpu.learning import LearningReport

__all__ = ["learn"]


def learn(
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER",
            help="module:factory that gives an ASE calculator, or a model: a file (.etn) or the name of a shipped one.",
            show_default=False,
        ),
    ],
    structures: Annotated[
        list[Path],
        typer.Argument(
            metavar="STRUCTURES...",
            help="Structures to begin with, in any format that ASE reads; labels in them are not used.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    arguments: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help='Keyword arguments of the factory, such as \'{"model": "small"}\'.', show_default=False
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of sampling, labelling and training.")] = 5,
    number: Annotated[int, typer.Option("--number", "-n", min=4, help="Structures labelled in each round.")] = 50,
    test_number: Annotated[
        int, typer.Option(min=0, help="Structures labelled for the comparison at the end; 0 for none.")
    ] = 50,
    temperature: Annotated[
        float, typer.Option(help="Highest temperature of the student's molecular dynamics, in K.")
    ] = 1000.0,
    trajectories: Annotated[int, typer.Option(min=1, help="Trajectories in each round.")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="Most steps of a trajectory.")] = 500,
    timestep: Annotated[
        float | None, typer.Option(help="Time step in fs. Default: by the lightest atom.", show_default=False)
    ] = None,
    rattle: Annotated[
        float, typer.Option(help="Displacements of perturbed copies, at most, over the distance of neighbours.")
    ] = 0.06,
    strain: Annotated[
        float, typer.Option(help="Strain of perturbed copies, at most; 0.04 changes volumes by 12 %.")
    ] = 0.04,
    exchange: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Nb,Mo,..",
            help="Elements that may stand for each other: perturbed copies have other compositions of them. Several "
            "times for several groups.",
            show_default=False,
        ),
    ] = None,
    keep_compositions: Annotated[
        bool, typer.Option("--keep-compositions", help="With --exchange: elements only change places.")
    ] = False,
    least_atoms: Annotated[int, typer.Option(min=1, help="Repeat periodic cells up to so many atoms.")] = 16,
    threshold: Annotated[
        float, typer.Option(help="Structures with an extrapolation grade up to this need no label; 1 or more.")
    ] = 1.0,
    stop_grade: Annotated[float, typer.Option(help="The extrapolation grade that ends a trajectory.")] = 5.0,
    largest_force: Annotated[
        float, typer.Option(help="Labelled structures with a larger force, in eV/A, are not trained on.")
    ] = 50.0,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The student begins as this model, a shipped one's name or a file.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="Size of the student. Default: standard, or that of --init.", show_default=False),
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(
            help="Radius of the neighbourhood of an atom, in A. Default: by the volume of an atom.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="energy=..,forces=..,stress=..",
            help="Factors on the default weights in the loss.",
            show_default=False,
        ),
    ] = None,
    max_iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most iterations of each training. Default: 15 in a round, no limit for the last training.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that label at the same time.")] = 1,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Give a structure up after 45s, 30m or 2h.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: label again what failed.")] = False,
    overwrite: Overwrite = False,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    threads: Threads = None,
) -> None:
    """Train a fast potential on what a slow one says.

    In rounds: structures are sampled (perturbed copies of those given, molecular
    dynamics by the student until its extrapolation grade says stop), those that
    would tell most are chosen, the teacher labels them in processes of its own,
    and the student is trained on. At the end both are compared on structures
    that neither chose, and timed on the same ones.

    The teacher is any ASE calculator that Python can import, also from the
    current folder: ase.calculators.emt:EMT, mace.calculators:mace_mp, or a
    function of your own, my_file:make. What it raises, NaN, and calculations that
    take too long cost one structure, which is reported; a process that dies is
    replaced. Stress is used where the teacher has it.

    Beside MODEL.etn, MODEL.json is the report, and the folder MODEL.learn holds
    labels (labels.extxyz, labels.csv) and the student of each round. --resume
    goes on where a run was stopped, also with more --rounds; nothing is labelled
    twice.

    Exit codes: 0 all was labelled, 1 some structures failed and the model is
    written, 2 wrong use, 3 an unexpected failure, 130 interrupted.

    \b
    Examples:
      etn-gpu learn ase.calculators.emt:EMT cu_au.extxyz -o student.etn
          --exchange Cu,Au
      etn-gpu learn mace.calculators:mace_mp start.cif -o student.etn
          --arguments '{"model": "small"}' --temperature 2000 --workers 2
      etn-gpu learn big.etn md.traj -o small.etn --preset small
    """
    from etn_gpu.cli.learning_display import LearningDisplay
    from etn_gpu.learning import LearningConfig
    from etn_gpu.learning import learn as run_learning
    from etn_gpu.learning.teacher import Teacher

    config = LearningConfig(
        Teacher(teacher, _parse_arguments(arguments)),
        tuple(structures),
        output,
        rounds=rounds,
        number=number,
        test_number=test_number,
        least_atoms=least_atoms,
        rattle=rattle,
        strain=strain,
        exchange=tuple(tuple(symbol.strip() for symbol in text.split(",")) for text in exchange or ()),
        keep_compositions=keep_compositions,
        temperature=temperature,
        trajectories=trajectories,
        steps=steps,
        timestep=timestep,
        threshold=threshold,
        stop_grade=stop_grade,
        largest_force=largest_force,
        init=init,
        preset=preset and preset.value,
        cutoff=cutoff,
        weights=None if weights is None else parse_weights(weights),
        max_iterations=max_iterations,
        workers=workers,
        timeout=None if timeout is None else parse_time_limit(timeout, "--timeout"),
        retry=retry,
        threads=threads,
        backend=backend,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        **reading_options(format, species),
    )
    console = output_console()
    display = LearningDisplay(console)
    try:
        with remembered_interrupts() as check, display:

            def show(event: Any) -> None:
                display.show(event)
                check()

            report = run_learning(config, show)
    except KeyboardInterrupt:
        text = "interrupted"
        if display.begun:
            instead = " instead of --overwrite" if overwrite else ""
            text += ": go on with the same command" + ("" if resume else f" and --resume{instead}")
        console.print(text, style="bold yellow", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    _show(console, report)
    console.print(f"model: {output}", soft_wrap=True)
    console.print(f"report: {config.report}; labels and students: {config.folder}", soft_wrap=True)
    if any(part.get("failed") for part in [*report.rounds, report.test]):
        raise typer.Exit(SOME_FAILED)


def _parse_arguments(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUseError(f"--arguments {text[:100]!r} is no JSON ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise WrongUseError(
            f'--arguments {text[:100]!r} is no JSON object of keyword arguments, such as {{"model": "small"}}'
        )
    return found


def _show_missing(console: Console, report: LearningReport) -> None:
    """What the comparison lacks; structures that the teacher finds absurd may well be those where the student fails."""
    test, limit = report.test, report.options["largest_force"]
    texts = [f"{test['failed']} without a label of the teacher"] if test.get("failed") else []
    texts += [f"{test['large_forces']} with forces above {limit:g} eV/A"] if test.get("large_forces") else []
    if texts:
        text = f"left out of {test['chosen']}: {', '.join(texts)}"
        console.print(text if report.errors else f"nothing to compare, {text}", style="yellow", soft_wrap=True)


def _show(console: Console, report: LearningReport) -> None:
    if report.errors:
        table = new_table()
        table.add_column("structures")
        for heading in (
            "number", "atoms", "energy RMSE\nmeV/atom", "forces RMSE\nmeV/A", "RMS forces\nmeV/A", "stress RMSE\nGPa",
        ):  # fmt: skip
            table.add_column(heading, justify="right")
        for name, row in report.errors.items():
            stress = row["stress"]["rmse"]
            table.add_row(
                escaped(name),
                str(row["n_structures"]),
                str(row["n_atoms"]),
                f"{1e3 * row['energy']['rmse']:.2f}",
                f"{1e3 * row['forces']['rmse']:.1f}",
                f"{1e3 * row['forces_rms']:.0f}",
                "-" if stress is None else f"{stress / GPA:.3f}",
            )
        show_table(console, "Student against teacher, on structures that neither chose", table)
    if report.test:
        _show_missing(console, report)
    if report.speed:
        speed = report.speed
        table = new_table()
        for heading in ("energy, forces, stress", "us/atom", "times as fast"):
            table.add_column(heading, justify="left" if heading.startswith("energy") else "right")
        table.add_row("teacher", f"{speed['teacher_us_per_atom']:.1f}", "1")
        for name, of in (("student, one by one", ""), ("student, as a batch", "_batch")):
            table.add_row(name, f"{speed[f'student{of}_us_per_atom']:.1f}", f"{speed[f'speedup{of}']:.1f}")
        note = ", the teacher's while it labelled" if speed["teacher_busy"] else ""
        show_table(console, f"Speed on {speed['structures']} of them{note}", table)
    elif report.errors:
        console.print("no speeds: the teacher failed when it was timed", style="yellow")
