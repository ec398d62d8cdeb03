"""URLs and keys of services: what is put right, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.settings import Settings, load_settings

PREFIX = "LEARNING_PIPELINE_"
KEYS = ("EMBEDDINGS_API_KEY", "QDRANT_API_KEY", "PROPOSALS_API_KEY")
URLS = ("EMBEDDINGS_URL", "QDRANT_URL", "PROPOSALS_URL")


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}EMBEDDINGS_MODEL", "m")


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("blank", ["\n", "\r", "\r\n", " ", "\t\n", "\u00a0"])
def test_the_line_break_of_a_key_file_is_no_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch, name: str, blank: str
) -> None:
    """A header could not hold it."""
    monkeypatch.setenv(PREFIX + name, f"{blank}sk-topsecret{blank}")
    key = getattr(load_settings(), name.lower())
    assert key.get_secret_value() == "sk-topsecret"


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("middle", ["\n", " ", "é", "\x7f", "\u200b"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, middle: str
) -> None:
    """The message names the setting."""
    key = f"sk-top{middle}secret"
    monkeypatch.setenv(PREFIX + name, key)
    with pytest.raises(ConfigurationError, match=PREFIX + name) as caught:
        load_settings()
    assert "printable ASCII" in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.delenv(PREFIX + name)
    with pytest.raises(ValidationError) as from_python:
        Settings.model_validate({name.lower(): key})
    assert "secret" not in str(from_python.value)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    [
        "host/v1",
        "ftp://host/v1",
        "http://",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host:0/v1",
        "http://host:99999/v1",
        "http://[::1/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}.example/v1",
        "http://exa mple/v1",
        "http://ex\tample/v1",
        "http://ex\nample/v1",
        "http://host/a b",
        "http://host/\x7f",
        "http://.:80/",
        "http://\u2603..\u2603/",
        "http://xn--zzzzz\u00e9/",
    ],
)
def test_a_url_that_cannot_be_asked_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    """When the settings are read, not when somebody waits for an answer."""
    monkeypatch.setenv(PREFIX + name, url)
    with pytest.raises(ConfigurationError, match=PREFIX + name) as caught:
        load_settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (" http://127.0.0.1:80/v1\n", "http://127.0.0.1:80/v1"),
        ("http://[::1]:6333/", "http://[::1]:6333"),
        ("https://exämple.org/v1/", "https://exämple.org/v1"),
        (f"http://{'a' * 63}.example", f"http://{'a' * 63}.example"),
        (" ", ""),
    ],
)
def test_a_url_that_can_be_asked_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, expected: str
) -> None:
    """Without the blanks around it and the slash at its end."""
    monkeypatch.setenv(PREFIX + name, given)
    assert getattr(load_settings(), name.lower()) == expected
