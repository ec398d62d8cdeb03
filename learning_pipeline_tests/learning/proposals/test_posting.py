"""Posting proposals to a real HTTP server."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from learning_pipeline.errors import (
    ConfigurationError,
    FencedError,
    LearningPipelineError,
)
from learning_pipeline.learning.breakers import PROPOSALS_ENDPOINT, Breakers
from learning_pipeline.learning.proposals import posting
from learning_pipeline.learning.proposals.listing import (
    decide,
    find_proposal,
    list_proposals,
)
from learning_pipeline.learning.proposals.posting import (
    PostPolicy,
    PostReport,
    post_proposals,
)
from learning_pipeline.settings import Settings
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.learned import learn, write_lines
from learning_pipeline_tests.learning.proposals.samples import limit_hit, refused

HASTY = PostPolicy(timeout_seconds=0.3, attempt_count=2, wait_seconds=0.01)
KEY = SecretStr("k3y-of-the-test")


class Endpoint:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        """Start it on a free port."""
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.answers: list[int | bytes | None] = []
        self.always: int | bytes | None = 202
        self.retry_after = ""
        self.drip_seconds = 0.0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.requests.append((headers, json.loads(body)))
                answers = endpoint.answers
                answer = answers.pop(0) if answers else endpoint.always
                if endpoint.drip_seconds:
                    self.drip()
                elif answer is None:
                    endpoint.gone.wait(5)
                elif isinstance(answer, bytes):
                    self.wfile.write(answer)
                else:
                    self.send_response(answer)
                    self.send_header("Location", "/elsewhere")
                    if endpoint.retry_after:
                        self.send_header("Retry-After", endpoint.retry_after)
                    self.end_headers()
                    self.wfile.write(b"\xff garbage")
                self.close_connection = True

            def drip(self) -> None:
                with contextlib.suppress(ConnectionError):
                    for each in b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 200:
                        self.wfile.write(bytes([each]))
                        if endpoint.gone.wait(endpoint.drip_seconds):
                            return

            def log_message(self, *_: object) -> None:
                pass

        self.gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/tasks"

    def close(self) -> None:
        """Stop it."""
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A server of the test's own."""
    running = Endpoint()
    yield running
    running.close()


@pytest.fixture
def proposed(sqlite_url: str, tmp_path: Path) -> Iterator[Store]:
    """Two proposals of 20 samples or more, and a preliminary one."""
    lines = [limit_hit(number) for number in range(21)]
    lines += [refused(number) for number in range(20)]
    write_lines(tmp_path, "a.jsonl", [*lines, refused(host="aidb")])
    with Store(sqlite_url) as store:
        learn(store, tmp_path, "a.jsonl", stages="optimization_proposals")
        yield store


def post(store: Store, url: str, **options: Any) -> PostReport:
    """Post, with little patience."""
    return post_proposals(store, url=url, policy=HASTY, **options)


def test_each_proposal_is_posted_once(proposed: Store, endpoint: Endpoint) -> None:
    """With its id as idempotency key; preliminary and decided ones are not."""
    ids = [each.proposal_id for each in list_proposals(proposed).proposals[:2]]
    assert post(proposed, endpoint.url, api_key=KEY) == PostReport(ids, [])
    assert post(proposed, endpoint.url, api_key=KEY) == PostReport([], [])
    headers, body = endpoint.requests[0]
    assert [each[0]["idempotency-key"] for each in endpoint.requests] == ids
    assert headers["x-api-key"] == KEY.get_secret_value()
    assert body["require_approval"] is True
    assert body["max_iterations"] == 1
    assert body["context"]["proposal_id"] == ids[0]
    assert body["context"]["evidence"]["sample_count"] == 21
    assert "from 8 to: 10" in body["prompt"]
    stored = find_proposal(proposed, ids[0])
    assert stored.posted_to == [endpoint.url]
    assert stored.posted_at is not None
    assert stored.status == "proposed"


def test_another_endpoint_gets_them_too(proposed: Store, endpoint: Endpoint) -> None:
    """And the first one does not get them again afterwards."""
    other = endpoint.url.replace("tasks", "other")
    for url, count in ((endpoint.url, 2), (other, 2), (endpoint.url, 0), (other, 0)):
        assert len(post(proposed, url).posted) == count
    first = list_proposals(proposed).proposals[0]
    assert first.posted_to == [endpoint.url, other]


def test_decided_ones_are_not_posted_and_posting_keeps_decisions(
    proposed: Store, endpoint: Endpoint
) -> None:
    """Whoever decided needs no task that asks for approval."""
    first, second = list_proposals(proposed).proposals[:2]
    decide(proposed, first.proposal_id, accept=True)
    assert post(proposed, endpoint.url).posted == [second.proposal_id]
    decide(proposed, second.proposal_id, accept=False)
    again = find_proposal(proposed, second.proposal_id)
    assert (again.status, again.posted_to) == ("rejected", [endpoint.url])


def test_a_dry_run_posts_nothing(proposed: Store, endpoint: Endpoint) -> None:
    """And records nothing."""
    assert len(post(proposed, endpoint.url, dry_run=True).posted) == 2
    assert endpoint.requests == []
    assert len(post(proposed, endpoint.url).posted) == 2


def test_what_passes_by_itself_is_tried_again(
    proposed: Store, endpoint: Endpoint
) -> None:
    """With the same key."""
    endpoint.answers = [503, 200, 429, 200]
    assert len(post(proposed, endpoint.url).posted) == 2
    keys = [each[0]["idempotency-key"] for each in endpoint.requests]
    assert keys[0] == keys[1] != keys[2] == keys[3]


