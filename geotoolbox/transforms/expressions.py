"""Safe band arithmetic: an expression is parsed, checked against a short list, and walked. No ``eval``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geotoolbox.errors import BandMismatch, UnsafeInput, explain

__all__ = ["Expression"]

_MAX_LENGTH = 500
_MAX_NODES = 100
_MAX_EXPONENT = 8.0
_BINARY: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Tensor]]] = {
    "abs": (1, torch.abs),
    "sqrt": (1, torch.sqrt),
    "log": (1, torch.log),
    "exp": (1, torch.exp),
    "min": (2, torch.minimum),
    "max": (2, torch.maximum),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """Band arithmetic: band names, numbers, ``+ - * / **``, abs, sqrt, log, exp, min, max.

    Attributes:
        text: The expression, such as ``(nir - red) / (nir + red)``.

    Raises:
        UnsafeInput: At construction, when the text holds anything else.

    Example:
        >>> ratio = Expression("nir / red")
        >>> ratio.bands
        ('nir', 'red')
        >>> ratio({"nir": torch.tensor([4.0]), "red": torch.tensor([2.0])})
        tensor([2.])
        >>> Expression("__import__('os').system('id')")
        Traceback (most recent call last):
        ...
        geotoolbox.errors.UnsafeInput: ...
    """

    text: str

    def __post_init__(self) -> None:
        tree = _parse(self.text)
        if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
            raise UnsafeInput(explain("the expression is too long", where=self.text[:80], fix="shorten it"))
        _check(tree.body, self.text)
        if not self.bands:
            raise UnsafeInput(explain("the expression names no band", where=self.text))

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that it names, in order of appearance."""
        tree = _parse(self.text).body
        calls = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in calls]
        names.sort(key=lambda n: (n.lineno, n.col_offset))
        return tuple(dict.fromkeys(n.id for n in names))

    def check(self, available: Sequence[str]) -> None:
        """Raise :class:`BandMismatch` when a band that it names is not there."""
        missing = [b for b in self.bands if b not in available]
        if missing:
            raise BandMismatch(
                explain(
                    "the expression names bands that are not there",
                    where=self.text,
                    got=", ".join(missing),
                    expected=f"among {', '.join(available)}",
                    fix="rename the bands or correct the expression",
                )
            )

    def __call__(self, bands: Mapping[str, Tensor]) -> Tensor:
        """Compute it from tensors of one shape; where it is undefined, the result is not finite."""
        self.check(tuple(bands))
        like = next(iter(bands.values()))
        return _value(_parse(self.text).body, bands, like)


def _parse(text: str) -> ast.Expression:
    if len(text) > _MAX_LENGTH:
        raise UnsafeInput(
            explain("the expression is too long", got=f"{len(text)} characters", expected=f"≤ {_MAX_LENGTH}")
        )
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsafeInput(
            explain(
                "the expression cannot be parsed", where=repr(text[:80]), got=str(error).split("(")[0].strip()
            )
        ) from error


def _refuse(node: ast.AST, text: str) -> UnsafeInput:
    return UnsafeInput(
        explain(
            "the expression holds what is not allowed",
            where=repr(text[:80]),
            got=type(node).__name__,
            expected="band names, numbers, + - * / **, " + ", ".join(_FUNCTIONS),
        )
    )


def _check(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.Name):
        if node.id.startswith("__"):
            raise _refuse(node, text)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool) or not isinstance(node.value, int | float) or abs(node.value) > 1e30:
            raise _refuse(node, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, text)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        if isinstance(node.op, ast.Pow):
            _check_exponent(node.right, text)
        _check(node.left, text)
        _check(node.right, text)
    elif isinstance(node, ast.Call):
        _check_call(node, text)
    else:
        raise _refuse(node, text)


def _check_exponent(node: ast.expr, text: str) -> None:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    number = inner.value if isinstance(inner, ast.Constant) else None
    if isinstance(number, bool) or not isinstance(number, int | float) or abs(number) > _MAX_EXPONENT:
        raise _refuse(node, text)


def _check_call(node: ast.Call, text: str) -> None:
    known = _FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
    if known is None or node.keywords or len(node.args) != known[0]:
        raise _refuse(node, text)
    for argument in node.args:
        _check(argument, text)


def _value(node: ast.expr, bands: Mapping[str, Tensor], like: Tensor) -> Tensor:
    if isinstance(node, ast.Name):
        return bands[node.id]
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int | float)
        return torch.full_like(like, float(node.value))
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, bands, like)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        function = _BINARY[type(node.op)]
        return function(_value(node.left, bands, like), _value(node.right, bands, like))
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _FUNCTIONS[node.func.id][1](*(_value(a, bands, like) for a in node.args))
