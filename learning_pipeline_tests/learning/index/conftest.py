"""Fixtures of the index's tests: both engines, a state database, an HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from learning_pipeline.learning.breakers import Breakers
from learning_pipeline.learning.index.embedded import EmbeddedHome
from learning_pipeline.learning.index.embeddings import Embeddings
from learning_pipeline.learning.index.interface import IndexHome
from learning_pipeline.learning.index.server import ServerHome
from learning_pipeline.learning.index.vectors import Vectorizer
from learning_pipeline.settings import Settings
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.index.http_server import (
    ScriptedServer,
    embeddings_of,
)

MakeHome = Callable[..., IndexHome]
MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings of a state directory of its own, with these changes."""

    def make(**given: Any) -> Settings:
        return Settings(state_dir=tmp_path / "state", **given)

    return make


@pytest.fixture
def index_store(tmp_path: Path) -> Iterator[Store]:
    """A state database for breakers."""
    with Store(f"sqlite:///{tmp_path / 'state.db'}") as store:
        yield store


@pytest.fixture
def breakers(index_store: Store, make_settings: MakeSettings) -> Breakers:
    """Breakers that open after five failures."""
    return Breakers(index_store, make_settings())


@pytest.fixture
def http_server() -> Iterator[ScriptedServer]:
    """A real HTTP server; answers 404 until it is told what to say."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def embedding_server(http_server: ScriptedServer) -> ScriptedServer:
    """One that embeds: texts that share letters are near each other."""
    http_server.answer = embeddings_of
    return http_server


@pytest.fixture
def embeddings(
    embedding_server: ScriptedServer, make_settings: MakeSettings, breakers: Breakers
) -> Iterator[Embeddings]:
    """Its client; a second try follows at once."""
    settings = make_settings(
        embeddings_url=f"{embedding_server.url}/v1/embeddings",
        embeddings_model="letters",
        embeddings_batch=16,
        embeddings_timeout_seconds=5,
    )
    with Embeddings(settings, breakers, wait_seconds=0.001) as client:
        yield client


@pytest.fixture(params=["embedded", "server"])
def make_home(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_settings: MakeSettings,
    breakers: Breakers,
) -> MakeHome:
    """Makes homes of one index on each engine; a server is the client's local mode."""

    def make(embeddings: Embeddings | None = None) -> IndexHome:
        vectorizer = Vectorizer(embeddings)
        if request.param == "embedded":
            folder = tmp_path / "state" / "index"
            return EmbeddedHome(folder, vectorizer, wait_seconds=0.2)
        return ServerHome(
            make_settings(qdrant_url="http://local:6333"),
            vectorizer,
            breakers,
            lambda: QdrantClient(path=str(tmp_path / "server")),
            wait_seconds=0.001,
        )

    return make


@pytest.fixture
def home(make_home: MakeHome) -> IndexHome:
    """Where an index can be, on each engine; searched by words only."""
    return make_home()
