"""Loops compiled by numba, kept on disk: by numba's own means, but privately, and never at the cost of an evaluation.

They lie where numba looks first, in NUMBA_CACHE_DIR if that is set, else in ``__pycache__`` beside the source. Where
that cannot be written they lie in our own folder of compiled code: the one that numba would take next is made with
whatever permissions the umask leaves.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache

from etn_gpu.backend import cache
from etn_gpu.errors import CacheError

_locators: list[Any] = list(CompileResultCacheImpl._locator_classes)
#: Numba's classes by a part of their names, which had an underscore in earlier versions.
_provided, _beside, _of_user = (
    next(locator for locator in _locators if name in locator.__name__)
    for name in ("UserProvided", "InTreeCacheLocator", "UserWide")
)


class _OurFolder(_of_user):  # type: ignore[misc,valid-type]
    """In ``ETN_GPU_CACHE``; unless others can write it, which the first evaluation then reports."""

    def __init__(self, function: Any, source: str) -> None:
        super().__init__(function, source)
        self._cache_path = str(cache.folder() / "numba" / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Any, source: str) -> Any:
        with suppress(OSError):
            return super().from_function(function, source)
        return None

    def ensure_cache_path(self) -> None:
        try:
            cache.make_private(Path(self._cache_path))
            cache.check_folder(cache.folder())
            cache.check_folder(Path(self._cache_path))
        except CacheError as error:
            raise PermissionError(str(error)) from error
        super().ensure_cache_path()


class _Places(CompileResultCacheImpl):
    _locator_classes: list[Any] = [_provided, _beside, _OurFolder]  # noqa: RUF012 - numba's own interface


class LoopCache(FunctionCache):
    """A cache of one function; what is damaged in it is compiled again, and what cannot be written is not.

    Raises:
        RuntimeError: no folder can be written.
    """

    _impl_class = _Places

    def load_overload(self, *arguments: Any) -> Any:
        """Numba's own method."""
        try:
            return super().load_overload(*arguments)
        except Exception:  # whatever a pickle raises that was cut
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Numba's own method."""
        with suppress(OSError):
            super().save_overload(*arguments)
