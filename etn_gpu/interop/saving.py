"""Potentials written as files of the method that they are of, with every number as it was read."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from etn_gpu.errors import ModelFileError
from etn_gpu.files import write_atomically
from etn_gpu.interop.translation import Translation
from etn_gpu.potential import Potential
from etn_gpu.potential.formulation import Formulation
from etn_gpu.potential.references import REFERENCES

#: The method whose files have a suffix.
METHODS = {".mtp": "MTP", ".snapcoeff": "SNAP", ".snapparam": "SNAP", ".yace": "PACE"}


def save_as(potential: Potential, path: str | PathLike[str]) -> None:
    """Write a potential as a file of its own method, which the suffix of ``path`` names.

    SNAP has two files, of which either is named; both are written.

    Raises:
        ModelFileError: another method than the suffix says, a method that is not written, or a file that cannot be.
    """
    path = Path(path)
    method = METHODS.get(path.suffix.lower())
    form = potential.form
    if method is None or not isinstance(form, Formulation) or form.method != method:
        raise ModelFileError(
            f"{path} cannot be written: the potential is {form.described}, and {path.suffix or 'no suffix'} is that of "
            f"{method or 'no method that is written'}; any potential can be written as .etn"
        )
    parameters = {name: potential.parameters[name] for name in form.network_shapes}
    translation = Translation(form, parameters, potential.parameters[REFERENCES], potential.metadata)
    if method == "MTP":
        from etn_gpu.interop.mtp import write_mtp

        write_mtp(path, translation)
    elif method == "SNAP":
        from etn_gpu.interop.snap import write_snap

        write_snap(translation, path)
    else:
        write_atomically(path, potential.metadata["yace"].encode(), ModelFileError, "the PACE file")
