"""The teacher: where the calculator that gives the labels comes from, in words that another process understands."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etn_gpu.errors import EtnGpuError, LearningError
from etn_gpu.screening.text import escaped

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["Teacher", "reason"]

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FACTORY = re.compile(rf"({_DOTTED}):({_DOTTED})")
_EXAMPLE = "module:factory, like ase.calculators.emt:EMT"
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Teacher:
    """An ASE calculator by its name.

    Attributes:
        name: ``module:factory``, anything in a Python module that returns a calculator when it is called, a class or a
            function; or the path of a model file or the name of a shipped model. Modules are also looked for in the
            present folder.
        arguments: keyword arguments of the factory, which JSON can hold; for a model those of
            :class:`~etn_gpu.calculator.ETNCalculator`.

    Raises:
        LearningError: a name that is neither, or arguments that JSON cannot hold.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise LearningError(f"teacher = {self.name!r}: expected {_EXAMPLE}, or a model")
        if self.is_model and ":" in self.name and not os.path.exists(self.name):
            raise LearningError(
                f"teacher = {self.name!r}: expected {_EXAMPLE}, both of them names in Python with dots between them, "
                "or a model"
            )
        if not isinstance(self.arguments, dict) or not all(isinstance(key, str) for key in self.arguments):
            raise LearningError(f"arguments of the teacher = {self.arguments!r}: expected names and values")
        try:
            json.dumps(self.arguments, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise LearningError(
                f"arguments of the teacher = {self.arguments!r}: JSON cannot hold them ({error})"
            ) from None

    @property
    def is_model(self) -> bool:
        """Whether the teacher is a model of this library."""
        return _FACTORY.fullmatch(self.name) is None

    def identity(self) -> dict[str, Any]:
        """What makes two teachers the same, for JSON: name, arguments, and of a model the SHA-256 of its file.

        Raises:
            LearningError: the model file cannot be read.
        """
        found: dict[str, Any] = {"name": self.name, "arguments": self.arguments}
        if self.is_model:
            from etn_gpu.potential.file import model_path

            try:
                content = Path(model_path(self.name)).read_bytes()
            except OSError as error:
                hint = "" if os.path.exists(self.name) else f"; a teacher that is no model is given as {_EXAMPLE}"
                raise LearningError(f"cannot read the teacher {self.name}: {error.strerror or error}{hint}") from None
            found["sha256"] = hashlib.sha256(content).hexdigest()
        return found

    def calculator(self) -> Calculator:
        """A new calculator.

        The present folder is put in front of where Python looks for modules, and stays there: modules may be imported
        later.

        Raises:
            LearningError: there is no such module, attribute or model, calling it fails, or what comes back is no
                calculator; the message has the reason.
        """
        return self._from_model() if self.is_model else self._from_factory()

    def _from_model(self) -> Calculator:
        from etn_gpu.calculator import ETNCalculator

        try:
            return ETNCalculator(self.name, **self.arguments)
        except EtnGpuError as error:
            hint = "" if os.path.exists(self.name) else f"; a teacher that is no model is given as {_EXAMPLE}"
            raise LearningError(f"the teacher {self.name}: {str(error).removesuffix('.')}{hint}") from error
        except TypeError as error:
            raise LearningError(
                f"the teacher {self.name} cannot be made with {self._called()}: {reason(error)}"
            ) from error

    def _from_factory(self) -> Calculator:
        match = _FACTORY.fullmatch(self.name)
        assert match is not None
        factory = self._found(match[1], match[2])
        if not callable(factory):
            raise LearningError(
                f"the teacher {self.name} is of type {type(factory).__name__}, which cannot be called: expected a "
                "class or a function that returns a calculator of ASE"
            )
        try:
            made = factory(**self.arguments)
        except (Exception, SystemExit) as error:
            raise LearningError(
                f"the teacher {self.name} fails when called with {self._called()}: {reason(error)}"
            ) from error
        if isinstance(made, type) or not callable(getattr(made, "get_potential_energy", None)):
            what = (
                f"the class {made.__name__}" if isinstance(made, type) else f"an object of type {type(made).__name__}"
            )
            raise LearningError(
                f"the teacher {self.name} returns {what}: expected a calculator of ASE, which has get_potential_energy"
            )
        calculator: Calculator = made
        return calculator

    def _found(self, module: str, attribute: str) -> Any:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            # A file may have been written since Python looked into its folder.
            importlib.invalidate_caches()
            found: Any = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
                raise LearningError(
                    f"the teacher {self.name}: there is no module {error.name!r} in {here}, nor is one installed"
                ) from None
            raise LearningError(f"the teacher {self.name}: importing {module} fails: {reason(error)}") from error
        for name in attribute.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                where = getattr(sys.modules[module], "__file__", None) or "built in"
                raise LearningError(f"the teacher {self.name}: {module} ({where}) has no {name!r}") from None
        return found

    def _called(self) -> str:
        return "no arguments" if not self.arguments else ", ".join(f"{k}={v!r}" for k, v in self.arguments.items())


def reason(error: BaseException) -> str:
    """An exception of foreign code in one printable line of bounded length: its type, and what it says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = escaped(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."
