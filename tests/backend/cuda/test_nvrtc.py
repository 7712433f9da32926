"""Every kernel compiles for every GPU of the last years, into so many registers and without spilling any."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from etn_gpu.backend.cuda import cubins, nvrtc, signatures, sources
from etn_gpu.backend.cuda.nvrtc import Compiled, Compiler, Resources
from etn_gpu.errors import BackendError
from tests.emulator import require_compiler

pytestmark = pytest.mark.nvrtc

ARCHITECTURES = (80, 90, 100)
#: Registers of a thread, at most. With 72 (80), seven (six) blocks of 128 threads share a multiprocessor.
MOST_REGISTERS = {
    "neighbours.cu": {
        "species_keys": 24,
        "make_grids": 72,
        "count_bins": 48,
        "fill_bins": 56,
        "count_edges": 72,
        "fill_edges": 80,
        "reverse_edges": 40,
        "edge_vectors": 72,
    },
    "sums.cu": {
        "add_references_float32": 24,
        "add_references_float64": 24,
        "edge_sums_float32": 80,
        "edge_sums_float64": 80,
        "segment_sum_float32": 40,
        "segment_sum_float64": 40,
        "segment_min_float64": 40,
    },
    "margins.cu": {"atom_margins": 48},
    "terms.cu": {
        "site_terms": 72,
        "site_energies_float32": 32,
        "site_energies_float64": 32,
        "add_to_gradients_float32": 72,
        "add_to_gradients_float64": 72,
    },
    "relax.cu": {
        "relax_place": 56,
        "relax_forces": 64,
        "relax_symmetrise": 64,
        "relax_largest": 40,
        "relax_lbfgs": 128,
        "relax_fire": 56,
        "relax_advance": 72,
        "relax_gather_float64": 32,
        "relax_gather_int64": 32,
    },
    "slots.cu": {"fill_slots": 24},
    "exchanges.cu": {
        "gather_neighbours_float32": 40,
        "gather_neighbours_float64": 40,
        "sum_reverse_float32": 40,
        "sum_reverse_float64": 40,
    },
    "tiles.cu": {
        "gather_kept_float32": 40,
        "gather_tiles_float32": 40,
        "gather_tiles_float64": 40,
        "scatter_tiles_float32": 40,
        "scatter_tiles_float64": 40,
        "column_sums": 64,
    },
}
SOURCES = [name for name in sources.available() if name.endswith(".cu")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_registers_and_spills(compiler: Compiler, name: str, architecture: int) -> None:
    text = sources.source(name)
    compiled = compiler.compile(text, name, architecture)
    assert compiled.cubin.startswith(b"\x7fELF")
    resources = compiled.resources()
    assert resources.keys() == signatures.parse(text, name).keys() == MOST_REGISTERS[name].keys()
    for kernel, used in resources.items():
        assert 0 < used.registers <= MOST_REGISTERS[name][kernel], kernel
        assert used.spilled == 0, kernel
        assert used.shared <= 48 * 1024, kernel


def test_no_source_without_bounds() -> None:
    assert set(SOURCES) == set(MOST_REGISTERS)


SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) spill(double* x) {
    double own[64];  // 128 registers of the 64 that each of 1024 threads can have
    for (int k = 0; k < 64; k++) own[k] = x[threadIdx.x + 1024 * k];
    __syncthreads();
    for (int k = 0; k < 64; k++) x[threadIdx.x * 64 + k] = own[k];
}"""


def test_spilled_registers_are_seen(compiler: Compiler) -> None:
    used = compiler.compile(SPILLING, "spill.cu", 90).resources()["spill"]
    assert used.registers == 64
    assert used.spilled > 0


def test_shared_memory_is_seen(compiler: Compiler) -> None:
    text = """extern "C" __global__ void __launch_bounds__(32) k(int* x) {
        __shared__ int s[100]; s[threadIdx.x] = x[threadIdx.x]; __syncwarp(); x[threadIdx.x] = s[31 - threadIdx.x]; }"""
    used = compiler.compile(text, "k.cu", 90).resources()["k"]
    assert used == Resources(used.registers, spilled=0, shared=400, stack=0)


