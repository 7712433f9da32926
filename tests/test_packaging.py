"""What a wheel carries: the list of packages, the version, the kernel sources, and the commands of the README."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import etn_gpu
from etn_gpu.errors import BackendError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module kernels/, loaded from a folder that holds known files."""
    for name, text in {"b.cu": "// kernel", "a.cuh": "// Å", "notes.txt": ""}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "__init__.py").write_text((ROOT / "kernels" / "__init__.py").read_text("utf-8"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("kernels_of_test", tmp_path / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_package_is_listed(pyproject: dict[str, Any]) -> None:
    inits = (ROOT / "etn_gpu").rglob("__init__.py")
    in_tree = {".".join(path.parent.relative_to(ROOT).parts) for path in inits} | {"etn_gpu._kernels"}
    assert set(pyproject["tool"]["setuptools"]["packages"]) == in_tree


def test_every_file_of_the_package_is_shipped(pyproject: dict[str, Any]) -> None:
    patterns = pyproject["tool"]["setuptools"]["package-data"]
    data = {
        path
        for package, globs in patterns.items()
        for pattern in globs
        for path in (
            ROOT / pyproject["tool"]["setuptools"]["package-dir"].get(package, package.replace(".", "/"))
        ).glob(pattern)
    }
    files = {path for folder in ("etn_gpu", "kernels") for path in (ROOT / folder).rglob("*") if path.is_file()}
    sources = {path for path in files if path.suffix in {".py", ".pyc", ".nbi", ".nbc"}}
    assert files - sources == data


def test_version_is_a_plain_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", etn_gpu.__version__)
    assert f"## [{etn_gpu.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_kernels_are_importable_once_installed() -> None:
    if importlib.util.find_spec("etn_gpu._kernels") is None:
        pytest.skip("etn_gpu runs from a source folder: install it (pip install -e .) to test what is installed")
    kernels = importlib.import_module("etn_gpu._kernels")
    in_tree = {path.name for suffix in ("cu", "cuh") for path in (ROOT / "kernels").glob(f"*.{suffix}")}
    assert set(kernels.available()) == in_tree


def test_kernel_sources_are_read_by_name(kernels: ModuleType) -> None:
    assert kernels.available() == ("a.cuh", "b.cu")
    assert kernels.source("b.cu") == "// kernel"
    assert kernels.source("a.cuh") == "// Å"


@pytest.mark.parametrize("name", ["b", "c.cu", "notes.txt", "../b.cu", ""])
def test_unknown_kernel_source_lists_the_others(kernels: ModuleType, name: str) -> None:
    with pytest.raises(
        BackendError, match=rf"no kernel source named '{re.escape(name)}'; installed sources: a\.cuh, b\.cu\."
    ):
        kernels.source(name)


def test_readme_has_one_command_for_each_mark() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"^<!-- (main job|tests) -->\n```bash\n([^\n]+)\n```$", text, flags=re.MULTILINE))
    assert set(commands) == {"main job", "tests"}
    assert ".venv/bin/etn-gpu screen --demo --relax" in commands["main job"]
    assert commands["tests"].endswith("pytest -q")
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands.values())
