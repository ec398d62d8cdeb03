"""The moment of an event, in one canonical form, or none: never "now"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - the result is UTC by its `Z`
# Seconds would be the year 5138, milliseconds are 1973.
_LEAST_MILLISECONDS: Final = 1e11
_CANONICAL_LENGTH: Final = len("2026-05-28T18:14:11.863954Z")
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int | float).decode


_MINUTE_LENGTH: Final = len('"2026-05-28T18:14:')
_REST: Final = re.compile(rb'[0-5]\d\.\d{6}Z"')
_MINUTES_REMEMBERED: Final = 64
_valid_minutes: dict[bytes, None] = {}


def canonical_timestamp(raw: msgspec.Raw) -> str | None:
    """Return ISO 8601 in UTC with microseconds and `Z`; None when it says no moment.

    Args:
        raw: JSON: an ISO 8601 string (without a zone: UTC), or seconds since 1970,
            or milliseconds when above 1e11.
    """
    data = bytes(raw)
    # Telemetry is in order: most events are of the minute of the one before.
    if data[:_MINUTE_LENGTH] in _valid_minutes and _REST.fullmatch(
        data, _MINUTE_LENGTH
    ):
        return data[1:-1].decode()
    try:
        if data[:1] == b'"':
            text = _decode_text(data)
            moment = datetime.fromisoformat(text.strip())
            if (
                len(text) == _CANONICAL_LENGTH
                and text[4:20:3] == "--T::."
                and text[26] == "Z"
            ):
                _remember_minute(data)
                return text
            return _from_moment(moment)
        if data and data not in _NO_MOMENTS:
            return _from_number(_decode_number(data))
    except (ValueError, OverflowError, msgspec.DecodeError):
        pass
    return None


_NO_MOMENTS: Final = (b"null", b"true", b"false")


def _from_moment(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


def _from_number(number: float) -> str:
    if abs(number) > _LEAST_MILLISECONDS:
        moment = _EPOCH + timedelta(milliseconds=number)
    else:
        moment = _EPOCH + timedelta(seconds=number)
    return moment.isoformat(timespec="microseconds") + "Z"


def _remember_minute(data: bytes) -> None:
    # Spelled without escapes, so that what follows the minute is looked at as it is.
    if len(data) == _CANONICAL_LENGTH + 2:
        if len(_valid_minutes) >= _MINUTES_REMEMBERED:
            _valid_minutes.clear()
        _valid_minutes[data[:_MINUTE_LENGTH]] = None
