"""Plans: a network expression becomes a Program, an immutable list of steps; its derivative is a Program again."""

from etn_gpu.plan.builder import ProgramBuilder
from etn_gpu.plan.cores import Core
from etn_gpu.plan.cost import Cost, Machine
from etn_gpu.plan.derivative import jvp, prune, vjp
from etn_gpu.plan.expression import CoreNode, NetworkExpression, VectorNode
from etn_gpu.plan.lowering import lower_network
from etn_gpu.plan.optimizer import ContractionPlan, SymmetricOptimizer, chain_plan, plan_contraction
from etn_gpu.plan.program import Program, Step, Term, Value

__all__ = [
    "ContractionPlan",
    "Core",
    "CoreNode",
    "Cost",
    "Machine",
    "NetworkExpression",
    "Program",
    "ProgramBuilder",
    "Step",
    "SymmetricOptimizer",
    "Term",
    "Value",
    "VectorNode",
    "chain_plan",
    "jvp",
    "lower_network",
    "plan_contraction",
    "prune",
    "vjp",
]
