"""Meanings of texts, from an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Final, Self

import httpx
import msgspec

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.breakers import EMBEDDINGS, Breakers, unavailable
from learning_pipeline.learning.index.retrying import (
    FIRST_WAIT_SECONDS,
    guarded,
    retry_after_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from learning_pipeline.settings import Settings

_RESPONSE_BYTES_PER_TEXT: Final = 1024 * 1024
"""Ten times what 4,096 numbers of 25 characters take."""

_REFUSALS = frozenset(range(300, 500)) - {408, 425, 429}
"""Statuses that the same request would get again: a setting is wrong."""

_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class _Embedding(msgspec.Struct):
    embedding: list[float]
    index: int


class _Answer(msgspec.Struct):
    data: list[_Embedding]


class _Problem(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


class _Refusal(msgspec.Struct):
    error: _Problem


class Embeddings:
    """The endpoint that the settings name.

    Each request goes through the breaker `embeddings`; a request that failed is tried
    again, later and later or when the server says, unless the breaker has opened.

    Attributes:
        model: The model's name.
    """

    def __init__(
        self,
        settings: Settings,
        breakers: Breakers,
        *,
        wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        """Take the settings that begin with `embeddings_`.

        Args:
            settings: Of this process.
            breakers: Of the state database.
            wait_seconds: Before the second try; doubled from then on.
        """
        self.model = settings.embeddings_model
        self._settings = settings
        self._breaker = breakers.of(EMBEDDINGS)
        self._wait_seconds = wait_seconds
        key = settings.embeddings_api_key.get_secret_value()
        self._client = httpx.Client(
            timeout=settings.embeddings_timeout_seconds,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,
        )
        self._decoder = msgspec.json.Decoder(_Answer)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The meaning of each text, cut to `EMBEDDINGS_MAX_CHARS`; in their order.

        Raises:
            DependencyUnavailableError: It does not answer, or gives garbage.
            ConfigurationError: It refuses what it is asked.
        """
        size = self._settings.embeddings_batch
        vectors: list[list[float]] = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            cut = [text[: self._settings.embeddings_max_chars] for text in batch]
            vectors += guarded(
                self._breaker,
                functools.partial(self._request, cut),
                wait_seconds=self._wait_seconds,
            )
            if len(vectors[start]) != len(vectors[0]):
                raise unavailable(EMBEDDINGS, "it gives vectors of several dimensions")
        return vectors

    def _request(self, texts: list[str]) -> list[list[float]]:
        limit_bytes = (len(texts) + 1) * _RESPONSE_BYTES_PER_TEXT
        body = {"model": self.model, "input": texts, "encoding_format": "float"}
        try:
            with self._client.stream(
                "POST", self._settings.embeddings_url, json=body
            ) as response:
                content = _read(response, limit_bytes)
        except httpx.TimeoutException:
            seconds = self._settings.embeddings_timeout_seconds
            cause = f"no answer within {seconds:g} s"
            raise unavailable(EMBEDDINGS, cause) from None
        except httpx.HTTPError as error:
            # Not its text alone: that may be empty. It holds no header and no body.
            cause = f"{type(error).__name__}: {error}".rstrip(": ")
            raise unavailable(EMBEDDINGS, cause) from None
        if response.status_code != httpx.codes.OK:
            raise self._refused(response, content)
        return _vectors(self._decoder, content, len(texts))

    def _refused(self, response: httpx.Response, content: bytes) -> Exception:
        status = response.status_code
        code = _code_of(content)
        answer = f"it answered {status}" + (f" ({code})" if code else "")
        if status not in _REFUSALS:
            asked = retry_after_seconds(response.headers.get("Retry-After"))
            return unavailable(EMBEDDINGS, answer, retry_after_seconds=asked)
        names = ", ".join(
            f"{ENVIRONMENT_PREFIX}EMBEDDINGS_{name}"
            for name in _SUSPECTS.get(status, ("URL", "MODEL", "MAX_CHARS", "BATCH"))
        )
        return ConfigurationError(
            f"the embeddings endpoint refuses: {answer}. The same again would be "
            f"refused again; check {names}"
        )


_SUSPECTS = {
    401: ("API_KEY",),
    403: ("API_KEY",),
    404: ("URL", "MODEL"),
    405: ("URL",),
    413: ("BATCH", "MAX_CHARS"),
}


def _read(response: httpx.Response, limit_bytes: int) -> bytes:
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > limit_bytes:
            cause = f"its answer is longer than {limit_bytes:,} bytes"
            raise unavailable(EMBEDDINGS, cause)
    return bytes(content)


def _vectors(
    decoder: msgspec.json.Decoder[_Answer], content: bytes, text_count: int
) -> list[list[float]]:
    try:
        data = decoder.decode(content).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Its own text could quote what was sent.
        raise unavailable(EMBEDDINGS, "its answer is no list of embeddings") from None
    if sorted(each.index for each in data) != list(range(text_count)):
        cause = (
            f"it gives {len(data)} embeddings for {text_count} texts, or not in order"
        )
        raise unavailable(EMBEDDINGS, cause)
    vectors = [each.embedding for each in sorted(data, key=lambda each: each.index)]
    length = len(vectors[0])
    if not length or any(len(vector) != length for vector in vectors):
        raise unavailable(EMBEDDINGS, "it gives vectors of several dimensions, or none")
    for vector in vectors:
        squares = math.fsum(value * value for value in vector)
        if not math.isfinite(squares) or squares == 0:
            cause = "it gives vectors that have no direction: infinite, or zero"
            raise unavailable(EMBEDDINGS, cause)
    return vectors


def _code_of(content: bytes) -> str | None:
    # Only what looks like an identifier: a message may quote what was sent.
    try:
        problem = msgspec.json.decode(content, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    for value in (problem.code, problem.type):
        if value is not None and _CODE.fullmatch(str(value)):
            return str(value)
    return None
