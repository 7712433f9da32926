"""`etn-gpu screen`: the main job on the command line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etn_gpu.cli.console import INTERRUPTED, SOME_FAILED, WrongUseError, output_console
from etn_gpu.cli.interrupt import remembered_interrupts
from etn_gpu.cli.options import AllowLarge, Backend, BatchAtoms, Dtype, Format, Overwrite, Species, Threads
from etn_gpu.cli.progress import structure_progress
from etn_gpu.cli.reading import load_model, reading_options
from etn_gpu.cli.screening_display import show_screening
from etn_gpu.errors import NetworkError
from etn_gpu.screening.ranking import RankBy
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from etn_gpu.potential import Potential
    from etn_gpu.screening import Screening, Source

__all__ = ["screen"]

_DEMO_MODEL = "nbmotaw"
_DEMO_STRUCTURES = 2000


class CellOf(StrEnum):
    """What of a cell is relaxed."""

    none = "none"
    full = "full"
    volume = "volume"


class OptimizerName(StrEnum):
    """Optimizers of a relaxation."""

    lbfgs = "lbfgs"
    fire = "fire"


class HullOf(StrEnum):
    """What the hull is made of."""

    run = "run"
    references = "references"


def screen(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="Name of a shipped model, or path of a model file (.etn).", show_default=False
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help="Structures, in any format that ASE reads.", show_default=False),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File with one row per structure: CSV, compressed if named .csv.gz, or .parquet."
        ),
    ] = Path("results.csv"),
    parts: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="ROWS",
            help="Make the .parquet output a folder of files with so many rows each, which readers take for one table.",
            show_default=False,
        ),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option(help="File of the evaluated structures with their results: extended XYZ, or .db for ASE's."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file with a report to look at.", show_default=False)] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that was stopped; begin where there is none to go on with."),
    ] = False,
    overwrite: Overwrite = False,
    rank: Annotated[
        RankBy | None,
        typer.Option(
            help="What the table at the end sorts by, lowest first (pressure: smallest magnitude first). "
            "Default: formation_energy, under --pressure formation_enthalpy.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Rows of the table at the end; 0 for no table.")] = 20,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Rank only rows that fulfil it, such as \"status == 'ok' and n_atoms <= 8\"; names that need it "
            "stand in back-quotes.",
            show_default=False,
        ),
    ] = None,
    per_composition: Annotated[
        bool, typer.Option("--per-composition", help="Rank only the best structure of each composition.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Entry of the structures' info to keep as a column; may be given several times.",
            show_default=False,
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Entry of info with a name of each structure, kept as column id.", show_default=False
        ),
    ] = None,
    spacegroup: Annotated[
        float | None,
        typer.Option(
            metavar="TOLERANCE",
            help="Add the column spacegroup, found with this tolerance in A, such as 0.01 (needs spglib).",
            show_default=False,
        ),
    ] = None,
    unique: Annotated[
        float | None,
        typer.Option(
            metavar="TOLERANCE",
            help="Rank each structure once: others that are the same, to this tolerance in A, such as 0.02, name it in "
            "the column duplicate_of.",
            show_default=False,
        ),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(
            help="File of phases that formation energies and the hull refer to. Default: crystals of the elements, "
            "relaxed by the model with --relax, else those of its training set.",
            show_default=False,
        ),
    ] = None,
    hull: Annotated[
        HullOf,
        typer.Option(help="Phases of the hull: the references and the structures of the run, or the references only."),
    ] = HullOf.run,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the work. Default: none but this one.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler whose workers share the work, such as tcp://node1:8786.",
            show_default=False,
        ),
    ] = None,
    relax: Annotated[bool, typer.Option("--relax", help="Relax structures first.")] = False,
    cell: Annotated[
        CellOf | None,
        typer.Option(
            help="With --relax: keep the cell, relax it, or its volume only. Default: none.", show_default=False
        ),
    ] = None,
    fmax: Annotated[
        float | None,
        typer.Option(
            metavar="F", help="With --relax: largest force at the end in eV/A. Default: 0.01.", show_default=False
        ),
    ] = None,
    pressure: Annotated[
        float | None, typer.Option(metavar="P", help="With --relax: external pressure in GPa.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --relax: most steps of a structure. Default: 500.", show_default=False),
    ] = None,
    optimizer: Annotated[
        OptimizerName | None, typer.Option(help="With --relax. Default: lbfgs.", show_default=False)
    ] = None,
    grade_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="GRADE",
            help="Extrapolation grade above which a structure is extrapolating, 1 or more. Default: 1.5.",
            show_default=False,
        ),
    ] = None,
    drop_extrapolating: Annotated[
        bool, typer.Option("--drop-extrapolating", help="Leave extrapolating structures out of the ranking.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Build 2000 random NbMoTaW bcc alloys and screen them.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the structures of --demo.")] = 0,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    dtype: Dtype = None,
    threads: Threads = None,
    batch_atoms: BatchAtoms = 4096,
    allow_large: AllowLarge = False,
) -> None:
    """Evaluate and rank very many structures: one row each, streamed, whatever the
    size of the files.

    A structure that cannot be evaluated becomes a row with status "failed" and
    its reason. The extrapolation grade of a structure is that of its most
    unusual atom: up to 1 for training structures, the higher the further
    outside. Above --grade-threshold the status is "extrapolating": the structure
    is evaluated and ranked, and its numbers may be wrong. A model without grades
    gives that status where two atoms are closer than any pair of their elements
    in training.

    While it runs, rows are in OUTPUT.part; the output appears when it is whole.
    A run that was stopped (by Ctrl-C, a crash, a full disk) goes on with the
    same command and --resume: no row is lost or there twice.

    Columns: source, index, formula, n_atoms, volume_per_atom (A^3/atom),
    closest_pair (the distance of the two closest atoms, A), energy (eV),
    energy_per_atom, formation_energy (relative to the pure elements: see
    --references) and energy_above_hull (all eV/atom; the hull is that of the pure
    elements and of the structures with status ok), max_force (eV/A), pressure
    (GPa, positive under compression), extrapolation_grade, status, message, with
    --relax relaxation_steps and initial_energy_per_atom, and what --id and --keep
    ask for. Under --pressure enthalpies are compared, E + p V: formation_energy
    and energy_above_hull are empty, and there are enthalpy_per_atom,
    formation_enthalpy and enthalpy_above_hull (eV/atom), relative to references
    at the same pressure. With --unique there is duplicate_of: the id of the row
    that this one is a copy of, or its source and index. In text, what is not printable is escaped as in Python
    (a byte that is not UTF-8: \\udcff), and what a spreadsheet would take for a
    formula is prefixed, names with ./ and messages with '.

    Exit codes: 0 all structures evaluated, 1 some failed, 2 wrong use, 3 an
    unexpected failure (a full disk for instance), 130 interrupted.

    \b
    Examples:
      etn-gpu screen --demo
      etn-gpu screen nbmotaw candidates.extxyz --output results.csv
      etn-gpu screen model.etn run1/XDATCAR run2/*.cif --structures out.extxyz
      etn-gpu screen nbmotaw big.extxyz.gz --rank max_force --top 50
      etn-gpu screen model.etn a.cif --grade-threshold 3 --drop-extrapolating
      etn-gpu screen nbmotaw big.extxyz --rank energy_above_hull --where "n_atoms <= 8"
      etn-gpu screen nbmotaw big.extxyz --unique 0.02 -o results.parquet --parts 1000000
      etn-gpu screen nbmotaw big.extxyz --id uid --keep calc_id -o results.parquet --resume
    """
    _check_arguments(model, files, demo)

    from etn_gpu.potential.file import model_path
    from etn_gpu.screening import BatchLimits, FileSource, Screening

    reading = reading_options(format, species)
    relaxation = {
        name: value
        for name, value in (
            ("cell", cell and cell.value),
            ("fmax", fmax),
            ("pressure", pressure),
            ("steps", steps),
            ("optimizer", optimizer and optimizer.value),
        )
        if value is not None
    }
    if relaxation and not relax:
        raise WrongUseError(f"{', '.join(f'--{name}' for name in relaxation)} only with --relax")
    potential = load_model(model or _DEMO_MODEL, species, allow_large)
    sources = [_demo_source(potential, seed)] if demo else [FileSource(path, **reading) for path in files or []]
    screening = Screening(
        potential,
        sources,
        output,
        parts=parts,
        structures=structures,
        report=report,
        resume=resume,
        overwrite=overwrite,
        protected=[model_path(model or _DEMO_MODEL)],
        rank=rank,
        top=top,
        where=where,
        per_composition=per_composition,
        keep=keep or (),
        id=id,
        spacegroup=spacegroup,
        unique=unique,
        references=references,
        hull_of_run=hull is HullOf.run,
        grade_threshold=_threshold(potential, grade_threshold),
        drop_extrapolating=drop_extrapolating,
        limits=BatchLimits.for_atoms(batch_atoms),
        backend=backend,
        dtype=dtype and dtype.value,
        threads=threads,
        workers=workers,
        scheduler=scheduler,
        relax=relax,
        **relaxation,
    )
    console = output_console()
    interrupted = _run(screening, _DEMO_STRUCTURES if demo else None)
    if screening.report.done_before:
        console.print(f"nothing to do: {escaped(str(output))} is whole, by a run with this model, inputs and options")
        return
    show_screening(console, screening.report, screening.places(), potential)
    if report is not None and not interrupted:
        console.print(f"report: {escaped(str(report))}", soft_wrap=True)
    if interrupted:
        console.print(
            "interrupted: the rows so far are complete, later structures are missing; the same command with --resume "
            "goes on",
            style="bold yellow",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED)
    if screening.report.n_failed:
        raise typer.Exit(SOME_FAILED)


def _check_arguments(model: str | None, files: list[Path] | None, demo: bool) -> None:
    if demo and files:
        raise WrongUseError("--demo builds its own structures: leave out the files, or leave out --demo")
    if not demo and model is None:
        raise WrongUseError("give a model and files of structures (etn-gpu screen MODEL FILES...), or --demo")
    if not demo and not files:
        raise WrongUseError(f"no files of structures to screen with {model}: etn-gpu screen MODEL FILES..., or --demo")


def _threshold(potential: Potential, given: float | None) -> float:
    """The value of --grade-threshold, or its default."""
    from etn_gpu.potential.grade import LACKS_GRADE, THRESHOLD, check_threshold

    if given is None:
        return THRESHOLD
    if potential.grade is None:
        raise WrongUseError(f"--grade-threshold {given:g}: the model {LACKS_GRADE}")
    try:
        return check_threshold(given)
    except NetworkError as error:
        raise WrongUseError(f"--grade-threshold {given:g}: {error}") from None


def _demo_source(potential: Potential, seed: int) -> Source:
    from etn_gpu.screening import MemorySource, demo_structures
    from etn_gpu.screening.demo import DEMO_SPECIES

    if missing := [element for element in DEMO_SPECIES if element not in potential.species]:
        raise WrongUseError(
            f"--demo needs a model for {', '.join(DEMO_SPECIES)}; this one has no {', '.join(missing)} "
            f"(it knows {', '.join(potential.species)}). Use {_DEMO_MODEL}"
        )
    return MemorySource("demo", demo_structures(_DEMO_STRUCTURES, seed))


def _run(screening: Screening, total: int | None) -> bool:
    """Runs to the end, or to Ctrl-C, which gives True."""
    try:
        with remembered_interrupts() as check, structure_progress(total) as advance:
            for rows in screening:
                advance(len(rows), rows[-1].source)
                check()
    except KeyboardInterrupt:
        return True
    return False
