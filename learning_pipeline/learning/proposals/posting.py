"""Proposals posted to an HTTP endpoint, as tasks that need approval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
from pydantic import SecretStr

from learning_pipeline import logs
from learning_pipeline.errors import (
    ConfigurationError,
    DependencyUnavailableError,
    LearningPipelineError,
    ProposalPostError,
    StoreError,
)
from learning_pipeline.learning.breakers import PROPOSALS_ENDPOINT, unavailable
from learning_pipeline.learning.deadline import DeadlineExceededError
from learning_pipeline.learning.http_requests import TimedRequests, Trace
from learning_pipeline.learning.proposals.composing import PROPOSED, Proposal
from learning_pipeline.learning.proposals.listing import list_proposals
from learning_pipeline.learning.retrying import (
    ATTEMPTS,
    FIRST_WAIT_SECONDS,
    Call,
    Result,
    guarded,
    retry_after_seconds,
)
from learning_pipeline.store import Store, utc_now
from learning_pipeline.store.proposals import StoredDecision, mark_posted

_TRY_AGAIN: Final = frozenset({408, 425, 429, *range(500, 600)})


class PostPolicy(msgspec.Struct, frozen=True):
    """How patient posting is.

    Attributes:
        timeout_seconds: For a request in all.
        attempt_count: Attempts per proposal.
        wait_seconds: Before the second attempt; doubles from there. An endpoint may
            ask for more, by `Retry-After`.
    """

    timeout_seconds: float = 10.0
    attempt_count: int = ATTEMPTS
    wait_seconds: float = FIRST_WAIT_SECONDS


class PostFailure(msgspec.Struct, frozen=True):
    """One proposal that could not be posted, and why."""

    proposal_id: str
    why: str


class PostReport(msgspec.Struct, frozen=True):
    """What became of posting.

    Attributes:
        posted: The ids that were posted now, or would be.
        failures: What could not be; it is tried again the next time.
    """

    posted: Sequence[str]
    failures: Sequence[PostFailure]


def post_proposals(  # noqa: PLR0913 - keyword-only, named at each call
    store: Store,
    *,
    url: str,
    api_key: SecretStr | None = None,
    call: Call | None = None,
    policy: PostPolicy | None = None,
    dry_run: bool = False,
) -> PostReport:
    """Post each proposal of status `proposed` that was not posted to `url` yet.

    The endpoint gets a JSON object with `prompt`, `require_approval` (true),
    `max_iterations` (1) and `context`, the proposal; the headers `Idempotency-Key`, the
    proposal's id, and `X-API-Key`. Any answer of 200 to 299 takes it.

    Args:
        store: Where the proposals are.
        url: The endpoint, `http://` or `https://`.
        api_key: Sent to it, if any.
        call: Runs each attempt; what it raises is the proposal's failure.
        policy: How patient to be.
        dry_run: Post nothing.

    Raises:
        ConfigurationError: The URL or the key cannot be used.
        StoreError: The database cannot be used.

    Guarantees: what is recorded as posted to a URL is never posted to it again. After
    a crash between an answer and its record, or by two processes at once, a proposal
    is posted again, with the same `Idempotency-Key`. Redirects are not followed.
    """
    shown = endpoint_name(url)
    headers = _headers(api_key)
    waiting = [
        each
        for each in list_proposals(store, statuses=[PROPOSED]).proposals
        if shown not in each.posted_to
    ]
    if dry_run:
        return PostReport([each.proposal_id for each in waiting], [])
    chosen = policy or PostPolicy()
    log = logs.get_logger()
    posted: list[str] = []
    failures: list[PostFailure] = []
    with httpx.Client(timeout=chosen.timeout_seconds, headers=headers) as client:
        endpoint = _Endpoint(client, url, chosen, call or _just_call)
        for proposal in waiting:
            try:
                endpoint.post(proposal)
            except StoreError:
                raise
            except LearningPipelineError as error:
                failures.append(PostFailure(proposal.proposal_id, str(error)))
                log.warning(
                    "proposal_not_posted",
                    proposal_id=proposal.proposal_id,
                    error=type(error).__name__,
                )
                continue
            mark_posted(store, _record(proposal), url=shown)
            posted.append(proposal.proposal_id)
            log.info("proposal_posted", proposal_id=proposal.proposal_id)
    return PostReport(posted, failures)


def endpoint_name(url: str) -> str:
    """Return what is remembered of an endpoint: no password, and no query.

    Raises:
        ConfigurationError: It is no `http://` or `https://` URL.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "PROPOSALS_URL must be a URL that begins with http:// or https://"
        raise ConfigurationError(message)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


