"""structlog, set up once per process: for people on a terminal, else JSON lines.

Text from telemetry is never logged, only where it stands and what became of it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO

import structlog

_LEVELS = logging.getLevelNamesMapping()
_least_written = logging.NOTSET


def configure(stream: TextIO | None = None, *, level: str = "INFO") -> None:
    """Send the logs of this process to `stream` (standard error by default).

    Args:
        stream: Where to; a terminal gets coloured lines, anything else JSON.
        level: The least level that is written, such as `INFO`.
    """
    global _least_written  # noqa: PLW0603 - set up once per process
    _least_written = _LEVELS[level]
    target = stream or sys.stderr
    structlog.configure(
        processors=[*_shared_processors(), renderer(target)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # Looked up at each line: progress bars put themselves in its place.
        logger_factory=lambda *_: _LineWriter(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


class _LineWriter(structlog.WriteLogger):
    """Drops a line that cannot be written: a full disk must not end a run for it."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure_unless_done() -> None:
    """Set the logs up in a process that Dagster started, not our command."""
    if not structlog.is_configured():
        configure()


def get_logger(**context: object) -> Any:
    """A logger whose lines carry `context`."""
    return structlog.get_logger(**context)


def teed_logger(sink: logging.Logger, *, level: str, **context: object) -> Any:
    """A logger that writes as usual and repeats itself, from `level` up, to `sink`.

    Args:
        sink: Such as the log of a Dagster run; each line there costs a database
            write, so `level` is chosen by how many are to be expected.
        level: The least level that is repeated, whatever is written as usual.
        **context: Carried by every line.
    """
    least = _LEVELS[level]

    def tee(_logger: object, method: str, event: Any) -> Any:
        number = _LEVELS.get(method.upper(), logging.INFO)
        if number >= least:
            pairs = " ".join(
                f"{key}={value!r}" if isinstance(value, str) else f"{key}={value}"
                for key, value in event.items()
                if key not in {"event", "level", "timestamp", "run_id"}
            )
            sink.log(number, "%s %s", event["event"], pairs)
        if number < _least_written:
            raise structlog.DropEvent
        return event

    return structlog.wrap_logger(
        None,
        processors=[tee, *structlog.get_config()["processors"]],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    ).bind(**context)


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def renderer(stream: TextIO) -> Any:
    """How lines look on `stream`."""
    if stream.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
