"""The files of a run, claimed before it begins: nothing that exists is lost, and no other run writes them meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from etn_gpu import files
from etn_gpu.errors import TrainingError
from etn_gpu.potential.file import model_path
from etn_gpu.training.config import TrainingConfig


@contextmanager
def claimed_outputs(config: TrainingConfig) -> Iterator[None]:
    """Fails before training, not after it, when the model could not be written, and keeps other runs away.

    Raises:
        TrainingError: the output cannot be written, would destroy data, is another run's, or exists and is to be kept.
    """
    files.check_suffix(config.output, files.MODEL, TrainingError)
    if files.is_stream(config.output):
        raise TrainingError(f"cannot write the model to {config.output}: give the name of a file, like model.etn")
    # A run that goes on writes its own files, the checkpoint that it has read among them.
    goes_on = config.resume is not None and files.identity(config.resume) == files.identity(config.checkpoint)
    initial = None if config.init is None else model_path(config.init)
    read = [*config.train_files, config.valid_file, initial, None if goes_on else config.resume]
    files.check_outputs(config.written, [path for path in read if path is not None], TrainingError)
    with files.locked((config.output, config.checkpoint), TrainingError):
        hint = ""
        if config.checkpoint.exists():
            hint = f"--resume {config.checkpoint} goes on with the run that wrote it"
        files.check_replaced(config.written, config.overwrite or goes_on, TrainingError, hint)
        yield