@pytest.mark.parametrize(
    ("answer", "said", "attempts"),
    [
        (500, "answered 500", 2),
        (None, "no answer within 0.3 s", 2),
        (b"garbage\r\n\r\n", "RemoteProtocolError", 2),
        (b"", "RemoteProtocolError", 2),
        (400, "refused it with 400", 1),
        (401, "PROPOSALS_API_KEY", 1),
        (302, "refused it with 302", 1),
    ],
)
def test_failures_are_collected_and_mended_the_next_time(
    proposed: Store,
    endpoint: Endpoint,
    answer: int | bytes | None,
    said: str,
    attempts: int,
) -> None:
    """The others are posted all the same; no secret is in what is said."""
    endpoint.answers = [answer] * attempts
    report = post(proposed, endpoint.url, api_key=KEY)
    assert len(endpoint.requests) == attempts + 1
    assert len(report.posted) == 1
    (failure,) = report.failures
    assert said in failure.why
    assert KEY.get_secret_value() not in failure.why
    assert post(proposed, endpoint.url).posted == [failure.proposal_id]


def test_an_endpoint_that_is_not_there_is_a_failure(proposed: Store) -> None:
    """Of each proposal, one by one."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/tasks"
    report = post(proposed, url)
    assert len(report.failures) == 2
    assert "ConnectError" in report.failures[0].why


def test_a_crash_before_the_record_posts_again_under_the_same_key(
    proposed: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an endpoint can tell."""

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(posting, "mark_posted", crash)
        with pytest.raises(KeyboardInterrupt):
            post(proposed, endpoint.url)
    assert len(post(proposed, endpoint.url).posted) == 2
    keys = [each[0]["idempotency-key"] for each in endpoint.requests]
    assert keys[0] == keys[1]


def test_what_guards_a_post_may_refuse_it(proposed: Store, endpoint: Endpoint) -> None:
    """Its error is that proposal's failure; another one, such as of the store, not."""

    def refuse(_: Callable[[], None]) -> None:
        raise LearningPipelineError("left alone")

    report = post(proposed, endpoint.url, call=refuse)
    assert [each.why for each in report.failures] == ["left alone", "left alone"]
    assert endpoint.requests == []

    def fail(_: Callable[[], None]) -> None:
        raise FencedError

    with pytest.raises(FencedError):
        post(proposed, endpoint.url, call=fail)


def test_a_breaker_leaves_an_endpoint_alone_that_keeps_failing(
    proposed: Store, endpoint: Endpoint
) -> None:
    """After the failures that the settings allow; a refusal is none."""
    breakers = Breakers(proposed, Settings(breaker_failures=1))
    call = breakers.of(PROPOSALS_ENDPOINT).call
    endpoint.always = 400
    assert len(post(proposed, endpoint.url, call=call).failures) == 2
    assert len(endpoint.requests) == 2
    endpoint.always = 500
    assert len(post(proposed, endpoint.url, call=call).failures) == 2
    assert len(endpoint.requests) == 2 + 1


def test_each_attempt_counts_for_the_breaker(
    proposed: Store, endpoint: Endpoint
) -> None:
    """Two of two proposals are four, of which the last is not made."""
    call = Breakers(proposed, Settings(breaker_failures=3)).of(PROPOSALS_ENDPOINT).call
    endpoint.always = 500
    first, second = post(proposed, endpoint.url, call=call).failures
    assert len(endpoint.requests) == 3
    assert "failure 2 in a row" in first.why
    assert "left alone" in second.why


def test_an_endpoint_says_when_to_come_back(
    proposed: Store, endpoint: Endpoint
) -> None:
    """`Retry-After` is waited for, unless it asks for more patience than there is."""
    endpoint.retry_after = "1"
    endpoint.answers = [503, 200, 200]
    began = time.monotonic()
    assert len(post(proposed, endpoint.url).posted) == 2
    assert time.monotonic() - began >= 1
    other = endpoint.url.replace("tasks", "other")
    endpoint.retry_after = "3600"
    endpoint.always = 429
    assert len(post(proposed, other).failures) == 2
    assert len(endpoint.requests) == 3 + 2


def test_an_endpoint_that_drips_is_given_up(
    proposed: Store, endpoint: Endpoint
) -> None:
    """The time is for all of a request, not from byte to byte."""
    endpoint.drip_seconds = 0.1
    began = time.monotonic()
    first, _ = post(proposed, endpoint.url).failures
    assert "no answer within 0.3 s" in first.why
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tasks",
        "ftp://host/tasks",
        "file:///etc/passwd",
        "http://",
        "http:///tasks",
        "http://host:port/",
        "http://[::1/",
        "http://host/\n",
    ],
)
def test_only_http_is_posted_to(sqlite_url: str, url: str) -> None:
    """Anything else is refused before anything is opened."""
    with Store(sqlite_url) as store, pytest.raises(ConfigurationError):
        post(store, url)


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel"])
def test_a_key_that_no_header_holds_is_refused(sqlite_url: str, key: str) -> None:
    """And not shown."""
    with (
        Store(sqlite_url) as store,
        pytest.raises(ConfigurationError, match="PROPOSALS_API_KEY") as caught,
    ):
        post(store, "http://host/tasks", api_key=SecretStr(key))
    assert key not in str(caught.value)


def test_no_secret_of_the_url_is_remembered() -> None:
    """Neither password nor query."""
    name = posting.endpoint_name("http://u:secret@[::1]:8004/tasks?token=secret#x")
    assert name == "http://[::1]:8004/tasks"
