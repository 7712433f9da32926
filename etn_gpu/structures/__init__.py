"""Ragged batches of structures with neighbour lists, streaming readers, labels and their audit, units."""

from __future__ import annotations

from etn_gpu.structures.audit import ElementAudit, LabelAudit, PropertyAudit
from etn_gpu.structures.batch import StructureBatch
from etn_gpu.structures.formats import check_format
from etn_gpu.structures.frame import Frame
from etn_gpu.structures.label_keys import LabelKeys
from etn_gpu.structures.label_origin import LabelOrigin
from etn_gpu.structures.labels import LabelledSet, collect_labels, read_labelled
from etn_gpu.structures.reader import read_structures
from etn_gpu.structures.species_map import parse_species
from etn_gpu.structures.units import GPA, KBAR, matrix_from_voigt, pressure, voigt_from_matrix
from etn_gpu.structures.validate import estimate_edges

__all__ = [
    "GPA",
    "KBAR",
    "ElementAudit",
    "Frame",
    "LabelAudit",
    "LabelKeys",
    "LabelOrigin",
    "LabelledSet",
    "PropertyAudit",
    "StructureBatch",
    "check_format",
    "collect_labels",
    "estimate_edges",
    "matrix_from_voigt",
    "parse_species",
    "pressure",
    "read_labelled",
    "read_structures",
    "voigt_from_matrix",
]