class _Endpoint:
    def __init__(
        self, client: httpx.Client, url: str, policy: PostPolicy, call: Call
    ) -> None:
        self._client = client
        self._url = url
        self._policy = policy
        self._call = call
        self._in_time = TimedRequests(policy.timeout_seconds)

    def post(self, proposal: Proposal) -> None:
        guarded(
            self._call,
            lambda: self._post_once(proposal),
            attempts=self._policy.attempt_count,
            wait_seconds=self._policy.wait_seconds,
        )

    def _post_once(self, proposal: Proposal) -> None:
        content = msgspec.json.encode(_task(proposal))

        def send(trace: Trace) -> httpx.Response:
            # The body is not read: an endless one would fill the memory.
            with self._client.stream(
                "POST",
                self._url,
                content=content,
                headers={"Idempotency-Key": proposal.proposal_id},
                extensions={"trace": trace},
            ) as response:
                return response

        try:
            response = self._in_time(send)
        except (DeadlineExceededError, httpx.TimeoutException):
            seconds = self._policy.timeout_seconds
            raise self._unavailable(f"no answer within {seconds:g} s") from None
        except (httpx.HTTPError, UnicodeError) as error:
            # Not chained: its request holds the headers, and the key among them.
            raise self._unavailable(
                f"it cannot be reached or does not speak HTTP, {type(error).__name__}"
            ) from None
        status = response.status_code
        if httpx.codes.is_success(status):
            return
        if status in _TRY_AGAIN:
            asked = retry_after_seconds(response.headers.get("Retry-After"))
            raise self._unavailable(f"it answered {status}", asked)
        raise ProposalPostError(
            f"{endpoint_name(self._url)} refused it with {status}; it is posted again "
            "the next time. Look at PROPOSALS_URL, and for 401 or 403 at "
            "PROPOSALS_API_KEY."
        )

    def _unavailable(
        self, cause: str, retry_after_seconds: float | None = None
    ) -> DependencyUnavailableError:
        return unavailable(
            PROPOSALS_ENDPOINT,
            f"{cause}, at {endpoint_name(self._url)}",
            retry_after_seconds=retry_after_seconds,
        )


def _just_call(post: Callable[[], Result]) -> Result:
    return post()


def _headers(api_key: SecretStr | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    key = api_key.get_secret_value() if api_key is not None else ""
    if key:
        if not all("!" <= each <= "~" for each in key):
            message = "PROPOSALS_API_KEY must be of printable ASCII without spaces"
            raise ConfigurationError(message)
        headers["X-API-Key"] = key
    return headers


def _task(proposal: Proposal) -> dict[str, Any]:
    change = proposal.change
    now = "" if change.from_value is None else f" from {change.from_value}"
    return {
        "prompt": (
            "An optimization proposal, to be applied only when it is approved.\n"
            f"{proposal.title}\n"
            f"Why: {proposal.rationale}\n"
            f"Change: {change.what},{now} to: {change.to_value}"
        ),
        "require_approval": True,
        "max_iterations": 1,
        "context": proposal,
    }


def _record(proposal: Proposal) -> StoredDecision:
    return StoredDecision(
        proposal.proposal_id,
        proposal.kind,
        proposal.subject,
        posted_at=utc_now(),
    )
