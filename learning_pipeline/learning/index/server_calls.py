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
from learning_pipeline.learning.index.retrying import (
    FIRST_WAIT_SECONDS,
    guarded,
    retry_after_seconds,
)
from learning_pipeline.learning.index.vectors import REBUILD

if TYPE_CHECKING:
    from collections.abc import Callable

    from learning_pipeline.settings import Settings

_TRANSIENT: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = 500
_UNAUTHORIZED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_GARBAGE: Final = "its answer is none of a Qdrant server"

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
            self._breaker,
            functools.partial(self._request, method, arguments),
            wait_seconds=self._wait_seconds,
        )

    def _request(
        self, method: Callable[..., Result], arguments: dict[str, Any]
    ) -> Result:
        try:
            return method(**arguments)
        except UnexpectedResponse as error:
            raise self._answered(error) from None
        except ResourceExhaustedResponse as error:
            raise unavailable(
                QDRANT,
                "it answered 429",
                retry_after_seconds=float(error.retry_after_s),
            ) from None
        except ResponseHandlingException as error:
            raise self._not_understood(error.source) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            # Not all of it is wrapped by the client.
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
            seconds = self._settings.qdrant_timeout_seconds
            return unavailable(QDRANT, f"no answer within {seconds} s")
        if isinstance(source, httpx.UnsupportedProtocol | httpx.InvalidURL):
            return ConfigurationError(
                f"{ENVIRONMENT_PREFIX}QDRANT_URL cannot be asked: {source}"
            )
        if isinstance(source, httpx.HTTPError):
            cause = f"{type(source).__name__}: {source}".rstrip(": ")
            return unavailable(QDRANT, cause)
        if isinstance(source, ValidationError | ValueError):
            return unavailable(QDRANT, _GARBAGE)
        return unavailable(QDRANT, type(source).__name__)


def connect(settings: Settings) -> QdrantClient:
    """A client for the server that the settings name; asks nothing yet."""
    key = settings.qdrant_api_key.get_secret_value()
    try:
        with warnings.catch_warnings():
            # That a key goes over plain HTTP is the operator's decision, as the URL is.
            warnings.simplefilter("ignore")
            return QdrantClient(
                url=settings.qdrant_url,
                api_key=key or None,
                timeout=settings.qdrant_timeout_seconds,
                check_compatibility=False,
            )
    except ValueError as error:
        message = f"{ENVIRONMENT_PREFIX}QDRANT_URL cannot be used: {error}"
        raise ConfigurationError(message) from None


def is_conflict(error: ConfigurationError) -> bool:
    """Whether it was refused because something of that name is there already."""
    return bool(error.__dict__.get("status") == _CONFLICT)
