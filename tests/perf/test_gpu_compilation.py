"""perf/gpu_suite.py compiles beside everything else: what is not there in time is not run, and no process is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from etn_gpu.backend.cuda import executor, nvrtc
from etn_gpu.errors import BackendError

pytestmark = pytest.mark.emulator

Perf = Callable[[str], ModuleType]
Suite = Callable[..., dict[str, Any]]
FOR_EVER = ["-c", "import time; time.sleep(600)"]


#: As much of a compiler as is looked at before anything is compiled.
COMPILER = SimpleNamespace(version=(13, 0), origin="/nowhere/libnvrtc.so.13")


def children() -> dict[int, str]:
    """State of each process that this one has started, such as S or T, by its number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == os.getpid():
            found[int(path.parent.name)] = state
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def background(perf: Perf) -> Iterator[Callable[..., Any]]:
    """Starts commands that are ended with the test."""
    made: list[Any] = []

    def start(commands: dict[str, list[str]], at_once: int = 2) -> Any:
        made.append(perf("gpu.background").Background(commands, at_once))
        return made[-1]

    yield start
    for one in made:
        one.stop()


class TestBackground:
    def test_rows_and_failures(self, background: Callable[..., Any]) -> None:
        started = background(
            {
                "row": ["-c", "import gpu.section, json; print(json.dumps({'seconds': 1.5}))"],
                "error": ["-c", "raise ValueError('no such thing')"],
                "silent": ["-c", "import os; os._exit(3)"],
            }
        )
        assert started.result("row", None) == {"seconds": 1.5}
        for name, message in {"error": "ValueError: no such thing", "silent": "exit status 3"}.items():
            with pytest.raises(BackendError, match=message):
                started.result(name, None)

    def test_nothing_is_left(self, background: Callable[..., Any]) -> None:
        before = children()
        started = background({str(k): FOR_EVER for k in range(4)})
        wait_for(lambda: len(children()) == len(before) + 2)
        with pytest.raises(TimeoutError):
            started.result("0", 0.0)
        start = time.monotonic()
        with started.paused():
            started.stop()
        assert time.monotonic() - start < 5.0
        assert children().keys() == before.keys()
        for name in ("0", "3"):
            with pytest.raises(TimeoutError, match="not run to its end"):
                started.result(name, None)

    def test_nothing_runs_while_something_is_timed(self, background: Callable[..., Any]) -> None:
        before = children()
        started = background({"0": FOR_EVER, "1": FOR_EVER})

        def states() -> set[str]:
            return {state for number, state in children().items() if number not in before}

        wait_for(lambda: len(children()) == len(before) + 2)
        with started.paused():
            wait_for(lambda: states() == {"T"})
        wait_for(lambda: "T" not in states())


