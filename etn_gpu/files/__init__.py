"""Files that are written: none is lost, none is half there, and no two runs write one.

==================  ==============================================================================
:mod:`.identity`    which file a path means
:mod:`.outputs`     what may be written: the one check for every command, before anything is opened
:mod:`.formats`     suffixes that promise something else than what is written
:mod:`.locks`       one run at a time
:mod:`.atomic`      a file that appears in one piece
:mod:`.appended`    a file that grows by whole records
:mod:`.folders`     a folder of numbered files as one output
:mod:`.unfinished`  outputs that appear when they are whole, of runs that can be stopped and go on
:mod:`.json_text`   reports as JSON, without NaN
:mod:`.failures`    full disks and the like, which are nobody's wrong use
==================  ==============================================================================
"""

from etn_gpu.files.appended import AppendedFile
from etn_gpu.files.atomic import write_atomically
from etn_gpu.files.failures import is_system_failure
from etn_gpu.files.folders import others_in, part_name, parts_in
from etn_gpu.files.formats import JSON, MODEL, PAGE, POTENTIAL, ROWS, STRUCTURES, Content, check_suffix
from etn_gpu.files.identity import identity, is_stream
from etn_gpu.files.json_text import json_text
from etn_gpu.files.locks import locked
from etn_gpu.files.outputs import check_outputs, check_replaced
from etn_gpu.files.unfinished import Growing, Making, UnfinishedOutputs

__all__ = [
    "JSON",
    "MODEL",
    "PAGE",
    "POTENTIAL",
    "ROWS",
    "STRUCTURES",
    "AppendedFile",
    "Content",
    "Growing",
    "Making",
    "UnfinishedOutputs",
    "check_outputs",
    "check_replaced",
    "check_suffix",
    "identity",
    "is_stream",
    "is_system_failure",
    "json_text",
    "locked",
    "others_in",
    "part_name",
    "parts_in",
    "write_atomically",
]
