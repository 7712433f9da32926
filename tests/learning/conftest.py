"""A module of teachers with all their vices, as a user would write it, in the present folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

TEACHERS = '''
import os, signal, subprocess, sys, time
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

def chaos(folder="."):
    return Chaos(folder)

class Chaos(EMT):
    """Does what the number of atoms says."""
    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        open(f"{folder}/made", "a").write("made ")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        n = len(atoms)
        print("loud " * 20000)
        os.write(1, b"louder " * 20000)
        if n == 2:
            raise ValueError("two atoms are too few\\nfor me")
        if n == 3:
            os._exit(7)
        if n == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if n == 5:
            child = subprocess.Popen(["sleep", "1000"])
            open(f"{self.folder}/child", "w").write(str(child.pid))
            time.sleep(1000)
        if n == 6:
            sys.exit("no more licences")
        super().calculate(atoms, properties, system_changes)

def breaks():
    raise RuntimeError("no licence")

def dies():
    os._exit(3)

def hangs(folder):
    open(f"{folder}/pid", "w").write(str(os.getpid()))
    return Hanging(folder)

class Hanging(EMT):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def calculate(self, *arguments):
        open(f"{self.folder}/begun", "w").close()
        time.sleep(1000)

class Where(EMT):
    """Tells where it is."""
    def __init__(self, folder):
        super().__init__(directory="calc")
        self.folder = folder

    def calculate(self, *arguments):
        number = os.environ["ETN_GPU_WORKER"]
        threads = [os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")]
        with open(f"{self.folder}/where-{number}", "w") as file:
            file.write(" ".join([self.directory, *threads]))
        super().calculate(*arguments)

class Sums:
    @staticmethod
    def make(threads=None):
        return EMT()

answer = 42
'''


@pytest.fixture
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module in the present folder, another one for each test."""
    name = f"teachers_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TEACHERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def chain() -> Callable[[int], Atoms]:
    """A row of copper atoms."""

    def make(n: int) -> Atoms:
        return Atoms(f"Cu{n}", positions=np.outer(np.arange(n), [2.5, 0.1, 0.0]))

    return make
