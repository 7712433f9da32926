"""A library of arrays that stands for CuPy where there is no GPU, and counts what would be launches and round trips.

It has the functions that NumPy and CuPy share, and its arrays refuse to become NumPy arrays unless ``get`` is called,
just as CuPy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Calls since the counter was cleared: "launch" for functions, methods, operators and assignments, views aside;
#: "round trip" where the host waits for a number.
CALLS: Counter[str] = Counter()

#: Methods that move no numbers; a reshape copies at most what a launch before it has made.
VIEWS = ("reshape", "swapaxes", "transpose")


class DeviceArray:
    """An array that, like CuPy's, refuses to become a NumPy array unless ``get`` is called."""

    __module__ = "lookalike.core"
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: NDArray[Any]) -> None:
        self.host = host
        self.device = Device()

    def get(self) -> NDArray[Any]:
        CALLS["round trip"] += 1
        return self.host.copy()

    def __array__(self, *_: object, **__: object) -> NDArray[Any]:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.host, name)
        return on_hosts(value) if name in VIEWS else lift(value)

    def item(self) -> Any:
        CALLS["round trip"] += 1
        return self.host.item()

    def __getitem__(self, key: Any) -> Any:
        return lift(self.host[lower(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        CALLS["launch"] += 1
        self.host[lower(key)] = lower(value)

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        CALLS["round trip"] += 1
        return bool(self.host)

    def __float__(self) -> float:
        CALLS["round trip"] += 1
        return float(self.host)


class Device:
    """A device: a context manager, as in CuPy."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __str__(self) -> str:
        return "<Device 0>"


def lift(value: Any) -> Any:
    """Arrays, scalars of arrays and functions of NumPy as those of the look-alike."""
    if isinstance(value, (np.ndarray, np.number, np.bool_)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(map(lift, value))
    if callable(value) and not isinstance(value, type):
        return launch(value)
    return value


def launch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of the look-alike that NumPy's `function` is."""

    apply = on_hosts(function)

    def counted(*args: Any, **kwargs: Any) -> Any:
        CALLS["launch"] += 1
        return apply(*args, **kwargs)

    return counted


def on_hosts(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's `function` for arrays of the look-alike."""
    return lambda *args, **kwargs: lift(
        function(*map(lower, args), **{key: lower(value) for key, value in kwargs.items()})
    )


def lower(value: Any) -> Any:
    """The arguments for NumPy; an array of the host among them is an error, as in CuPy."""
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(map(lower, value))
    return value


def operator(name: str) -> Callable[..., Any]:
    def apply(self: DeviceArray, *others: Any) -> Any:
        CALLS["launch"] += 1
        return lift(getattr(self.host, name)(*map(lower, others)))

    return apply


for _operator in ("add", "sub", "mul", "truediv", "pow", "matmul", "gt", "lt", "le", "ge"):
    setattr(DeviceArray, f"__{_operator}__", operator(f"__{_operator}__"))
for _operator in ("radd", "rsub", "rmul", "rtruediv", "imul", "neg"):
    setattr(DeviceArray, f"__{_operator}__", operator(f"__{_operator}__"))


SHARED = (
    *("abs", "concatenate", "diag", "diagonal", "empty", "eye", "isfinite"),
    *("matmul", "may_share_memory", "result_type", "sqrt", "where", "zeros"),
)


def make_lookalike() -> ModuleType:
    """The module, to be put into ``sys.modules`` as ``lookalike``."""
    module: Any = ModuleType("lookalike")
    for name in SHARED:
        setattr(module, name, launch(getattr(np, name)))
    module.asarray = lambda host: DeviceArray(np.array(host))
    module.linalg = ModuleType("lookalike.linalg")
    for name in ("qr", "svd", "eigh"):
        setattr(module.linalg, name, launch(getattr(np.linalg, name)))
    return module
