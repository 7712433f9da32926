"""jvp and vjp: the derivative of a Program is a Program.

Every multilinear term is differentiated slot by slot (product rule); its adjoint is the same form with another output
slot. The nonlinear operations have derivatives that are couplings:

* functions of scalars: d f^(k) = f^(k+1) ds, componentwise;
* solid harmonics: d R_l = l a_l C^{1, l-1, l}(dx, R_{l-1}) with R_l = a_l C^{1, l-1, l}(x, R_{l-1}), because R_l is the
  traceless symmetric part of the l-fold product of x.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from etn_gpu.errors import PlanError
from etn_gpu.plan.builder import ProgramBuilder
from etn_gpu.plan.operations import (
    MULTILINEAR,
    Constant,
    Couple,
    CoupleBlock,
    Functions,
    Harmonics,
    Nearest,
    OfScalars,
)
from etn_gpu.plan.program import Program, Term, Value, identity
from etn_gpu.symmetry import stretch_factor


def jvp(program: Program, tangents: Mapping[str, str], *, prefix: str = "d_") -> Program:
    """Forward derivative. ``tangents`` maps inputs to the names of new inputs that hold their tangents.

    The result has all outputs of ``program`` and, for each output that depends on a differentiated input, an output
    ``prefix + name``. PlanError when an input is unknown, a new name is taken, or no output depends on the inputs.
    """
    _need_inputs(program, tangents)
    builder = ProgramBuilder(program)
    tangent: dict[str, str] = {}
    for name, new in tangents.items():
        value = program.values[name]
        tangent[name] = builder.input(new, value.space, value.size).name
    for step in program.steps:
        terms = [t for term in step.terms for t in _forward(builder, term, tangent)]
        if terms:
            tangent[step.out.name] = builder.step(prefix + step.out.name, step.out.space, terms).name
    outputs = dict(program.outputs)
    new_outputs = {prefix + k: tangent[v] for k, v in program.outputs if v in tangent}
    if not new_outputs:
        raise PlanError(f"no output of the Program depends on {sorted(tangents)}")
    for name, derivative in new_outputs.items():
        _add_output(outputs, name, derivative)
    return builder.build(outputs, keep_inputs=tangents.values())


def vjp(program: Program, cotangents: Mapping[str, str], wrt: Mapping[str, str], *, keep: bool = True) -> Program:
    """Reverse derivative: ``sum over outputs of (d output / d input)^T cotangent``.

    ``cotangents`` maps outputs to the names of new inputs that hold their cotangents, ``wrt`` inputs to the names of
    new outputs that receive their gradients. With ``keep`` the outputs of ``program`` stay outputs. An input on which
    nothing depends gives a zero gradient. PlanError when an output or an input is unknown or a new name is taken.
    """
    _need_inputs(program, wrt)
    builder = ProgramBuilder(program)
    pending: dict[str, list[Term]] = {}
    for name, new in cotangents.items():
        value = program.output(name)
        builder.input(new, value.space, value.size)
        pending.setdefault(value.name, []).append(identity(value, new))
    active = _depends_on(program, wrt)
    for step in reversed(program.steps):
        if step.out.name not in pending or step.out.name not in active:
            continue
        bar = _collect(builder, step.out, pending.pop(step.out.name))
        for term in step.terms:
            for name, adjoint in _backward(builder, term, bar, active):
                pending.setdefault(name, []).append(adjoint)
    outputs = dict(program.outputs) if keep else {}
    for name, new in wrt.items():
        value = program.values[name]
        terms = pending.get(name) or [Term(Constant(value.size, 0, value.size, 0.0), 0, ())]
        _add_output(outputs, new, _collect(builder, value, terms))
    return builder.build(outputs, keep_inputs=cotangents.values())


def prune(program: Program, outputs: Mapping[str, str] | tuple[str, ...]) -> Program:
    """Keep only the named outputs (renamed when a mapping old -> new is given) and what they need."""
    names = dict(outputs) if isinstance(outputs, Mapping) else {n: n for n in outputs}
    return ProgramBuilder(program).build({new: program.output(old).name for old, new in names.items()})


def _need_inputs(program: Program, names: Mapping[str, str]) -> None:
    inputs = {v.name for v in program.inputs}
    if missing := sorted(set(names) - inputs):
        raise PlanError(f"cannot differentiate with respect to {missing}: the inputs are {sorted(inputs)}")


def _add_output(outputs: dict[str, str], name: str, value: str) -> None:
    if name in outputs:
        raise PlanError(f"the derivative would be a second output {name!r}; choose another name")
    outputs[name] = value


def _depends_on(program: Program, names: Mapping[str, str]) -> set[str]:
    active = set(names)
    for step in program.steps:
        if any(name in active for term in step.terms for name in term.operands):
            active.add(step.out.name)
    return active


def _collect(builder: ProgramBuilder, value: Value, terms: list[Term]) -> str:
    """One value that sums the adjoint contributions; a lone plain copy is not repeated."""
    if len(terms) == 1 and terms[0] == identity(value, terms[0].operands[0] if terms[0].operands else ""):
        return terms[0].operands[0]
    return builder.step(f"{value.name}~", value.space, terms).name


def _forward(builder: ProgramBuilder, term: Term, tangent: Mapping[str, str]) -> list[Term]:
    if isinstance(term.operation, MULTILINEAR):
        out = []
        for i, name in enumerate(term.operands):
            if name in tangent:
                operands = (*term.operands[:i], tangent[name], *term.operands[i + 1 :])
                out.append(replace(term, operands=operands))
        return out
    if isinstance(term.operation, Constant | Nearest) or not _differentiable(term, tangent):
        return []
    form, other, slot = _linearise(builder, term)
    operands = _ordered({slot: tangent[term.operands[0]], **other})
    return [Term(form, 2, operands, term.scale)]


def _backward(builder: ProgramBuilder, term: Term, bar: str, active: set[str]) -> list[tuple[str, Term]]:
    if isinstance(term.operation, Constant | Nearest):
        return []
    if isinstance(term.operation, MULTILINEAR):
        at = dict(zip(term.operand_slots, term.operands, strict=True))
        at[term.slot] = bar
        out = []
        for slot, name in zip(term.operand_slots, term.operands, strict=True):
            if name in active:
                operands = _ordered({s: n for s, n in at.items() if s != slot})
                out.append((name, Term(term.operation, slot, operands, term.scale)))
        return out
    if not _differentiable(term, active):
        return []
    form, other, slot = _linearise(builder, term)
    return [(term.operands[0], Term(form, slot, _ordered({2: bar, **other}), term.scale))]


def _differentiable(term: Term, active: Container[str]) -> bool:
    """Whether a nonlinear term depends on active values; PlanError where it does by its parameters."""
    for name in term.operands[1:]:
        if name in active:
            raise PlanError(f"{term.operation.name} has no derivative with respect to its parameters {name!r}")
    return term.operands[0] in active


def _ordered(at: Mapping[int, str]) -> tuple[str, ...]:
    """Operand names in slot order."""
    return tuple(at[s] for s in sorted(at))


def _linearise(builder: ProgramBuilder, term: Term) -> tuple[Couple, dict[int, str], int]:
    """The bilinear form of d(term), with output slot 2: (form, value in its other slot, slot of the tangent)."""
    operation = term.operation
    if isinstance(operation, OfScalars):
        higher = Term(replace(operation, order=operation.order + 1), term.slot, term.operands)
        space = builder.value(term.operands[0]).space
        slope = builder.step(f"{operation.name}{operation.order + 1}", space, (higher,))
        n = operation.count if isinstance(operation, Functions) else 1
        block = CoupleBlock((0, 0, 0), (0, 0, 0), (slope.size // n, n, 1), ((n, 1, 0), (0, 1, 0), (n, 1, 0)))
        return Couple((slope.size, n, slope.size), (block,)), {0: slope.name}, 1
    if isinstance(operation, Harmonics):
        value = builder.step("harmonics", "edge", (replace(term, scale=1.0),))
        once = ((0, 0, 0), (0, 0, 0), (0, 0, 0))
        blocks = tuple(
            CoupleBlock((1, deg - 1, deg), (0, (deg - 1) ** 2, deg**2), (1, 1, 1), once, deg * stretch_factor(deg))
            for deg in range(1, operation.lmax + 1)
        )
        return Couple((3, value.size, value.size), blocks), {1: value.name}, 0
    raise PlanError(f"the operation {operation.name!r} has no derivative rule")
