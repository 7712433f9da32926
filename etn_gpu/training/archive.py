"""Arrays from an .npz file that may come from anywhere: only what etn-gpu writes is read, and nothing is executed.

NumPy's own reader evaluates headers, trusts the shapes in them, and unpacks what is compressed a thousandfold. Here the
members are those expected, stored as they are, so that nothing is larger than the file; and as long as their headers
say.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Collection
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etn_gpu.potential.described import ContentError, shortened

#: Magic bytes, version 1.0, and the length of the header that follows.
_PREFIX = struct.Struct("<8sH")
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '(<f8|<U\d{1,9})', 'fortran_order': False, 'shape': \((\d{0,15}),?\), \} *\n")


def read_archive(path: Path, names: Collection[str]) -> dict[str, NDArray[np.float64] | str]:
    """The members ``names``, which must be all there are: texts (of no dimension) or vectors of float64.

    Raises:
        ContentError: another kind of file, or one that is truncated or damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                expected = sorted(f"{name}.npy" for name in names)
                if (found := sorted(member.filename for member in members)) != expected:
                    raise ContentError(f"its members are {shortened(found)}, expected {expected}")
                if packed := [m.filename for m in members if m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1]:
                    raise ContentError(f"its members {packed} are compressed or encrypted, expected plain ones")
                contents = {member.filename.removesuffix(".npy"): archive.read(member) for member in members}
        except (ContentError, OSError):
            raise
        except Exception as error:  # whatever the library stumbles over in foreign bytes
            raise ContentError(f"its ZIP structure is damaged ({shortened(str(error))})") from None
    return {name: _array(name, content) for name, content in contents.items()}


def _array(name: str, content: bytes) -> NDArray[np.float64] | str:
    """A text or a vector from the bytes of an .npy file."""
    damaged = ContentError(f"its member {name}.npy is no text and no vector of float64, or it is damaged")
    if len(content) < _PREFIX.size:
        raise damaged
    magic, length = _PREFIX.unpack_from(content)
    match = _HEADER.fullmatch(content[_PREFIX.size : _PREFIX.size + length])
    if magic != _MAGIC or match is None:
        raise damaged
    kind, shape = match[1].decode(), tuple(int(n) for n in [match[2]] if n)
    data = content[_PREFIX.size + length :]
    is_text = kind.startswith("<U")
    if len(shape) != (0 if is_text else 1) or len(data) != prod(shape) * (4 * int(kind[2:]) if is_text else 8):
        raise damaged
    if not is_text:
        return np.frombuffer(data, "<f8").astype(np.float64)
    try:
        return data.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise damaged from None
