"""Outputs that appear when they are whole, of runs that may be stopped at any moment and go on later.

What is to become ``NAME`` grows as ``NAME.part``; where it is made of that part at the end, it is ``NAME.whole`` for a
moment. ``NAME.run`` of the first output says what the run is, how far it has come, and how much of each part that
takes; it is replaced in one piece, after the system has the parts on its disk. What a part holds beyond that is cut
off when the run goes on: so nothing is lost, and nothing is there twice.

Of a run that could go on, by `resume`, and whose inputs can be read again, the note stays when the outputs are whole,
so that the same command finds that there is nothing to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Any, Self

from etn_gpu.errors import EtnGpuError
from etn_gpu.files.appended import AppendedFile
from etn_gpu.files.atomic import permissions, write_atomically
from etn_gpu.files.differences import change, difference, shown
from etn_gpu.files.folders import parts_in, put_folder, remove
from etn_gpu.files.growing import Growing, with_suffix
from etn_gpu.files.identity import AnyPath, is_stream
from etn_gpu.files.locks import locked
from etn_gpu.files.outputs import check_replaced

__all__ = ["Growing", "Making", "UnfinishedOutputs"]

#: Makes a file of another one, or a folder of parts (:mod:`etn_gpu.files.folders`).
Making = Callable[[str, str], None]

FORMAT = 1
#: Seconds between two notes of how far the run has come, and how much longer than a note takes they are apart at least.
_INTERVAL, _SHARE = 1.0, 50.0
_NAME = "name, or replace what is there with --overwrite (overwrite=True in Python)"
#: The entry of a note that all outputs are in their places.
_IN_PLACE = "in place"


class UnfinishedOutputs:
    """The outputs of one run, a context; no other run writes them meanwhile.

    A pipe or a device is written to as it is, and a run that has one cannot go on later.

    Attributes:
        files: the outputs in their order, to append to.
        progress: what the run that goes on had last noted; None for one that begins.

    Args:
        outputs: one or more.
        identity: gives what must be the same for the run to go on, by name, as JSON has it; called when it is needed.
        resume: go on with a run that was stopped; where there is none, and no output either, begin; where the run is
            whole, do nothing.
        overwrite: whether outputs that exist, and runs that could go on, may be replaced.
        error: the class of the errors.
        repeatable: whether all that outputs depend on is in `identity`, so that a note may say that there is nothing
            to do.

    Raises:
        error: on entering, when an output exists, a run could go on and neither `resume` nor `overwrite` is set,
            another run is writing, the run to go on with is another one or its files were changed, or the system
            refuses.
    """

    def __init__(
        self,
        outputs: Sequence[Growing],
        identity: Callable[[], Mapping[str, Any]],
        *,
        resume: bool,
        overwrite: bool,
        error: type[EtnGpuError],
        repeatable: bool = False,
    ) -> None:
        self._repeatable = repeatable
        self._outputs, self._identity = outputs, cache(identity)
        self._resume, self._overwrite, self._error = resume, overwrite, error
        self._plain = [output for output in outputs if not is_stream(output.path)]
        self._resumable = len(self._plain) == len(outputs)
        self._state = with_suffix(self._plain[0].path, ".run") if self._resumable else ""
        self._whole = False
        self._due = 0.0
        #: What was noted last, with bytes and records of each file at that time.
        self._noted: tuple[Mapping[str, Any], list[tuple[int, int]]] | None = None
        self._held = ExitStack()
        self.files: list[AppendedFile] = []
        self.progress: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(locked([output.path for output in self._plain], self._error))
            before = self._before()
            if before is None:
                self._begin()
            else:
                self._go_on(before)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            if self._whole:
                return
            # What was done is kept; a second error would only hide the first.
            with suppress(self._error):
                self._write_noted()
            empty = not any(file.count for file in self.files)
            for file in self.files:
                file.close(complete=False)
            if empty:
                self._forget()

    @property
    def whole(self) -> bool:
        """Whether the outputs are whole and in their places."""
        return self._whole

    def place(self, number: int) -> str:
        """Where an output is, by its number: its part, until it is whole."""
        path = os.fspath(self._outputs[number].path)
        return path if self._whole or is_stream(path) else with_suffix(path, ".part")

    def check(self) -> bool:
        """What entering would refuse, other runs excepted, before anything is done.

        Returns:
            Whether there is nothing to do: the run is whole, and its outputs are in their places.

        Raises:
            error: see above.
        """
        before = self._before()
        return before is not None and _in_place(before)

    def note(self, progress: Mapping[str, Any]) -> None:
        """Notes how far the run has come with all that was appended; not more often than is cheap.

        Raises:
            error: the system refuses.
        """
        self._take(progress)
        if monotonic() >= self._due:
            self._write_noted()

    def finish(self, progress: Mapping[str, Any], making: Mapping[int, Making] | None = None) -> None:
        """Puts the outputs in their places; the run cannot go on after that.

        Args:
            progress: as for :meth:`note`.
            making: for outputs by their number, what makes them of their parts, from the first path to the second.

        Raises:
            error: the system refuses, or an output has appeared meanwhile and must not be replaced.
        """
        self._take(progress)
        self._write_noted()
        for number, make in (making or {}).items():
            self._make(self._outputs[number].path, make)
        self._write_noted(whole=True)
        for file in self.files:
            file.close(complete=True)
        check_replaced([output.path for output in self._plain], self._overwrite, self._error)
        self._put_in_place(progress, [file.count for file in self.files])

    def _make(self, path: AnyPath, make: Making) -> None:
        if is_stream(path):
            return
        whole = with_suffix(path, ".whole")
        try:
            with suppress(FileNotFoundError):
                remove(whole)  # of a run that was stopped here
            make(with_suffix(path, ".part"), whole)
            made = [os.path.join(whole, name) for name in parts_in(whole)] if os.path.isdir(whole) else [whole]
            for name in made:
                with open(name, "rb+") as file:
                    os.fsync(file.fileno())
        except OSError as problem:
            raise self._error(f"cannot write {whole}: {problem.strerror or problem}") from problem

    def _before(self) -> dict[str, Any] | None:
        """What is noted of the run that is to go on, None where one begins."""
        if self._resume and not self._resumable:
            raise self._error(
                "a run with a pipe or a device as an output cannot go on: begin it without --resume (resume=False in "
                "Python)"
            )
        state = self._read() if self._resumable else None
        if state is not None and _in_place(state):
            if self._resume and self._repeatable and any(os.path.lexists(output.path) for output in self._plain):
                self._check_same(state)
                paths, lengths = [output.path for output in self._outputs], [part["length"] for part in state["parts"]]
                if changed := change(paths, lengths):
                    raise self._error(f"{self._state} is of a run that is whole, and {changed}: choose another {_NAME}")
                return state
            state = None  # others are refused as outputs of any origin are
        stopped = state is not None and (state["whole"] or any(part["records"] for part in state["parts"]))
        if state is None:  # parts of no run are not ours
            self._check_places(
                [with_suffix(output.path, suffix) for output in self._plain for suffix in (".part", ".whole")]
            )
        elif stopped and not self._resume and not self._overwrite:
            raise self._error(
                f"{self._state} is of a run that was stopped, with {state['parts'][0]['records']} "
                f"{self._outputs[0].records}: go on with it by --resume, or begin anew by --overwrite (resume=True, "
                "overwrite=True in Python)"
            )
        going_on = stopped and self._resume
        if state is not None and going_on:
            self._check_same(state)
            if state["whole"]:
                return state
        self._check_places([output.path for output in self._plain])
        return state if going_on else None

    def _check_places(self, paths: Sequence[AnyPath]) -> None:
        check_replaced(paths, self._overwrite, self._error)
        for path in paths:
            try:
                permissions(os.path.realpath(path))
            except OSError as problem:
                raise self._error(f"cannot write {os.fspath(path)}: {problem.strerror or problem}") from problem

    def _read(self) -> dict[str, Any] | None:
        try:
            with open(self._state, encoding="utf-8") as file:
                state: dict[str, Any] = json.load(file)
            if state["format"] > FORMAT:
                raise self._error(
                    f"{self._state} is of a newer version of etn_gpu (format {state['format']}): go on with that "
                    "version, remove it, or choose another name for the output"
                )
            _ = dict(state["identity"]), state["progress"], state["whole"], state["parts"][0]
            _ = [(part["name"], part["length"], part["records"]) for part in state["parts"]]
        except FileNotFoundError:
            return None
        except self._error:
            raise
        except (OSError, ValueError, LookupError, TypeError) as problem:
            raise self._error(
                f"{self._state} should say how far a run has come, and cannot be read ({type(problem).__name__}): "
                "remove it or choose another name for the output"
            ) from problem
        return state

    def _check_same(self, state: Mapping[str, Any]) -> None:
        before, now = state["identity"], json.loads(json.dumps(self._identity()))
        before |= {"outputs": [part["name"] for part in state["parts"]]}
        now |= {"outputs": self._names()}
        for name in now | before:
            if before.get(name) != now.get(name):
                where, old, new = difference(name, before.get(name), now.get(name))
                raise self._error(
                    f"{self._state} is of another run: {where} was {shown(old)}, is {shown(new)}. Go on with the "
                    "same options and inputs, or begin anew by --overwrite (overwrite=True in Python)"
                )

    def _names(self) -> list[str]:
        return [os.path.basename(os.fspath(output.path)) for output in self._outputs]

    def _begin(self) -> None:
        if self._resumable:
            self._write_state({}, [(0, 0)] * len(self._outputs), whole=False)
        try:
            for output in self._plain:
                with suppress(FileNotFoundError):
                    remove(with_suffix(output.path, ".whole"))
            for output in self._outputs:
                self.files.append(self._open(output))
            for file, output in zip(self.files, self._outputs, strict=True):
                file.start(output.heading)
        except BaseException:
            for file in self.files:
                file.close(complete=False)
            self._forget()
            raise

    def _go_on(self, state: dict[str, Any]) -> None:
        self.progress = state["progress"]
        if state["whole"]:
            self._whole = _in_place(state)
            if not self._whole:
                self._put_in_place(self.progress or {}, [part["records"] for part in state["parts"]])
            return
        for output, part in zip(self._outputs, state["parts"], strict=True):
            name = with_suffix(output.path, ".part")
            try:
                length = os.path.getsize(name)
            except OSError as problem:
                raise self._error(
                    f"cannot go on: {name}: {problem.strerror or problem}; begin anew by --overwrite"
                ) from problem
            if length < part["length"]:
                raise self._error(
                    f"cannot go on: {name} has {length} bytes, the run that was stopped had written {part['length']}; "
                    "it was changed. Begin anew by --overwrite"
                )
        try:
            for output, part in zip(self._outputs, state["parts"], strict=True):
                self.files.append(self._open(output))
                self.files[-1].go_on(part["length"], part["records"])
        except BaseException:
            for file in self.files:
                file.close(complete=False)
            raise

    def _open(self, output: Growing) -> AppendedFile:
        path = os.fspath(output.path)
        target = path if is_stream(path) else with_suffix(path, ".part")
        return AppendedFile(
            target, output.records, overwrite=True, error=self._error, compressed=path.lower().endswith(".gz")
        )

    def _take(self, progress: Mapping[str, Any]) -> None:
        self._noted = progress, [(file.length, file.count) for file in self.files]

    def _write_noted(self, *, whole: bool = False) -> None:
        if not self._state or self._noted is None:
            return
        begin = monotonic()
        for file in self.files:
            file.sync()
        self._write_state(*self._noted, whole=whole)
        end = monotonic()
        self._due = end + max(_INTERVAL, _SHARE * (end - begin))

    def _write_state(
        self, progress: Mapping[str, Any], parts: Sequence[tuple[int, int]], *, whole: bool, in_place: bool = False
    ) -> None:
        state = {
            "format": FORMAT,
            "identity": self._identity(),
            "parts": [
                {"name": name, "length": length, "records": records}
                for name, (length, records) in zip(self._names(), parts, strict=True)
            ],
            "progress": progress,
            "whole": whole,
            _IN_PLACE: in_place,
        }
        write_atomically(self._state, json.dumps(state).encode(), self._error, temporary=self._state + ".tmp")

    def _put_in_place(self, progress: Mapping[str, Any], records: Sequence[int]) -> None:
        """Renames what is not yet in its place, the first output last: when it is there, all are."""
        for output in reversed(self._plain):
            part, whole, target = (with_suffix(output.path, suffix) for suffix in (".part", ".whole", ""))
            try:
                if os.path.exists(whole):
                    with suppress(FileNotFoundError):
                        os.unlink(part)
                    part = whole
                if os.path.isdir(part):
                    put_folder(part, target)
                elif os.path.exists(part):
                    mode = permissions(target)
                    if mode is not None:
                        with suppress(OSError):  # file systems without permissions
                            os.chmod(part, mode)
                    os.replace(part, target)
            except OSError as problem:
                raise self._error(
                    f"cannot write {os.fspath(output.path)}: {problem.strerror or problem}; what it should hold is in "
                    f"{part}"
                ) from problem
        self._whole = True
        note = ""
        if self._resume and self._repeatable:
            with suppress(OSError, self._error):  # the outputs are there, whatever becomes of the note
                lengths = [os.path.getsize(output.path) for output in self._plain]
                self._write_state(progress, [*zip(lengths, records, strict=True)], whole=True, in_place=True)
                note = self._state
        self._forget(but_for=note)

    def _forget(self, but_for: str = "") -> None:
        """Leaves nothing but outputs that are in their places, and perhaps a note."""
        notes = [self._state + ".tmp", self._state] if self._state else []
        own = [with_suffix(output.path, suffix) for output in self._plain for suffix in (".part", ".whole")]
        for name in [*own, *notes]:
            if name != but_for:
                with suppress(OSError):
                    remove(name)


def _in_place(state: Mapping[str, Any]) -> bool:
    """Whether all outputs were in their places when a note was written."""
    return bool(state.get(_IN_PLACE))