def test_errors_show_file_line_and_log(compiler: Compiler) -> None:
    text = sources.source("sums.cu").replace("partial[t] = own;", "partial[t] = unheard_of;")
    with pytest.raises(
        BackendError, match=r'(?s)sums.cu does not compile for sm_90.*sums.cu\(\d+\): error: .*"unheard_of"'
    ):
        compiler.compile(text, "sums.cu", 90)


def test_gpus_that_the_compiler_does_not_know(compiler: Compiler) -> None:
    with pytest.raises(BackendError, match=r"NVRTC 13.\d+ .* cannot compile for sm_35; it can for sm_\d+ to sm_\d+"):
        compiler.compile(SPILLING, "spill.cu", 35)


class TestCache:
    """Machine code is kept on disk."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("ETN_GPU_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    @pytest.fixture
    def counted(self, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        calls: list[int] = []
        real = Compiler.compile

        def count(self: Compiler, text: str, origin: str, architecture: int) -> Compiled:
            calls.append(architecture)
            return real(self, text, origin, architecture)

        monkeypatch.setattr(Compiler, "compile", count)
        return calls

    def test_a_source_is_compiled_once_for_each_gpu(self, compiler: Compiler, counted: list[int], folder: Path) -> None:
        text = sources.source("sums.cu")
        paths = [cubins.compiled(compiler, text, "sums.cu", a) for a in (80, 90, 80, 90)]
        assert counted == [80, 90]
        assert paths[:2] == paths[2:]
        assert {path.parent for path in paths} == {folder}
        assert all(path.read_bytes().startswith(b"\x7fELF") for path in paths)

    def test_another_text_is_another_file(self, compiler: Compiler, counted: list[int]) -> None:
        text = sources.source("sums.cu")
        first = cubins.compiled(compiler, text, "sums.cu", 90)
        assert cubins.compiled(compiler, text.replace("192", "96"), "sums.cu", 90) != first
        assert counted == [90, 90]

    def test_a_damaged_file_is_made_again(self, compiler: Compiler, counted: list[int]) -> None:
        path = cubins.compiled(compiler, SPILLING, "spill.cu", 90)
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        assert cubins.compiled(compiler, SPILLING, "spill.cu", 90).read_bytes() == whole
        assert counted == [90, 90]

    def test_a_cache_that_cannot_be_written(self, compiler: Compiler, folder: Path) -> None:
        folder.write_text("a file, no folder")
        path = cubins.compiled(compiler, SPILLING, "spill.cu", 90)
        assert path.parent != folder
        assert path.read_bytes().startswith(b"\x7fELF")


FAKE = {
    "libnvrtc.so.77": """extern "C" int nvrtcVersion(int* major, int* minor) { *major = 77, *minor = 3; return 0; }
        extern "C" const char* nvrtcGetErrorString(int) { return "an error"; }
        extern "C" int nvrtcDestroyProgram(void**) { return 0; }""",
    "libnvrtc-builtins.so.77.3": "int builtins;",
}


@pytest.mark.emulator
def test_the_library_that_nvrtc_opens_by_name_is_loaded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The wheel of 13.0, which torch brings, has no path to it: no kernel would compile, CuPy's own neither.
    require_compiler()
    folder = tmp_path / "lib64"
    folder.mkdir()
    for name, text in FAKE.items():
        command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(folder / name)]
        subprocess.run(command, input=text, text=True, check=True)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    assert nvrtc.compiler(77).version == (77, 3)
    assert str(folder / "libnvrtc-builtins.so.77.3") in Path("/proc/self/maps").read_text()


def test_nvrtc_of_a_version_that_is_not_installed() -> None:
    with pytest.raises(BackendError, match=r"compiler of CUDA 99, is missing \(libnvrtc.so.99 .*etn_gpu\[cuda99\]"):
        nvrtc.compiler(99)
