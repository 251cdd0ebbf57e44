"""What all widgets share: scripts and styles from files, a line for messages, errors as sentences."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import anywidget
import traitlets

from geotoolbox.errors import Cancelled, GeoToolboxError

__all__ = ["EsmWidget", "MessageLine", "guarded", "in_background", "script", "sentence", "style"]

_log = logging.getLogger(__name__)
_POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="geotoolbox-widget")

P = ParamSpec("P")
T = TypeVar("T")


def script(*names: str) -> str:
    """Return the text of files of this package's ``static`` folder, one after the other.

    An ES module that needs what others have (``dom.js``) is put after them, so that nothing is imported.
    """
    folder = files("geotoolbox_widgets") / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def style(name: str) -> str:
    """Return the text of a style sheet of this package, after the one that all share."""
    return script("base.css", name)


class EsmWidget(anywidget.AnyWidget):
    """A widget whose page side is one plain ES module; nothing is fetched from anywhere.

    Subclasses set ``_esm = script("name.js")`` and ``_css = style("name.css")``.
    """


class MessageLine(EsmWidget):
    """One line that tells how things are, read out by screen readers.

    Example:
        >>> line = MessageLine()
        >>> line.say("ready")
        >>> line.text, line.level
        ('ready', 'info')
    """

    _esm = script("message.js")
    _css = style("message.css")

    text = traitlets.Unicode("", help="what is said; nothing is shown when empty").tag(sync=True)
    level = traitlets.Enum(("info", "warning", "error"), "info", help="how grave it is").tag(sync=True)

    def say(self, text: str, level: str = "info") -> None:
        """Show a sentence."""
        with self.hold_sync():
            self.level = level
            self.text = text

    def clear(self) -> None:
        """Show nothing."""
        self.say("")


class Speaking(Protocol):
    """Whatever has a line for messages."""

    message: MessageLine


S = TypeVar("S", bound=Speaking)


def sentence(error: BaseException) -> str:
    """Return an error as a person wants to read it."""
    if isinstance(error, GeoToolboxError):
        return str(error)
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def guarded(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T | None]:
    """Make a callback tell its errors in the widget's message line, where the person looks, and go on."""

    @functools.wraps(method)
    def wrapped(self: S, *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return method(self, *args, **kwargs)
        except Cancelled as error:
            self.message.say(str(error), "warning")
        except Exception as error:
            _log.debug("in %s", method.__qualname__, exc_info=True)
            self.message.say(sentence(error), "error")
        return None

    return cast("Callable[Concatenate[S, P], T | None]", wrapped)


def in_background(
    work: Callable[[], T],
    *,
    done: Callable[[T], None] | None = None,
    failed: Callable[[BaseException], None] | None = None,
) -> Future[T]:
    """Do short work off the kernel's main thread, so that the widgets stay usable.

    Args:
        work: What to do.
        done: Hears the result, in the worker's thread.
        failed: Hears the error.
    """

    def run() -> T:
        try:
            result = work()
        except BaseException as error:
            if failed is not None:
                failed(error)
            raise
        if done is not None:
            done(result)
        return result

    return _POOL.submit(run)


def plain_dict(value: Any) -> dict[str, Any]:
    """Return a message from the page as a dict, empty when it is none."""
    return value if isinstance(value, dict) else {}
