"""The layers of the package: imports only point upwards in the list, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import etn_gpu

PACKAGE = Path(etn_gpu.__file__).parent
KERNELS = PACKAGE.parent / "kernels"

LAYERS = (
    "errors",
    "checks",
    "files",
    "_kernels",
    "symmetry",
    "plan",
    "tensor",
    "backend",
    "network",
    "structures",
    "potential",
    "interop",
    "relaxation",
    "training",
    "screening",
    "selection",
    "calculator",
    "learning",
    "testing",
    "cli",
)
HEAVY = ("ase", "cupy", "matplotlib", "numba", "rich", "scipy", "typer", "vesin")


def modules() -> dict[str, Path]:
    """Dotted name -> source file of every module of the package, the folder kernels/ under its installed name."""
    found = {}
    for root, prefix in ((PACKAGE, "etn_gpu"), (KERNELS, "etn_gpu._kernels")):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join((prefix, *(part for part in parts if part != "__init__")))] = path
    return found


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Absolute dotted names that a module of ``package`` imports, wherever in its text.

    ``from a import b`` gives ``a.b``, since b may be a module; relative imports are made absolute.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            stem = [*base, node.module] if node.module else base
            yield from (".".join([*stem, alias.name]) for alias in node.names)


def layer_of(target: str) -> str | None:
    """Layer of a dotted name below etn_gpu; a name that the package re-exports belongs to the layer it comes from."""
    name = target.split(".")[1]
    if name == "__version__":
        return None
    return etn_gpu._HOME_OF_NAME.get(name, target).split(".")[1]


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports of ``module`` that the rule forbids, as sentences."""
    layer = module.split(".")[1]
    package = module if is_package else module.rpartition(".")[0]
    complaints = []
    for target in imported_modules(source, package):
        if target == "etn_gpu" and layer != LAYERS[-1]:
            complaints.append(f"{module} imports the whole package; import from the layer that is needed")
        elif target.startswith("etn_gpu."):
            other = layer_of(target)
            if other is not None and (other not in LAYERS or LAYERS.index(other) > LAYERS.index(layer)):
                complaints.append(f"{module} (layer {layer}) imports {target} (layer {other})")
    return complaints


def test_every_file_belongs_to_a_layer() -> None:
    strangers = [name for name in modules() if name != "etn_gpu" and name.split(".")[1] not in LAYERS]
    assert not strangers, f"not in the list of layers: {strangers}; layers: {', '.join(LAYERS)}"


def test_imports_point_upwards() -> None:
    found = [
        complaint
        for module, path in modules().items()
        if module != "etn_gpu"
        for complaint in violations(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not found, "imports must only point upwards in the list of layers:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from etn_gpu.cli import app", "etn_gpu.symmetry.irreps"),
        ("import etn_gpu.training.loss", "etn_gpu.potential.model"),
        ("from etn_gpu import backend", "etn_gpu.plan.program"),
        ("from etn_gpu import load", "etn_gpu.structures.batch"),
        ("from ..plan import Program", "etn_gpu.symmetry.irreps"),
        ("from .. import plan", "etn_gpu.symmetry.irreps"),
        ("def run():\n    from etn_gpu.screening import screen", "etn_gpu.training.train"),
        ("import etn_gpu", "etn_gpu.screening.runner"),
        ("from etn_gpu.unheard import of", "etn_gpu.cli.app"),
    ],
)
def test_checker_finds_forbidden_imports(source: str, module: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from etn_gpu.errors import IrrepsError", "etn_gpu.symmetry.irreps"),
        ("from .legs import Leg", "etn_gpu.symmetry.irreps"),
        ("from ..symmetry import Irreps", "etn_gpu.plan.program"),
        ("from etn_gpu import __version__, load", "etn_gpu.training.train"),
        ("import etn_gpu", "etn_gpu.cli.app"),
        ("import numpy as np", "etn_gpu.errors"),
    ],
)
def test_checker_accepts_allowed_imports(source: str, module: str) -> None:
    assert not violations(source, module)


def test_relative_imports_of_a_package_file_start_at_the_package() -> None:
    assert not violations("from .irreps import Irreps", "etn_gpu.symmetry", is_package=True)
    assert violations("from ..plan import Program", "etn_gpu.symmetry", is_package=True)


def test_every_module_has_a_docstring() -> None:
    bare = [name for name, path in modules().items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not bare, f"modules without a docstring: {bare}"


def test_import_loads_nothing_heavy() -> None:
    script = "import sys, etn_gpu; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(process.stdout.split())
    assert "etn_gpu" in loaded
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("name", etn_gpu.__all__)
def test_public_names_resolve(name: str) -> None:
    assert name in dir(etn_gpu)
    assert getattr(etn_gpu, name) is not None


def test_public_submodules_are_those_in_the_tree() -> None:
    present = {name.split(".")[1] for name in modules() if name != "etn_gpu"}
    assert set(etn_gpu._SUBMODULES) == present - {"_kernels", "cli"}
    assert all(getattr(etn_gpu, name).__name__ == f"etn_gpu.{name}" for name in etn_gpu._SUBMODULES)


def test_unknown_attribute_lists_the_public_names() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'laod'; public names: .*\bload\b"):
        _ = etn_gpu.laod
