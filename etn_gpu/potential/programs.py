"""The Programs of a potential, derived from one energy Program by jvp and vjp.

Inputs: ``x`` the edge vectors in A, components (x, y, z); the parameters of the network under their names. Derived
Programs add ``dx``, a tangent of the edge vectors, and cotangents of the outputs. Reference energies are no part of
them: see :mod:`etn_gpu.potential.references`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from etn_gpu.plan import ContractionPlan, Program, jvp, plan_contraction, prune, vjp
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.formulation import Form
from etn_gpu.potential.network_program import energy_program


@dataclass(frozen=True)
class Programs:
    """All Programs of one potential; made lazily and once."""

    form: Form

    @cached_property
    def plan(self) -> ContractionPlan | None:
        """The contraction of the train of a network, planned by opt_einsum."""
        return plan_contraction(self.form.train.expression) if isinstance(self.form, Architecture) else None

    @cached_property
    def energy(self) -> Program:
        """Atomic energies beyond the references ``e`` [atom, 1], or the covariant output ``e`` [atom, 2l+1]."""
        if not isinstance(self.form, Architecture):
            return self.form.energy
        assert self.plan is not None
        return energy_program(self.form, self.plan)

    @cached_property
    def gradient(self) -> Program:
        """``e`` and ``g`` [edge, 3] = sum over atoms of ``e_bar`` de/dx."""
        return vjp(self.energy, {"e": "e_bar"}, {"x": "g"})

    @cached_property
    def directional(self) -> Program:
        """``e`` and ``d_e``: the derivative of each atomic energy along ``dx``."""
        return jvp(self.energy, {"x": "dx"})

    @cached_property
    def parameter_gradient(self) -> Program:
        """Gradient of ``sum e_bar . e + de_bar . (de/dx dx)`` with respect to each parameter p, as output ``p_bar``.

        With dx the cotangent of the edge gradients this is the gradient of any loss of energies, forces and stresses
        (the derivative of E along dx is linear in dx, and d/dx commutes with d/dp); with dx a displacement it is a row
        of the Jacobian of a force.
        """
        names = {p: f"{p}_bar" for p in self.form.network_shapes}
        program = vjp(self.directional, {"e": "e_bar", "d_e": "de_bar"}, names, keep=False)
        return prune(program, tuple(names.values()))

    @cached_property
    def energy_parameter_gradient(self) -> Program:
        """Gradient of ``sum e_bar . e`` with respect to each parameter p, as output ``p_bar``."""
        names = {p: f"{p}_bar" for p in self.form.network_shapes}
        return vjp(self.energy, {"e": "e_bar"}, names, keep=False)

    @cached_property
    def hessian_vector(self) -> Program:
        """``d_g`` [edge, 3]: the derivative of the edge gradients along ``dx``."""
        return prune(jvp(self.gradient, {"x": "dx"}), ("d_g",))


@lru_cache(maxsize=32)
def programs(form: Form) -> Programs:
    """The Programs of a potential of this form."""
    return Programs(form)
