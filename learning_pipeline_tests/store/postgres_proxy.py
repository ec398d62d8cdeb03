"""A proxy between a client and Postgres that cuts the connection where it is told to.

It speaks the wire protocol so far as to know where a message ends:
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path

from sqlalchemy.engine import make_url

COMMIT = b"QCOMMIT\0"
COPY_ROW = b"d"
_DONE = (b"Z", b"G")
"""ReadyForQuery, CopyInResponse."""

_ANSWERED = (b"Q", b"S")
"""Query, Sync: the server answers with one of `_DONE` when it has done it."""

_SOCKET_NAME = ".s.PGSQL.5432"


class Cut(Enum):
    """Where to cut."""

    BEFORE = auto()
    """The server never sees the message."""

    AFTER = auto()
    """The server has done what it says; the client never hears of that."""

    AT_ONCE = auto()
    """The server gets the message, and may still be at it."""


Plan = Callable[[bytes], Cut | None]
"""Told of each message of the client: its type, then its content."""


class PostgresProxy:
    """A Unix socket like Postgres' own; counts the messages of all its clients."""

    def __init__(self, folder: Path, server_socket: str) -> None:
        """Listen in `folder`."""
        self._server_socket = server_socket
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET_NAME))
        self._listener.listen(32)
        self.is_open = True
        self.plan: Plan = lambda _: None
        self.messages: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut_once(self, where: Cut, prefix: bytes, *, occurrence: int = 1) -> None:
        """Cut at the `occurrence`-th message from now on that begins with `prefix`."""
        left = occurrence

        def plan(message: bytes) -> Cut | None:
            nonlocal left
            left -= message.startswith(prefix)
            if left:
                return None
            left = -1
            return where

        self.plan = plan

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server_socket)
            except OSError:
                client.close()
                continue
            _Line(self, client, server)


class _Line:
    """One client's connection."""

    def __init__(
        self, proxy: PostgresProxy, client: socket.socket, server: socket.socket
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_muted = False
        self._ready = threading.Event()
        for run in (self._forward, self._answer):
            threading.Thread(target=run, daemon=True).start()

    def _forward(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            # The first message has no type.
            length = _exactly(self._client, 4)
            self._server.sendall(
                length + _exactly(self._client, int.from_bytes(length) - 4)
            )
            while True:
                head = _exactly(self._client, 5)
                content = _exactly(self._client, int.from_bytes(head[1:]) - 4)
                message = head[:1] + content
                self._proxy.messages.append(message)
                cut = self._proxy.plan(message)
                if cut is Cut.BEFORE:
                    break
                self._is_muted = self._is_muted or cut is not None
                self._ready.clear()
                self._server.sendall(head + content)
                if cut is Cut.AFTER and message[:1] in _ANSWERED:
                    self._ready.wait(10)
                if cut is not None:
                    break
        self._close()

    def _answer(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = _exactly(self._server, 5)
                content = _exactly(self._server, int.from_bytes(head[1:]) - 4)
                if not self._is_muted:
                    self._client.sendall(head + content)
                if head[:1] in _DONE:
                    self._ready.set()
        self._close()

    def _close(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _exactly(source: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = source.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)


@contextlib.contextmanager
def proxied(url: str) -> Iterator[tuple[PostgresProxy, str]]:
    """A proxy before the Postgres of `url`, and the URL that goes through it."""
    parsed = make_url(url)
    server_socket = f"{parsed.query['host']}/{_SOCKET_NAME}"
    folder = Path(tempfile.mkdtemp(prefix="lp-proxy-"))
    proxy = PostgresProxy(folder, server_socket)
    try:
        through = parsed.update_query_dict({"host": str(folder)})
        yield proxy, through.render_as_string(hide_password=False)
    finally:
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)
