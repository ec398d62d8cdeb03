"""Counting tokens by what is on this machine, and by nothing else."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import tiktoken
import tiktoken.registry
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.dataset import DatasetOptions
from learning_pipeline.learning.dataset.tokens import TEXTS_AT_ONCE, TokenCounter
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.dataset.made import example, exported, keep


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A `tokenizer.json` that gives a token a word, and would cut after two."""
    made = Tokenizer(WordLevel({"?": 0}, unk_token="?"))  # noqa: S106 - a token of text
    made.pre_tokenizer = Whitespace()
    made.enable_truncation(2)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache with nothing in it, and no way out."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("it wants to download")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
def test_what_is_not_there_is_not_downloaded() -> None:
    """It is said instead."""
    counter = TokenCounter("o200k_base")
    counter.add(["some text"])
    assert counter.result.count is None
    assert "not in tiktoken's cache" in str(counter.result.why_none)


def test_an_encoding_of_tiktoken_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there; special tokens in a text are text."""
    encoding = {
        "name": "bytes",
        "pat_str": r"[\s\S]",
        "mergeable_ranks": {bytes([number]): number for number in range(256)},
        "special_tokens": {"<|end|>": 256},
    }
    tiktoken.list_encoding_names()
    known = {"bytes": lambda: encoding}
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", known)
    counter = TokenCounter("bytes")
    counter.add(["four", "<|end|>"])
    assert (counter.result.count, counter.result.tokenizer) == (11, "tiktoken bytes")


def test_a_tokenizer_file_counts_whole_texts(tokenizer_file: Path) -> None:
    """Also where it is made to cut; however many texts there are."""
    counter = TokenCounter(str(tokenizer_file))
    for _ in range(TEXTS_AT_ONCE):
        counter.add(["one two three", "four"])
    found = counter.result
    assert found.count == 4 * TEXTS_AT_ONCE
    assert str(found.tokenizer).startswith("tokenizer.json, SHA-256 ")


def test_the_manifest_has_the_count_of_all_messages(
    sqlite_url: str, tokenizer_file: Path
) -> None:
    """Of those in the files, system messages included."""
    with Store(sqlite_url) as store:
        keep(store, [example("one two", response="three", kind="local_inference")])
        options = DatasetOptions(tokenizer=str(tokenizer_file))
        assert exported(store, options)[1].tokens.count == 3


@pytest.mark.parametrize("name", ["o300k_base", "missing.json", "/nowhere/t.json"])
def test_what_is_no_tokenizer_is_refused(name: str) -> None:
    """By its name."""
    with pytest.raises(ConfigurationError, match=name.rpartition("/")[2]):
        TokenCounter(name)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    """Whatever is in it."""
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"no tokenizer\.json"):
        TokenCounter(str(path))


@pytest.mark.parametrize(
    ("package", "name"), [("tiktoken", "o200k_base"), ("tokenizers", "x.json")]
)
def test_without_the_package_it_is_said(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    """It is an extra of this project."""
    monkeypatch.setitem(sys.modules, package, None)
    assert "learning_pipeline[tokens]" in str(TokenCounter(name).result.why_none)


def test_none_counts_nothing() -> None:
    """And says that this was asked for."""
    assert TokenCounter("none").result.why_none == "no tokenizer was asked for"
