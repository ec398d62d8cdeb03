"""Calls to a Qdrant server: what may be tried again, and what each failure means."""

from __future__ import annotations

import functools
import json
import warnings
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from pydantic import ValidationError
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import (
    QdrantException,
    ResourceExhaustedResponse,
)
from qdrant_client.http.api_client import Send
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from learning_pipeline import ENVIRONMENT_PREFIX
from learning_pipeline.errors import (
    ConfigurationError,
    IndexMissingError,
    LearningPipelineError,
)
from learning_pipeline.learning.breakers import QDRANT, Breakers, unavailable
from learning_pipeline.learning.deadline import DeadlineExceededError
from learning_pipeline.learning.http_requests import TimedRequests, Trace, cause_of
from learning_pipeline.learning.index.vectors import REBUILD
from learning_pipeline.learning.retrying import (
    FIRST_WAIT_SECONDS,
    guarded,
    retry_after_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.settings import Settings

_TRANSIENT: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = 500
_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_GARBAGE: Final = "its answer is none of a Qdrant server"

_UNWRAPPED: Final = (
    json.JSONDecodeError,
    UnicodeDecodeError,
    RecursionError,
    AssertionError,
    AttributeError,
    TypeError,
)
"""What the client raises of an answer such as `{}`, `null` or `[[[…`."""

Result = TypeVar("Result")


class ServerCalls:
    """Calls the server that the settings name, each through the breaker `qdrant`.

    All of them are harmless to repeat, and are when the server fails.
    """

    def __init__(
        self,
        client: QdrantClient,
        breakers: Breakers,
        settings: Settings,
        *,
        wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        """Take the client; nothing is asked yet."""
        self.client = client
        self._breaker = breakers.of(QDRANT)
        self._settings = settings
        self._wait_seconds = wait_seconds

    def __call__(self, method: Callable[..., Result], **arguments: Any) -> Result:
        """What a method of the client returns.

        Raises:
            DependencyUnavailableError: The server failed.
            IndexMissingError: There is no such collection.
            ConfigurationError: It refuses, such as a wrong key.
        """
        return guarded(
            self._breaker.call,
            functools.partial(self._request, method, arguments),
            wait_seconds=self._wait_seconds,
        )

    def _request(
        self, method: Callable[..., Result], arguments: dict[str, Any]
    ) -> Result:
        try:
            return method(**arguments)
        except DeadlineExceededError:
            raise self._too_slow() from None
        except UnexpectedResponse as error:
            # Nothing but another server says of this call that there is no such path.
            is_first = method == self.client.collection_exists
            if is_first and error.status_code == _NOT_FOUND:
                raise self._no_qdrant() from None
            raise self._answered(error) from None
        except ResourceExhaustedResponse as error:
            raise unavailable(
                QDRANT,
                "it answered 429",
                retry_after_seconds=float(error.retry_after_s),
            ) from None
        except ResponseHandlingException as error:
            raise self._not_understood(error.source) from None
        except _UNWRAPPED:
            raise unavailable(QDRANT, _GARBAGE) from None
        except (ApiException, QdrantException) as error:
            raise unavailable(QDRANT, type(error).__name__) from None

    def _answered(self, error: UnexpectedResponse) -> LearningPipelineError:
        # Never its content: that may quote what was sent.
        status = error.status_code or 0
        if status in _TRANSIENT or status >= _SERVER_ERRORS:
            asked = retry_after_seconds(error.headers.get("Retry-After"))
            cause = f"it answered {status}"
            return unavailable(QDRANT, cause, retry_after_seconds=asked)
        if status == _NOT_FOUND:
            return IndexMissingError(
                f"the server {self._settings.qdrant_url} has no collection "
                f"{self._settings.qdrant_collection}: {REBUILD}"
            )
        setting = "QDRANT_API_KEY" if status in _UNAUTHORIZED else "QDRANT_URL"
        return ConfigurationError(
            f"the Qdrant server {self._settings.qdrant_url} refuses: it answered "
            f"{status}. The same again would be refused again; check "
            f"{ENVIRONMENT_PREFIX}{setting}, and that the server is of version 1.16 or "
            "later",
            status=status,
        )

    def _not_understood(self, source: object) -> LearningPipelineError:
        if isinstance(source, httpx.TimeoutException):
            return self._too_slow()
        if isinstance(source, httpx.UnsupportedProtocol | httpx.InvalidURL):
            return ConfigurationError(
                f"{ENVIRONMENT_PREFIX}QDRANT_URL cannot be asked: {source}"
            )
        if isinstance(source, httpx.HTTPError):
            return unavailable(QDRANT, cause_of(source))
        if isinstance(source, ValidationError | ValueError):
            return unavailable(QDRANT, _GARBAGE)
        return unavailable(QDRANT, type(source).__name__)

    def _too_slow(self) -> LearningPipelineError:
        seconds = self._settings.qdrant_timeout_seconds
        return unavailable(QDRANT, f"no answer within {seconds} s")

    def _no_qdrant(self) -> LearningPipelineError:
        return ConfigurationError(
            f"there is no Qdrant server of version 1.16 or later at "
            f"{self._settings.qdrant_url}: it answered 404 when it was asked for the "
            f"collection. Check {ENVIRONMENT_PREFIX}QDRANT_URL, its port and its path"
        )


def connect(settings: Settings) -> QdrantClient:
    """A client for the server that the settings name; asks nothing yet.

    Each of its requests ends within `QDRANT_TIMEOUT_SECONDS`, or raises
    `DeadlineExceededError`.
    """
    key = settings.qdrant_api_key.get_secret_value()
    try:
        with warnings.catch_warnings():
            # That a key goes over plain HTTP is the operator's decision, as the URL is.
            warnings.simplefilter("ignore")
            client = QdrantClient(
                url=settings.qdrant_url,
                api_key=key or None,
                timeout=settings.qdrant_timeout_seconds,
                check_compatibility=False,
            )
    except ValueError as error:
        message = f"{ENVIRONMENT_PREFIX}QDRANT_URL cannot be used: {error}"
        raise ConfigurationError(message) from None
    in_time = TimedRequests(settings.qdrant_timeout_seconds)

    def send_in_time(request: httpx.Request, send: Send) -> httpx.Response:
        def traced(trace: Trace) -> httpx.Response:
            request.extensions["trace"] = trace
            return send(request)

        return in_time(traced)

    client.http.client.add_middleware(send_in_time)
    return client


def is_conflict(error: ConfigurationError) -> bool:
    """Whether it was refused because something of that name is there already."""
    return bool(error.__dict__.get("status") == _CONFLICT)
