"""A real HTTP server: it records what it is asked, and is told what to say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

DIMENSION = 26
DRIP_SECONDS = 0.05


@dataclass
class Request:
    """What was asked.

    Attributes:
        method: Such as `POST`.
        path: With the query.
        headers: By name in lower case.
        body: As it came.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What to say.

    Attributes:
        status: Of HTTP.
        body: Bytes, or what becomes JSON.
        headers: More headers.
        delay_seconds: Before saying it.
        drip_from: From which byte on, head included, it comes slowly: one byte each
            `DRIP_SECONDS`.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drip_from: int | None = None

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


def refuse(_: Request) -> Answer:
    """Nothing is here."""
    return Answer(404)


class ScriptedServer:
    """The server.

    Attributes:
        answer: What to say; may be changed at any time.
        requests: What was asked.
        url: Where it is.
    """

    def __init__(self) -> None:
        """Listen on a port that is free."""
        self.answer: Callable[[Request], Answer] = refuse
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Stop, once: from now on connections are refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def say(self, *answers: Answer) -> None:
        """Say these, one after another, then the last one for ever."""
        left = list(answers)

        def answer(_: Request) -> Answer:
            return left.pop(0) if len(left) > 1 else left[0]

        self.answer = answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                request = Request(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                script.requests.append(request)
                answer = script.answer(request)
                time.sleep(answer.delay_seconds)
                try:
                    if answer.drip_from is not None:
                        self.drip(answer.content, answer.drip_from)
                        return
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)
                except ConnectionError:
                    self.close_connection = True

            def drip(self, content: bytes, start: int) -> None:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n"
                whole = head.encode() + content
                self.wfile.write(whole[:start])
                for number in range(start, len(whole)):
                    self.wfile.write(whole[number : number + 1])
                    time.sleep(DRIP_SECONDS)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def embedding(text: str) -> list[float]:
    """The share of each letter; a text without any is of `z`."""
    counts = [float(text.lower().count(chr(97 + n))) for n in range(DIMENSION)]
    counts[-1] += 0.01
    return counts


def embeddings_of(request: Request) -> Answer:
    """An answer as OpenAI gives it, in no particular order."""
    data = [
        {"object": "embedding", "index": index, "embedding": embedding(text)}
        for index, text in enumerate(request.json["input"])
    ]
    return Answer(body={"object": "list", "data": data[::-1], "model": "letters"})