class TestNotCompiled:
    @pytest.fixture
    def never(self, perf: Perf, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is ever compiled; it would be an error to do so in this process."""
        prepare, background = perf("gpu.prepare"), perf("gpu.background").Background
        monkeypatch.setattr(prepare, "Background", lambda names, n, _: background(dict.fromkeys(names, FOR_EVER), 2))
        monkeypatch.setattr(
            prepare,
            "started",
            lambda bench, sections: prepare.Compilation(prepare.needed(bench, sections), COMPILER, 90),
        )
        monkeypatch.setattr(prepare, "FIRST_UNTIL", 0.0)
        monkeypatch.setattr(prepare, "REST_UNTIL", 0.0)
        monkeypatch.setattr(executor, "DeviceProgram", lambda *_: pytest.fail("a Program is compiled here"))

    @pytest.mark.usefixtures("never")
    def test_checks_are_not_run_and_the_suite_has_not_passed(self, suite: Suite) -> None:
        before = children()
        report = suite("--only", "machine", "programs", "other_programs", "structures", "registry")
        assert (report["status"], report["failures"], report["passed"]) == (0, [], False)
        sections = report["sections"]
        assert [len(sections[name]["rows"]) for name in ("compilation", "other_compilation")] == [4, 2]
        checks = [r for n in ("programs", "other_programs", "structures", "registry") for r in sections[n]["rows"]]
        assert len(checks) == 9
        assert all(row["passed"] is None and "not compiled in time" in row["not_run"] for row in checks)
        assert len(report["incomplete"]) == 9
        assert report["incomplete"][0].startswith("programs: evaluation, tiny, float32: gradient, tiny, float32: not")
        assert children().keys() == before.keys()

    @pytest.mark.usefixtures("never")
    def test_crystals(self, perf: Perf, bench: Any, report: Any) -> None:
        crystals = perf("gpu.throughput").CRYSTALS
        bench.compilation = perf("gpu.prepare").started(bench, [crystals])
        try:
            perf("gpu.running").run_section(crystals, bench, report)
        finally:
            bench.compilation.stop()
        assert len(bench.rows["crystals"]) == 4
        assert all(row.keys() == {"case", "not_run", "passed"} for row in bench.rows["crystals"])
        assert perf("gpu.running").incomplete(report, set())[0].startswith("crystals: tiny, 32 atoms, float32: grad")


@pytest.mark.nvrtc
class TestCompiled:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        try:
            nvrtc.compiler(13)
        except BackendError as error:
            pytest.skip(str(error))
        monkeypatch.setenv("ETN_GPU_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_one_program(self, perf: Perf, cache: Path) -> None:
        only, code = perf("gpu.compile_only"), perf("gpu.section").Code("tiny", "energy", "float32")
        row = only.compile_program(code, only.CompileOnly(only.dotted(nvrtc.compiler(13)), 90))
        assert row["stages"] == 2
        assert len(list(cache.glob("*.cubin"))) == 3  # and tiles.cu

    def test_a_program_that_does_not_compile(self, perf: Perf) -> None:
        code = perf("gpu.section").Code("tiny", "energy", "float32")
        compilation = perf("gpu.prepare").Compilation([code._replace(model="none")], nvrtc.compiler(13), 90)
        try:
            with pytest.raises(BackendError, match=r"ModelFileError: .*'none'"):
                compilation.wait(compilation.codes[0], None)
            assert compilation.obstacle(compilation.codes[0]).startswith("not compiled: ")
        finally:
            compilation.stop()

    def test_another_version(self, perf: Perf) -> None:
        """Machine code of another compiler would not be found, and the Program compiled once more."""
        with pytest.raises(BackendError, match=r"NVRTC 13\.\d+ was found \(.*\), expected 13\.99"):
            perf("gpu.compile_only").CompileOnly("13.99", 90)

    def test_a_library_known_by_its_name(self, perf: Perf) -> None:
        loaded = Path(nvrtc.compiler(13).origin)
        environment = perf("gpu.compile_only").environment
        assert environment(SimpleNamespace(origin=str(loaded))) == {}
        assert environment(SimpleNamespace(origin="libnvrtc.so.99")) == {}
        found = environment(SimpleNamespace(origin="libnvrtc.so.13"))["LD_LIBRARY_PATH"]
        assert Path(found.split(os.pathsep)[0]) == loaded.resolve().parent

    def test_a_folder_that_cannot_be_written(self, perf: Perf, cache: Path) -> None:
        cache.write_text("no folder")
        only, code = perf("gpu.compile_only"), perf("gpu.section").Code("tiny", "energy", "float32")
        with pytest.raises(BackendError, match="cannot be written: set ETN_GPU_CACHE"):
            only.compile_program(code, only.CompileOnly(only.dotted(nvrtc.compiler(13)), 90))

    def test_beforehand(
        self, perf: Perf, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """All that the script needs is found in the cache, and nothing else is compiled."""
        prepare, script = perf("gpu.prepare"), perf("gpu_suite")
        monkeypatch.setattr(prepare, "FULL", perf("gpu.section").TINY)
        monkeypatch.setattr("sys.argv", ["gpu_suite.py", "--compile", "90", "--only", "kernels", "programs"])
        with pytest.raises(SystemExit) as stop:
            script.main()
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert said.startswith(f"NVRTC {'.'.join(map(str, nvrtc.compiler(13).version))}, which must be that of the")
        assert "energy, tiny, float64: " in said
        assert "4 of 4 Programs" in said
        before = {path.name for path in cache.iterdir()}
        only = perf("gpu.compile_only")
        only.compile_sources(only.CompileOnly(only.dotted(nvrtc.compiler(13)), 90))
        for program in ("gradient", "energy"):
            only.compile_program(
                perf("gpu.section").Code("tiny", program, "float32"),
                only.CompileOnly(only.dotted(nvrtc.compiler(13)), 90),
            )
        assert {path.name for path in cache.iterdir()} == before

    def test_beforehand_fails(
        self, perf: Perf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        prepare, background = perf("gpu.prepare"), perf("gpu.background").Background
        monkeypatch.setattr(prepare, "FULL", perf("gpu.section").TINY)
        monkeypatch.setattr(prepare, "compile_sources", lambda device: {"seconds": 0.0})
        failing = ["-c", "raise SystemExit('no room')"]
        monkeypatch.setattr(prepare, "Background", lambda names, n, _: background(dict.fromkeys(names, failing), n))
        assert not prepare.beforehand(90, [perf("gpu.program_checks").FIRST])
        assert "gradient, tiny, float32: FAILED: no room" in capsys.readouterr().out
