"""Failures that are nobody's wrong use."""

from __future__ import annotations

import errno

import pytest

from etn_gpu.errors import DataError, DeviceMemoryError
from etn_gpu.files import is_system_failure


def chained(cause: BaseException) -> DataError:
    error = DataError("cannot write")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE])
def test_of_the_system(number: int) -> None:
    assert is_system_failure(chained(OSError(number, "no")))
    assert is_system_failure(chained(chained(OSError(number, "no"))))


def test_of_memory() -> None:
    assert is_system_failure(MemoryError())
    assert is_system_failure(DeviceMemoryError("too large"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG])
def test_of_wrong_use(number: int) -> None:
    assert not is_system_failure(chained(OSError(number, "no")))
    assert not is_system_failure(DataError("no"))
