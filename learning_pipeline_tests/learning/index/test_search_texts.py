"""What can be searched for: code, messages, any language; and what cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from learning_pipeline.errors import SearchQueryError
from learning_pipeline.learning.index import IndexHome, SearchResult
from learning_pipeline.learning.index.texts import Phrase, searchable
from learning_pipeline_tests.learning.index.samples import example

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

TEXTS = {
    "code": "Call parseHttpHeader(raw) in src/net/http_reader.py, line 12, of v1.2.3",
    "message": "connect ECONNREFUSED 127.0.0.1:6333 while reading x.jsonl: errno -111",
    "german": "Die Größe der Datei stimmt nicht, obwohl sie überprüft wurde",
    "chinese": "数据库连接失败\uff0c请检查网络配置",
    "japanese": "データベースに接続できません",
    "thai": "ไม่สามารถเชื่อมต่อฐานข้อมูล",
    "korean": "데이터베이스 연결에 실패했습니다",
    "emoji": "The rollout is complete 🚀 and the dashboards are green",
    "french": "Le fichier a été supprimé à cause d'un échec",
    "common": "it is not what it was and that is all there is to it",
}
FOUND_BY = {
    "ECONNREFUSED": "message",
    "econnrefused": "message",
    "x.jsonl": "message",
    "127.0.0.1:6333": "message",
    "errno -111": "message",
    "parseHttpHeader": "code",
    "header": "code",
    "http_reader.py": "code",
    "src/net": "code",
    "v1.2.3": "code",
    "GRÖSSE": "german",
    "Grosse": "german",
    "überprüft": "german",
    "uberpruft": "german",
    "u\u0308berpru\u0308ft": "german",
    "数据库连接失败": "chinese",
    "数据库": "chinese",
    "据": "chinese",
    "検査 接続": "japanese",
    "接続できません": "japanese",
    "ฐานข้อมูล": "thai",
    "연결에": "korean",
    "🚀": "emoji",
    "supprime": "french",
    "it is not what it was": "common",
    "\uff58\uff0e\uff4a\uff53\uff4f\uff4e\uff4c": "message",
}
Search = Callable[[str], SearchResult]


@pytest.fixture
def search(home: IndexHome) -> Search:
    """Searches among the texts."""
    home.create()
    with home.open("a test") as index:
        index.upsert(
            [
                example(number, prompt=text, response=f"the answer is {name}")
                for number, (name, text) in enumerate(TEXTS.items())
            ]
        )

    def search_text(text: str) -> SearchResult:
        with home.open("a test") as index:
            return index.search(text)

    return search_text


def test_texts_of_any_kind_are_found(search: Search) -> None:
    """Identifiers, paths, numbers, accents or none, scripts without spaces, emoji."""
    found = {query: search(query).hits for query in FOUND_BY}
    first = {
        query: hits[0].response.removeprefix("the answer is ") if hits else None
        for query, hits in found.items()
    }
    assert first == FOUND_BY


def test_a_query_of_words_that_are_everywhere_finds_something(search: Search) -> None:
    """They weigh little, but they are words."""
    assert search("the and is").hits


def test_a_word_that_is_nowhere_finds_nothing(search: Search) -> None:
    """No hit is not an error."""
    assert search("xylophone").hits == ()


def test_a_query_of_ten_thousand_characters_is_answered(search: Search) -> None:
    """As long as an example is; what is longer than any is refused."""
    text = f"{'lorem ipsum ' * 832} ECONNREFUSED"
    assert 9_990 < len(text) < 10_010
    assert "ECONNREFUSED" in search(text).hits[0].prompt
    with pytest.raises(SearchQueryError, match="at most 16,000"):
        search("word " * 4_000)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("!?() --- ...", "no word in the query"),
        ("a \ud83d b", "lone surrogate"),
    ],
)
def test_a_query_that_says_nothing_is_refused(
    search: Search, query: str, why: str
) -> None:
    """The error says what is missing."""
    with pytest.raises(SearchQueryError, match=why):
        search(query)


def test_patterns_are_no_patterns_in_a_query(search: Search) -> None:
    """What means something to a regular expression is just text."""
    assert search("parseHttpHeader(raw) [").hits[0].has_phrase is False
    assert search("parseHttpHeader(raw)").hits[0].has_phrase is True


def test_plain_text_is_indexed_as_it_is() -> None:
    """Nothing is added where nothing is needed."""
    assert searchable("plain text") == "plain text"
    assert searchable("Größe") == "Größe"
    assert searchable("数据库") == "数据库 数 据 库 数据 据库"
    assert searchable("go 🚀") == "go 🚀 symbol1f680"


@pytest.mark.parametrize(
    ("query", "text", "holds"),
    [
        ("log", "the log file", True),
        ("log", "the catalog", False),
        ("the  log", "see The\nLog.", True),
        ("数据", "数据库", True),
        (".py", "reader.py", True),
        ("STRASSE", "Straße", True),
        ("log the", "the log", False),
    ],
)
def test_a_phrase_is_whole_words_in_their_order(
    query: str, text: str, *, holds: bool
) -> None:
    """In any case and with any blanks between."""
    assert Phrase(query).is_in(text) is holds
