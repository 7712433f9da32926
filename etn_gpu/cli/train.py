"""`etn-gpu train`: fit a model to labelled structures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from etn_gpu.cli.console import CUT_SHORT, INTERRUPTED, UNEXPECTED, WrongUseError, error_console, output_console
from etn_gpu.cli.interrupt import remembered_interrupts
from etn_gpu.cli.options import (
    Backend,
    EnergyKey,
    ForcesKey,
    Format,
    Overwrite,
    Species,
    StressKey,
    TargetKey,
    Threads,
    VirialKey,
)
from etn_gpu.cli.parsing import parse_group_weights, parse_reference_energies, parse_time_limit, parse_weights
from etn_gpu.cli.reading import reading_options

__all__ = ["train"]


class Preset(StrEnum):
    """Sizes of models."""

    small = "small"
    standard = "standard"
    large = "large"
    message_small = "message-small"
    message = "message"


class Method(StrEnum):
    """What becomes of the ranks in training."""

    sweeps = "sweeps"
    gradient = "gradient"


class Repulsion(StrEnum):
    """What holds atoms apart beside the network."""

    zbl = "zbl"
    none = "none"


_VALID_FRACTION = 0.1


def train(
    train_files: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRAIN_FILE...", help="Labelled structures, in any format that ASE reads; one file or several."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    valid: Annotated[Path | None, typer.Option(help="Labelled structures to validate on.")] = None,
    valid_fraction: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Part of the TRAIN_FILEs to validate on when there is no --valid. Default: 0.1.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="dipole|atomic:NAME",
            help="Train on dipoles of molecules, or on the array NAME, which has a number or a vector for each atom. "
            "Default: energies, forces, stresses.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from a model, a shipped one's name or a file: its sizes and cutoff, its elements and those of "
            "the data.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(
            help="Size of the model: accuracy against speed. Default: standard, or that of --init.", show_default=False
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Layers of the network: each after the first lets atoms hear of their neighbours' neighbours. "
            "Default: those of the preset or of --init, to which layers may be added.",
            show_default=False,
        ),
    ] = None,
    attention: Annotated[
        int | None,
        typer.Option(
            min=0, help="Heads of attention in each layer of message passing. Default: none.", show_default=False
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="sweeps adapts the ranks to the data, gradient keeps those of the preset.")
    ] = Method.gradient,
    cutoff: Annotated[
        float | None,
        typer.Option(
            help="Radius of the neighbourhood of an atom, in A. Default: 5.0 to 5.6, by the volume of an atom, or "
            "that of --init.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="energy=..,forces=..,stress=..",
            help="Factors on the default weights in the loss: 1 keeps a term, 0 leaves it out.",
            show_default=False,
        ),
    ] = None,
    group_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FACTOR",
            help="Factor on the loss of the structures whose config_type is NAME, for each group a --group-weight; 0 "
            "leaves them out of the training.",
            show_default=False,
        ),
    ] = None,
    reference_energies: Annotated[
        str | None,
        typer.Option(
            metavar="fit|isolated|Mo=..,W=..|FILE.json",
            help="Energies of the elements in eV that the model adds to what it learns: fitted; those of the isolated "
            "atoms among the structures; or given, here or in a file {symbol: energy}. Given ones are not trained.",
            show_default="fit",
        ),
    ] = None,
    repulsion: Annotated[
        Repulsion,
        typer.Option(
            help="zbl holds atoms apart where the network knows nothing, and is out of reach in the data; none leaves "
            "the network alone, as a --target does."
        ),
    ] = Repulsion.zbl,
    repulsion_reach: Annotated[
        float,
        typer.Option(
            min=1.0,
            max=2.0,
            help="Where repulsion begins, over the closest distance in the data; above 1 the network is trained on "
            "what it leaves of the labels.",
        ),
    ] = 1.0,
    time_limit: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Be done after 45s, 30m, 2h or 1h30m, reading, compilation and report included."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the validation split and of the first parameters.")] = 0,
    resume: Annotated[
        Path | None, typer.Option(metavar="CKPT", help="Go on from a checkpoint, exactly as if never stopped.")
    ] = None,
    max_iterations: Annotated[int | None, typer.Option(min=1, help="Stop after this many iterations.")] = None,
    overwrite: Overwrite = False,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virial_key: VirialKey = None,
    target_key: TargetKey = None,
    format: Format = None,
    species: Species = None,
    backend: Backend = None,
    threads: Threads = None,
) -> None:
    """Train a model: first an audit of the labels, then iterations with validation
    errors and the time left.

    Labels are found under REF_energy, REF_forces, REF_stress or REF_virial, then
    under these names without a prefix or with dft_, in upper or lower case;
    frames may lack some. The audit names the keys, and warns of those that look
    like labels and were not used. A checkpoint is kept beside the model, and so
    are a JSON report and a plot of the learning curve and of parity. Those of an
    earlier run are kept: go on with --resume, or replace them with --overwrite.

    With --init an element that the model does not know begins as the average of
    those that it knows, and one that the data lack stays in the model; what it
    shall not forget has to be among the data. Structures of several TRAIN_FILEs
    without a config_type are in a group of the name of their file.

    With --target the model gives that quantity and no energies. A dipole (x, y, z
    in e*A, or in the unit that dipole_unit states) is a sum over the atoms of
    molecules that are neutral, since else it depends on the origin, and not
    periodic; errors are those of its components and of its length. A quantity of
    atoms is a number or a vector x, y, z, as the array has it, in any unit.

    Exit codes: 0 trained to the end, 2 wrong use, 3 something could not be
    written, 4 a time limit came before the end (the model so far is written), 130
    interrupted.

    \b
    Examples:
      etn-gpu train train.extxyz.gz --output model.etn
      etn-gpu train a.extxyz --valid b.extxyz --output model.etn --time-limit 30m
      etn-gpu train md.traj -o m.etn --preset small --weights energy=1,forces=0.1
      etn-gpu train old.extxyz new.extxyz -o m.etn --group-weight new.extxyz=5
      etn-gpu train tungsten.extxyz --init mo -o mow.etn
      etn-gpu train a.extxyz -o m.etn --reference-energies isolated --group-weight gas=0
      etn-gpu train molecules.extxyz -o dipoles.etn --target dipole
      etn-gpu train ionic.extxyz -o charges.etn --target atomic:charges
    """
    if valid is not None and valid_fraction is not None:
        raise WrongUseError(
            "--valid and --valid-fraction exclude each other: validate on a file, or on a part of the training file"
        )
    seconds = None if time_limit is None else parse_time_limit(time_limit)
    term_weights = None if weights is None else parse_weights(weights)
    if target_key is not None and target is None:
        raise WrongUseError("--target-key only with --target")

    from etn_gpu.cli.training_display import TrainingDisplay
    from etn_gpu.errors import TimeLimitError
    from etn_gpu.structures import LabelKeys
    from etn_gpu.structures.targets import Target
    from etn_gpu.training import Event, TrainingConfig
    from etn_gpu.training import train as run_training

    config = TrainingConfig(
        train_file=tuple(train_files),
        output=output,
        valid_file=valid,
        valid_fraction=_VALID_FRACTION if valid_fraction is None else valid_fraction,
        init=init,
        preset=preset and preset.value,
        layers=layers,
        attention=attention,
        method=method.value,
        cutoff=cutoff,
        weights=term_weights,
        group_weights=parse_group_weights(group_weight or []),
        reference_energies=parse_reference_energies(reference_energies or "fit"),
        repulsion=repulsion.value,
        repulsion_reach=repulsion_reach,
        time_limit=seconds,
        seed=seed,
        resume=resume,
        backend=backend,
        threads=threads,
        max_iterations=max_iterations,
        overwrite=overwrite,
        label_keys=LabelKeys(energy_key, forces_key, stress_key, virial_key),
        target=None if target is None else Target.parse(target, target_key),
        **reading_options(format, species),
    )
    console = output_console()
    unwritten: list[str] = []
    cut_short, checkpointed = False, resume is not None
    try:
        with remembered_interrupts() as check, TrainingDisplay(console, time_limit=seconds) as display:

            def show(event: Event) -> None:
                nonlocal cut_short, checkpointed
                checkpointed |= event.kind in ("iteration", "sweep")
                if event.kind == "unwritten":
                    unwritten.append(event.text)
                elif event.kind == "done":
                    cut_short = event.report["ended"] == "time_limit"
                display.show(event)
                check()

            run_training(config, on_event=show)
    except TimeLimitError as error:
        error_console().print(f"Error: {error}", style="bold red", soft_wrap=True)
        raise typer.Exit(CUT_SHORT) from None
    except KeyboardInterrupt:
        # With --overwrite there may be one of an earlier run before the first iteration is over.
        found = checkpointed and config.checkpoint.exists()
        how = f"go on with --resume {config.checkpoint}" if found else "there is no checkpoint yet"
        console.print(f"interrupted: {how}", style="bold yellow", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    console.print(f"model: {output}", soft_wrap=True)
    if unwritten:
        for fault in unwritten:
            error_console().print(f"Error: {fault}; the model is written", style="bold red", soft_wrap=True)
        raise typer.Exit(UNEXPECTED)
    console.print(f"report: {output.with_suffix('.json')}; plots: {output.with_suffix('.png')}", soft_wrap=True)
    if cut_short:
        raise typer.Exit(CUT_SHORT)
