"""SIMD values for numba: a register of 64 bytes as a numba type, with load, store, arithmetic and a horizontal sum.

numba has no vector type, and LLVM does not vectorise table-driven loops whose rows lie in one array, because it
cannot prove that they do not overlap. With an explicit vector type the inner loops of the kernels are vector code on
any CPU (LLVM splits the 64 bytes where registers are shorter).
"""

from __future__ import annotations

from typing import Any

import numba.extending
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

BYTES = 64
# numba annotates it as the function that types a call; inside compiled code the call itself is made.
intrinsic: Any = numba.extending.intrinsic


class VectorType(types.Type):
    """A vector of ``BYTES`` of float64 or float32."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        self.lanes = BYTES * 8 // scalar.bitwidth
        super().__init__(name=f"Vector({scalar}x{self.lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend: VectorType) -> None:
        super().__init__(manager, frontend, ir_type(frontend))


def ir_type(vector: VectorType) -> ir.VectorType:
    """LLVM type of a vector."""
    return ir.VectorType(ir.DoubleType() if vector.scalar.bitwidth == 64 else ir.FloatType(), vector.lanes)


def lanes(dtype: Any) -> int:
    """Number of lanes of a vector of ``dtype``."""
    return BYTES // dtype.itemsize


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: VectorType) -> Any:
    data = numba.core.cgutils.create_struct_proxy(array_type)(context, builder, array).data
    element = builder.gep(data, [index])
    return builder.bitcast(element, ir_type(vector).as_pointer())


@intrinsic
def vload(typingctx: Any, array: Any, index: Any) -> Any:
    """The vector that starts at ``array[index]`` (array: 1-D, contiguous; no bounds check)."""
    vector = VectorType(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], vector))
        value.align = array.dtype.bitwidth // 8
        return value

    return vector(array, types.intp), codegen


@intrinsic
def vstore(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Store a vector at ``array[index]``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store = builder.store(
            args[2], _pointer(context, builder, signature.args[0], args[0], args[1], signature.args[2])
        )
        store.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def vsplat(typingctx: Any, array: Any, scalar: Any) -> Any:
    """A vector with ``scalar`` in every lane, of the dtype of ``array``."""
    vector = VectorType(array.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = context.cast(builder, args[1], signature.args[1], array.dtype)
        single = builder.insert_element(ir.Constant(ir_type(vector), ir.Undefined), value, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(single, ir.Constant(ir_type(vector), ir.Undefined), mask)

    return vector(array, scalar), codegen


def _binary(name: str) -> Any:
    def typer(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(*args)

        return a(a, b), codegen

    typer.__name__ = name
    return intrinsic(typer)


vsub, vmul, vdiv = (_binary(name) for name in ("fsub", "fmul", "fdiv"))


@intrinsic
def vfma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir_type(a)
        suffix = f"v{a.lanes}f{a.scalar.bitwidth}"
        function = numba.core.cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{suffix}"
        )
        return builder.call(function, args)

    return a(a, b, c), codegen


@intrinsic
def vsqrt(typingctx: Any, a: Any) -> Any:
    """Square root of every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir_type(a)
        suffix = f"v{a.lanes}f{a.scalar.bitwidth}"
        function = numba.core.cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.sqrt.{suffix}"
        )
        return builder.call(function, args)

    return a(a), codegen


@intrinsic
def vbetween(typingctx: Any, a: Any, low: Any, high: Any, inside: Any, outside: Any) -> Any:
    """``inside`` where low < a < high or a is not a number, else ``outside``, lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        above = builder.fcmp_unordered(">", args[0], args[1])
        below = builder.fcmp_unordered("<", args[0], args[2])
        return builder.select(builder.and_(above, below), args[3], args[4])

    return a(a, low, high, inside, outside), codegen


@intrinsic
def vsum(typingctx: Any, a: Any) -> Any:
    """Sum of the lanes by halves: the order is fixed, so the result is reproducible."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, width = args[0], a.lanes
        while width > 1:
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(
                    value, undefined, ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(s, s + width)))
                )
                for s in (0, width)
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.IntType(32)(0))

    return a.scalar(a), codegen
