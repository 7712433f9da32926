"""Headers in place of includes, and signatures of kernels."""

from __future__ import annotations

import numpy as np
import pytest

from etn_gpu.backend.cuda import signatures, sources
from etn_gpu.backend.cuda.signatures import Parameter
from etn_gpu.errors import BackendError

HEADERS = {
    "a.cuh": '#pragma once\n#include "b.cuh"\nint a;',
    "b.cuh": "int b;",
}


def test_headers_are_put_in_place_once_and_lines_are_kept() -> None:
    text = sources.inline(
        '// kernel\n#include "a.cuh"\n  # include "b.cuh" // again\nint k;', "k.cu", HEADERS.__getitem__
    )
    assert text.splitlines() == [
        '#line 1 "k.cu"',
        "// kernel",
        '#line 1 "a.cuh"',
        "",
        '#line 1 "b.cuh"',
        "int b;",
        '#line 3 "a.cuh"',
        "int a;",
        '#line 3 "k.cu"',
        "",
        "int k;",
    ]


def test_headers_of_others_cannot_be_included() -> None:
    with pytest.raises(BackendError, match=r"k.cu, line 2: #include <cuda_fp16.h> cannot be found at run time"):
        sources.inline("\n#include <cuda_fp16.h>", "k.cu")
    with pytest.raises(BackendError, match=r"no kernel source named 'missing.cuh'; installed sources: .*neighbours.cu"):
        sources.inline('#include "missing.cuh"', "k.cu")


def test_every_source_has_its_headers_in_place() -> None:
    kernels = [name for name in sources.available() if name.endswith(".cu")]
    assert {"neighbours.cu", "sums.cu"} <= set(kernels)
    for name in kernels:
        assert "#include" not in sources.source(name)
        assert signatures.parse(sources.source(name), name)


def test_signatures() -> None:
    text = """
        // extern "C" __global__ void __launch_bounds__(32) commented(int n) {}
        constexpr int THREADS = 96;
        #define WIDE 512
        extern "C" __global__ void __launch_bounds__(THREADS, 2) first(
            const double* __restrict__ x, float * y,  /* rows */ long long n, const bool flag, unsigned  int mask) {}
        extern "C" __global__ void __launch_bounds__( WIDE ) second() {}
    """
    found = signatures.parse(text, "k.cu")
    assert list(found) == ["first", "second"]
    assert [found[name].threads for name in found] == [96, 512]
    assert found["second"].parameters == ()
    assert found["first"].parameters == (
        Parameter("x", np.dtype("float64"), is_array=True, is_output=False),
        Parameter("y", np.dtype("float32"), is_array=True, is_output=True),
        Parameter("n", np.dtype("int64"), is_array=False, is_output=False),
        Parameter("flag", np.dtype("bool"), is_array=False, is_output=False),
        Parameter("mask", np.dtype("uint32"), is_array=False, is_output=False),
    )


KERNEL = 'extern "C" __global__ void __launch_bounds__({bounds}) k({parameters}) {{}}'


@pytest.mark.parametrize("parameters", ["size_t n", "int4* v", "double& x", "double** x", "const double x[3]", "int"])
def test_arguments_that_cannot_be_passed(parameters: str) -> None:
    with pytest.raises(BackendError, match=r"k.cu, kernel k: the argument '.*' cannot be passed; expected a scalar or"):
        signatures.parse(KERNEL.format(bounds=64, parameters=f"int n, {parameters}"), "k.cu")


@pytest.mark.parametrize("bounds", ["", "0", "48", "2048", "N"])
def test_blocks_of_impossible_size(bounds: str) -> None:
    with pytest.raises(BackendError, match=rf"k.cu, kernel k: __launch_bounds__\({bounds}\) was found, expected one"):
        signatures.parse(KERNEL.format(bounds=bounds, parameters=""), "k.cu")


def test_a_text_without_kernels() -> None:
    with pytest.raises(BackendError, match=r"k.cu holds no kernel: expected functions that begin with extern"):
        signatures.parse("__device__ int f() { return 1; }", "k.cu")
