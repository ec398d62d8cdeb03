"""Meanings of texts, from an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import httpx

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.breakers import EMBEDDINGS, Breakers, unavailable
from learning_pipeline.learning.deadline import DeadlineExceededError
from learning_pipeline.learning.http_requests import TimedRequests, Trace, cause_of
from learning_pipeline.learning.index.embedding_answers import code_of, vectors_of
from learning_pipeline.learning.retrying import (
    ATTEMPTS,
    FIRST_WAIT_SECONDS,
    Meanwhile,
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


class EmbeddingsRefusedError(ConfigurationError):
    """The endpoint refuses what it is asked; the message names the settings.

    Attributes:
        status: What it answered.
    """

    status: int


class Embeddings:
    """The endpoint that the settings name.

    Each request goes through the breaker `embeddings` and ends within
    `EMBEDDINGS_TIMEOUT_SECONDS`; one that failed is made again, later and later or when
    the server says, unless the breaker has opened.

    Attributes:
        model: The model's name.
        batch: Texts a request.
        max_chars: A text is embedded up to here.
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
        self.batch = settings.embeddings_batch
        self.max_chars = settings.embeddings_max_chars
        self._url = settings.embeddings_url
        self._breaker = breakers.of(EMBEDDINGS)
        self._wait_seconds = wait_seconds
        # A compressed answer of a few bytes could fill the memory.
        headers = {"Accept-Encoding": "identity"}
        key = settings.embeddings_api_key.get_secret_value()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._timeout_seconds = settings.embeddings_timeout_seconds
        self._client = httpx.Client(
            timeout=self._timeout_seconds, headers=headers, follow_redirects=False
        )
        self._in_time = TimedRequests(self._timeout_seconds)

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

    def embed(
        self,
        texts: Sequence[str],
        *,
        attempts: int = ATTEMPTS,
        meanwhile: Meanwhile | None = None,
    ) -> list[list[float]]:
        """The meaning of each text, cut to `EMBEDDINGS_MAX_CHARS`; in their order.

        Args:
            texts: As many requests are made as `EMBEDDINGS_BATCH` makes of them.
            attempts: At most so many tries a request.
            meanwhile: Done by this thread while it waits, a few times a second, and
                after each request; its errors are raised.

        Raises:
            DependencyUnavailableError: It does not answer, or gives garbage.
            EmbeddingsRefusedError: It refuses what it is asked.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self.batch):
            cut = [text[: self.max_chars] for text in texts[start : start + self.batch]]
            vectors += guarded(
                self._breaker.call,
                lambda: self._request(cut, meanwhile),  # noqa: B023 - called at once
                attempts=attempts,
                wait_seconds=self._wait_seconds,
                meanwhile=meanwhile,
            )
            if len(vectors[start]) != len(vectors[0]):
                raise unavailable(EMBEDDINGS, "it gives vectors of several dimensions")
            if meanwhile is not None:
                meanwhile()
        return vectors

    def _request(
        self, texts: list[str], meanwhile: Meanwhile | None
    ) -> list[list[float]]:
        limit_bytes = (len(texts) + 1) * _RESPONSE_BYTES_PER_TEXT
        body = {"model": self.model, "input": texts, "encoding_format": "float"}

        def send(trace: Trace) -> tuple[httpx.Response, bytes]:
            with self._client.stream(
                "POST", self._url, json=body, extensions={"trace": trace}
            ) as response:
                return response, _read(response, limit_bytes)

        try:
            response, content = self._in_time(send, meanwhile=meanwhile)
        except (DeadlineExceededError, httpx.TimeoutException):
            cause = f"no answer within {self._timeout_seconds:g} s"
            raise unavailable(EMBEDDINGS, cause) from None
        except httpx.HTTPError as error:
            # Not chained: its request holds the headers, and the key among them.
            raise unavailable(EMBEDDINGS, cause_of(error)) from None
        if response.status_code != httpx.codes.OK:
            raise self._refused(response, content)
        if _is_compressed(response):
            cause = "its answer is compressed, and was asked not to be"
            raise unavailable(EMBEDDINGS, cause)
        return vectors_of(content, len(texts))

    def _refused(self, response: httpx.Response, content: bytes) -> Exception:
        status = response.status_code
        code = code_of(content)
        answer = f"it answered {status}" + (f" ({code})" if code else "")
        if status not in _REFUSALS:
            asked = retry_after_seconds(response.headers.get("Retry-After"))
            return unavailable(EMBEDDINGS, answer, retry_after_seconds=asked)
        names = ", ".join(
            f"{ENVIRONMENT_PREFIX}EMBEDDINGS_{name}"
            for name in _SUSPECTS.get(status, ("URL", "MODEL", "MAX_CHARS", "BATCH"))
        )
        return EmbeddingsRefusedError(
            f"the embeddings endpoint refuses: {answer}. The same again would be "
            f"refused again; check {names}",
            status=status,
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
    # Raw, as it came: what it grows to when it is unpacked has no bound.
    for piece in response.iter_raw():
        content += piece
        if len(content) > limit_bytes:
            cause = f"its answer is longer than {limit_bytes:,} bytes"
            raise unavailable(EMBEDDINGS, cause)
    return bytes(content)


def _is_compressed(response: httpx.Response) -> bool:
    encoding = response.headers.get("Content-Encoding", "")
    return encoding.strip().lower() not in {"", "identity"}
