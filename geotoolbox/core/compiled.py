"""Loops over pixels in machine code: made by Numba at the first call, kept on the disk, free of the interpreter lock.

NumPy goes over an image once for every step, and threads wait for each other between the steps. A loop that does
all steps for a pixel goes over it once, and several threads do so at the same time. Results are those of the same
Python code, bit for bit: nothing is reordered or fused (no fast math).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import update_wrapper
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["Compiled", "compiled", "get_ready", "read_at"]

P = ParamSpec("P")
R = TypeVar("R")

_MAKING = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child must not be made while a thread is loading Numba: its locks would stay closed in the child for ever.
    os.register_at_fork(
        before=_MAKING.acquire, after_in_parent=_MAKING.release, after_in_child=_MAKING.release
    )


class Compiled(Generic[P, R]):
    """A function that runs as machine code; see :func:`compiled`."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R]) -> None:
        self._made: Callable[P, R] | None = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **words: P.kwargs) -> R:
        """Run the machine code."""
        return (self._made or self.machine_code())(*args, **words)

    def machine_code(self) -> Callable[P, R]:
        """Return Numba's function, made at the first call."""
        with _MAKING:
            if self._made is None:
                self._made = _machine_code(self.__wrapped__)
            return self._made

    def __reduce__(self) -> str:
        return self.__wrapped__.__qualname__  # pickled by name, as functions are


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Return a function that runs as machine code.

    Numba is imported and the code made at the first call (about a second for each combination of types, once for
    a machine: it is kept beside the source, or in the user's cache folder). The environment variable
    ``NUMBA_DISABLE_JIT=1`` runs the Python code as it stands, for a debugger: it raises where a place is NaN.

    Args:
        function: Its arguments are arrays, numbers and tuples of them, by position; it calls nothing but NumPy,
            plain Python and other compiled functions of its module.

    Example:
        >>> import numpy as np
        >>> @compiled
        ... def total(values: np.ndarray) -> float:
        ...     found = 0.0
        ...     for n in range(values.size):
        ...         found += values[n]
        ...     return found
        >>> total(np.array([0.5, 2.0]))
        2.5
    """
    return Compiled(function)


class _ReadAt(Compiled[[int, Any, int], int]):
    """The operating system's ``pread``, for compiled functions; Python's own elsewhere."""

    def machine_code(self) -> Any:
        """Return a function of Numba that calls the operating system."""
        import numba
        from numba.core import config, types

        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            return self.__wrapped__
        kinds: Any = types
        signature = kinds.intp(kinds.int32, kinds.voidptr, kinds.uintp, kinds.int64)
        pread = kinds.ExternalFunction("pread", signature)
        whole, size, place = kinds.int32, kinds.uintp, kinds.int64

        def call(file: int, out: Any, offset: int) -> Any:
            return pread(whole(file), out.ctypes, size(out.nbytes), place(offset))

        return numba.njit(call, nogil=True)


@_ReadAt
def read_at(file: int, out: Any, offset: int) -> int:
    """Read bytes of a file into an array, without moving the file's position.

    Args:
        file: A file descriptor.
        out: A contiguous array; it is filled as far as the file goes.
        offset: Where to begin, in bytes.

    Returns:
        How many bytes were read; negative where they could not be.
    """
    try:
        return os.preadv(file, [out.data], offset)
    except OSError:
        return -1


@compiled
def _nothing() -> int:
    return 0


def get_ready() -> threading.Thread:
    """Load what compiled functions need, in a thread of its own: about a second, which nobody has to wait for then.

    Returns:
        The thread; it ends by itself.
    """
    thread = threading.Thread(target=_get_ready, name="compiled-get-ready", daemon=True)
    thread.start()
    return thread


def _get_ready() -> None:
    with _MAKING:
        _nothing()


def _machine_code(function: Any) -> Any:
    import numba

    code = function.__code__
    # What it calls has to be Numba's own functions, where the module has ours.
    parts = {n: function.__globals__.get(n) for n in code.co_names}
    names = {n: p.machine_code() for n, p in parts.items() if isinstance(p, Compiled)}
    whole = FunctionType(code, {**function.__globals__, **names}, function.__name__)
    whole.__qualname__, whole.__module__ = function.__qualname__, function.__module__
    try:
        return numba.njit(whole, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # no folder to keep the code in: it is made anew in each process
        return numba.njit(whole, nogil=True, error_model="numpy")
