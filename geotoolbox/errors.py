"""The errors of GeoToolbox: one root, and each is also the builtin that a caller would catch.

Every message answers four questions in one order: what is wrong, where, what was found and what was
expected, and what to do. :func:`explain` puts them together, so that no message forgets one.
"""

from __future__ import annotations

__all__ = [
    "BadBundle",
    "BadInput",
    "BadLabels",
    "BandMismatch",
    "BlocksFailed",
    "Cancelled",
    "CannotAlign",
    "CannotRead",
    "CannotWrite",
    "GeoToolboxError",
    "Locked",
    "MixedSources",
    "ModelFailed",
    "NoOverlap",
    "NoSpace",
    "NotProbabilitySample",
    "TooLarge",
    "UnsafeBundle",
    "UnsafeInput",
    "explain",
]


class GeoToolboxError(Exception):
    """The root of all errors that GeoToolbox raises on purpose."""


class BadInput(GeoToolboxError, ValueError):
    """An argument, file or table is not what the job needs."""


class CannotAlign(BadInput):
    """A source has no georeference that can be brought onto the grid asked for."""


class MixedSources(BadInput):
    """Files of one dataset differ in CRS, resolution, data type, bands or scale."""


class NoOverlap(BadInput):
    """Two layers, or a layer and an area, have nothing in common."""


class BadLabels(BadInput):
    """Labels cannot be turned into classes."""


class NotProbabilitySample(BadInput):
    """Reference points whose chances of being drawn are not known: no accuracy or area can be estimated."""


class BandMismatch(BadInput):
    """The bands at hand are not the bands that the model was trained on."""


class UnsafeInput(BadInput):
    """A file or a string would run code, read elsewhere or open a network connection."""


class BadBundle(BadInput):
    """A model bundle is damaged, newer than this version, or not a bundle."""


class UnsafeBundle(BadBundle, UnsafeInput):
    """A model bundle holds something that could run code or write elsewhere."""


class ModelFailed(GeoToolboxError, ArithmeticError):
    """A model answered with values that are no probabilities."""


class CannotRead(GeoToolboxError, OSError):
    """A file cannot be opened or read."""


class CannotWrite(GeoToolboxError, OSError):
    """A file cannot be written."""


class NoSpace(CannotWrite):
    """The disk has too little room left."""


class Locked(CannotWrite):
    """Another process is writing the same output."""


class TooLarge(GeoToolboxError, MemoryError):
    """A read would take more memory than is allowed."""


class Cancelled(GeoToolboxError, RuntimeError):
    """The person, or the system, asked the job to stop."""


class BlocksFailed(GeoToolboxError, RuntimeError):
    """A prediction ended, but some blocks could not be made."""


def explain(
    what: str,
    *,
    where: object | None = None,
    got: object | None = None,
    expected: object | None = None,
    fix: str | None = None,
) -> str:
    """Compose an error message in the project's one form.

    Args:
        what: What is wrong, in a few words.
        where: The file, window, band or option it is about.
        got: What was found.
        expected: What was expected instead.
        fix: What the reader can do about it.

    Returns:
        One line: ``what: where. Got …, expected …. Fix: …``.

    Example:
        >>> explain("band missing", where="a.tif", got="3 bands", expected="4", fix="pass bands=")
        'band missing: a.tif. Got 3 bands, expected 4. Fix: pass bands='
    """
    text = what if where is None else f"{what}: {where}"
    text = text.rstrip(".") + "."
    if got is not None and expected is not None:
        text += f" Got {got}, expected {expected}."
    elif got is not None:
        text += f" Got {got}."
    elif expected is not None:
        text += f" Expected {expected}."
    return text if fix is None else f"{text} Fix: {fix}"
