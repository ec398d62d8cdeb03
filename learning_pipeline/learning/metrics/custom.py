"""Metrics of users' own: recorded through a function, each once."""

from __future__ import annotations

import hashlib
import math
import numbers
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from learning_pipeline.errors import ConfigurationError, CustomMetricError
from learning_pipeline.extraction.decoding import default_redactor
from learning_pipeline.learning.events.moments import canonical_moment
from learning_pipeline.learning.events.texts import MAX_TEXT_CHARS, clean_text
from learning_pipeline.settings import load_settings
from learning_pipeline.store import Store
from learning_pipeline.store.custom_metrics import StoredMetric, add_custom_metric

MAX_LABELS: Final = 20

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")
_MAX_SHOWN_CHARS: Final = 100
_FLAGS: Final = frozenset(("builtins.bool", "numpy.bool", "numpy.bool_"))
"""numpy's by their names: it takes a while to import."""

_encode: Final = msgspec.json.Encoder(order="sorted").encode

Label = str | int | float | bool


def record_metric(  # noqa: PLR0913 - keyword-only, named at each call
    name: str,
    value: float,
    *,
    labels: Mapping[str, Label] | None = None,
    at: datetime | None = None,
    key: str | None = None,
    store: Store | None = None,
) -> bool:
    """Record a value, once.

    Args:
        name: What was measured: a letter, then letters, digits and `_ . : / -`, up to
            100 characters. One with a secret in it is refused.
        value: A finite number, also one of numpy's or pandas'.
        labels: Up to 20 short texts, numbers or flags, by names like `name`. Secrets
            in texts are redacted; labels that differ only in those are the same.
        at: When, with a time zone; now when not given.
        key: What makes this record the one that it is, such as a run's id: recording
            it again changes nothing. Without a key that is its name, value, labels and
            time; without a time either, each call records another.
        store: Where to; the one of the settings when not given.

    Returns:
        Whether it was added; False when it was there already.

    Raises:
        CustomMetricError: A value is not allowed, or the key stands for another one.
        StoreError: The database cannot be used.

    Guarantees:
        Durable when it returns.
    """
    metric = _metric(name, value, labels or {}, at, key)
    if store is None:
        with Store(load_settings().resolved_store_url) as opened:
            there = add_custom_metric(opened, metric)
    else:
        there = add_custom_metric(store, metric)
    if there is None:
        return True
    is_same_moment = at is None or there.recorded_at == metric.recorded_at
    if (there.value, there.labels) != (metric.value, metric.labels) or (
        not is_same_moment
    ):
        message = (
            f"this key of metric {name!r} already stands for another value, labels or "
            "time: record the new one under a key of its own"
        )
        raise CustomMetricError(message)
    return False


def _metric(
    name: str,
    value: float,
    labels: Mapping[str, Label],
    at: datetime | None,
    key: str | None,
) -> StoredMetric:
    _require_name(name, "a metric's name")
    number = _number(value)
    text = _encode(_labels(labels)).decode()
    moment = _moment(at)
    if key is not None and (not isinstance(key, str) or not key):
        message = "a metric's key is a text, and not empty"
        raise CustomMetricError(message)
    identity: list[object] = (
        ["content", name, number, text, moment]
        if key is None
        else ["key", name, key.encode(errors="backslashreplace").decode()]
    )
    return StoredMetric(
        hashlib.sha256(_encode(identity)).hexdigest(), name, number, text, moment
    )


def _require_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = (
            f"{what} begins with a letter and has up to 100 letters, digits and "
            f"`_ . : / -`, not {_shown(name)}"
        )
        raise CustomMetricError(message)
    redacted, counts = default_redactor().redact(name)
    if counts:
        message = f"{what} holds a secret, {redacted!r}: give it another"
        raise CustomMetricError(message)


def _shown(value: object) -> str:
    try:
        text = str(value)
    except ValueError:
        # Python writes out no number of more than some thousand digits.
        return f"{type(value).__name__} of too many digits"
    looked_at = text[: 10 * _MAX_SHOWN_CHARS].encode(errors="replace").decode()
    return repr(default_redactor().redact(looked_at)[0][:_MAX_SHOWN_CHARS])


def _number(value: object) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        message = f"a metric's value is a finite number, not {_shown(value)}"
        raise CustomMetricError(message)
    # Of two zeros only one is told apart by its content.
    return number + 0.0


def _labels(labels: Mapping[str, Label]) -> dict[str, str]:
    if not isinstance(labels, Mapping) or len(labels) > MAX_LABELS:
        message = f"a metric's labels are a mapping of at most {MAX_LABELS}"
        raise CustomMetricError(message)
    texts = {}
    for name, value in labels.items():
        _require_name(name, "a label's name")
        text = _label(value)
        if text is None or len(text) > MAX_TEXT_CHARS:
            message = (
                f"the label {name!r} is a text of up to {MAX_TEXT_CHARS} characters, a "
                "number or a flag"
            )
            raise CustomMetricError(message)
        texts[name] = clean_text(text)[0] or ""
    return texts


def _label(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if f"{type(value).__module__}.{type(value).__name__}" in _FLAGS:
        return "true" if value else "false"
    try:
        if isinstance(value, numbers.Integral):
            return str(int(value))
        if isinstance(value, numbers.Real):
            return repr(float(value))
    except (ValueError, OverflowError):
        # Of more digits than are written out; larger than any float.
        return None
    return None


def _moment(at: datetime | None) -> str:
    if at is None:
        at = datetime.now(UTC)
    if not isinstance(at, datetime) or at.tzinfo is None:
        message = "a metric's time is a datetime with a time zone"
        raise CustomMetricError(message)
    try:
        return canonical_moment(at) or ""
    except ConfigurationError:
        message = "a metric's time is one of the years 1 to 9999 in UTC"
        raise CustomMetricError(message) from None
