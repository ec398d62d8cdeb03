"""The formats: who says what in which, and that trainers' libraries load them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from learning_pipeline.learning.dataset import FORMATS, DatasetOptions
from learning_pipeline.learning.dataset.lines import LINES, LineEncoder
from learning_pipeline.learning.dataset.messages import messages_of
from learning_pipeline.learning.dataset.sinks import ROWS_PER_GROUP
from learning_pipeline.model import Example
from learning_pipeline.store import Store
from learning_pipeline_tests.learning.dataset.loading import load
from learning_pipeline_tests.learning.dataset.made import (
    example,
    exported,
    keep,
    lines,
)
from learning_pipeline_tests.pipeline import Pipeline

REAL_FILE = "hybrid-events.jsonl"
STRING = {"dtype": "string", "_type": "Value"}

NASTY = [
    "\u2028\u2029\u0085 every line end \r\n\v\f\x1c\x1d\x1e",
    "emoji 👩‍👩‍👧‍👦 and \U0001d54aurrogates 🏳️‍🌈",
    "שלום עולם \u202eright to left\u202c مرحبا",
    'quotes " and \\ and \\u2028 spelled out',
    "\x00\x01 controls \x7f",
    "long " * 3_000,
    "2026-05-28T18:14:11",
    "17",
    "",
]


def test_a_completed_task_is_answered_by_a_helpful_coding_assistant() -> None:
    """A system message, then one question and its answer."""
    system, user, assistant = messages_of(example("Do it", response="Done"))
    assert system.role == "system"
    assert "helpful coding assistant" in system.content
    assert (user.role, user.content) == ("user", "Do it")
    assert (assistant.role, assistant.content) == ("assistant", "Done")


def test_an_error_is_put_as_a_question_to_an_expert_at_debugging() -> None:
    """The error itself stands in it, word for word."""
    made = example("E42: no such pin", response="Solder it", kind="error_resolution")
    system, user, assistant = messages_of(made)
    assert "expert at debugging" in system.content
    assert "?" in user.content
    assert user.content.endswith("E42: no such pin")
    assert assistant.content == "Solder it"


@pytest.mark.parametrize(
    "kind", ["local_inference", "agent_step_complete", "interaction_recorded", "own"]
)
def test_other_kinds_are_a_plain_question_and_answer(kind: str) -> None:
    """Users' own kinds too."""
    found = messages_of(example("Why?", response="Because", kind=kind))
    assert [(each.role, each.content) for each in found] == [
        ("user", "Why?"),
        ("assistant", "Because"),
    ]


def test_metadata_leads_back_to_the_line() -> None:
    """All of the provenance; what is not stated is an empty text."""
    made = example("x", offset=70, generation=2, ordinal=1)
    encoder = LineEncoder("openai", with_metadata=True)
    assert json.loads(encoder.encode(made))["metadata"] == {
        "id": made.content_hash.hex(),
        "partition": "a.jsonl",
        "generation": 2,
        "offset": 70,
        "ordinal": 1,
        "run": "run-1",
        "kind": "task_completed",
        "backend": "",
        "timestamp": "",
    }


@pytest.mark.parametrize(
    ("format_name", "keys"),
    [
        ("openai", {"messages"}),
        ("sharegpt", {"conversations"}),
        ("alpaca", {"instruction", "input", "output"}),
    ],
)
def test_without_metadata_a_line_has_the_keys_of_its_format_only(
    format_name: str, keys: set[str]
) -> None:
    """As an upload wants it."""
    encoder = LineEncoder(format_name, with_metadata=False)
    assert json.loads(encoder.encode(example())).keys() == keys


def test_alpaca_has_an_error_as_input() -> None:
    """Asked about by the instruction; of all else the prompt is the instruction."""
    encoder = LineEncoder("alpaca", with_metadata=False)
    error = example("E42", response="Solder it", kind="error_resolution")
    line = json.loads(encoder.encode(error))
    assert line["instruction"].endswith("?")
    assert (line["input"], line["output"]) == ("E42", "Solder it")
    line = json.loads(encoder.encode(example("Do it", response="Done")))
    assert line == {"instruction": "Do it", "input": "", "output": "Done"}


texts = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]))
)


@hypothesis_settings(max_examples=60)
@given(prompt=texts, response=texts, name=st.sampled_from(list(LINES)))
def test_any_text_comes_back_from_one_line(
    prompt: str, response: str, name: str
) -> None:
    """No line holds anything at which some readers end a line."""
    made = example(prompt, response=response, kind="agent_step_complete")
    encoded = LineEncoder(name, with_metadata=False).encode(made)
    (line,) = encoded.decode().splitlines()
    found = json.loads(line, object_hook=lambda each: _texts_of(name, each))
    assert found == [prompt, response]


def _texts_of(name: str, found: dict[str, object]) -> object:
    if name == "alpaca":
        assert found["input"] == ""
        return [found["instruction"], found["output"]]
    if name == "openai":
        return found["content"] if "content" in found else found["messages"]
    return found["value"] if "value" in found else found["conversations"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The real file, learned."""
    made = Pipeline(tmp_path_factory.mktemp("real"))
    source = Path(__file__).parents[3] / "learning_pipeline/testing/data" / REAL_FILE
    (made.telemetry / REAL_FILE).write_bytes(source.read_bytes())
    made.process()
    return made


@pytest.fixture(scope="module")
def late_columns() -> list[Example]:
    """Examples of nasty texts, of which only the last states anything."""
    made = [example(f"{text} {number}") for number, text in enumerate(NASTY * 2)]
    return [
        *made,
        example(
            "last",
            kind="error_resolution",
            backend="own",
            event_timestamp="2026-05-28T18:14:11.863954Z",
        ),
    ]


@pytest.fixture(scope="module")
def loaded(
    real: Pipeline,
    late_columns: list[Example],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, object]]:
    """Every format of both, loaded by `datasets`, by format and which of the two."""
    folder = tmp_path_factory.mktemp("loaded")
    files = {}
    with (
        Store(real.store_url) as of_real,
        Store(f"sqlite:///{folder / 'state.db'}") as of_late,
    ):
        keep(of_late, late_columns)
        for which, store in (("real", of_real), ("late", of_late)):
            for name in FORMATS:
                options = DatasetOptions(format=name)
                path = folder / f"{which}-{name}{options.suffix}"
                path.write_bytes(exported(store, options)[0]["all"])
                kind = "parquet" if name == "parquet" else "json"
                files[f"{which} {name}"] = (kind, path)
    return load(folder, files)


def test_datasets_loads_the_44_examples_of_the_real_file_in_every_format(
    loaded: dict[str, dict[str, object]],
) -> None:
    """The same ones, in the same order."""
    ids = {
        name: [row["metadata"]["id"] for row in found["rows"]]  # type: ignore[attr-defined]
        for name, found in loaded.items()
        if name.startswith("real")
    }
    assert [len(set(each)) for each in ids.values()] == [44] * 4
    assert len({tuple(each) for each in ids.values()}) == 1


@pytest.mark.parametrize("which", ["real", "late"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_datasets_finds_the_columns_of_the_format(
    loaded: dict[str, dict[str, object]], which: str, format_name: str
) -> None:
    """All texts are texts, also where the first lines state nothing."""
    features = loaded[f"{which} {format_name}"]["features"]
    assert isinstance(features, dict)
    metadata = features.pop("metadata")
    assert {name: each["dtype"] for name, each in metadata.items()} == {
        **dict.fromkeys(("id", "partition", "run", "kind"), "string"),
        **dict.fromkeys(("backend", "timestamp"), "string"),
        **dict.fromkeys(("generation", "ordinal"), _small(format_name)),
        "offset": "int64",
    }
    if format_name == "alpaca":
        assert features == dict.fromkeys(("instruction", "input", "output"), STRING)
        return
    (column, feature), *others = features.items()
    assert not others
    turn = feature["feature"] if isinstance(feature, dict) else feature[0]
    expected = {
        "sharegpt": ("conversations", {"from", "value"}),
    }.get(format_name, ("messages", {"role", "content"}))
    assert (column, set(turn)) == expected
    assert all(each == STRING for each in turn.values())


def _small(format_name: str) -> str:
    return "int32" if format_name == "parquet" else "int64"


@pytest.mark.parametrize("which", ["real", "late"])
def test_roles_alternate_and_end_with_the_answer(
    loaded: dict[str, dict[str, object]], which: str
) -> None:
    """At most one system message, first; ShareGPT says it by other names."""
    allowed = [["user", "assistant"], ["system", "user", "assistant"]]
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    for format_name in ("openai", "parquet"):
        for row in loaded[f"{which} {format_name}"]["rows"]:  # type: ignore[attr-defined]
            assert [each["role"] for each in row["messages"]] in allowed
    for row in loaded[f"{which} sharegpt"]["rows"]:  # type: ignore[attr-defined]
        assert [names[each["from"]] for each in row["conversations"]] in allowed


def test_texts_come_through_datasets_as_they_were(
    loaded: dict[str, dict[str, object]], late_columns: list[Example]
) -> None:
    """Every format, character by character."""
    asked = [messages_of(each)[-2].content for each in late_columns]
    for format_name, column, key in (
        ("openai", "messages", "content"),
        ("parquet", "messages", "content"),
        ("sharegpt", "conversations", "value"),
    ):
        rows = loaded[f"late {format_name}"]["rows"]
        assert [row[column][-2][key] for row in rows] == asked  # type: ignore[attr-defined]
    rows = loaded["late alpaca"]["rows"]
    found = [row["input"] or row["instruction"] for row in rows]  # type: ignore[attr-defined]
    assert found == [each.prompt for each in late_columns]


def test_parquet_is_written_in_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What bounds its memory; the rows stay in order."""
    assert ROWS_PER_GROUP > 3
    monkeypatch.setattr("learning_pipeline.learning.dataset.sinks.ROWS_PER_GROUP", 3)
    path = tmp_path / "x.parquet"
    with Store(f"sqlite:///{tmp_path / 'state.db'}") as store:
        keep(store, [example(f"prompt {number}") for number in range(10)])
        content, _ = exported(store, DatasetOptions(format="parquet"))
        path.write_bytes(content["all"])
        expected = [each["metadata"] for each in lines(exported(store)[0]["all"])]
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 4
    assert file.read().column("metadata").to_pylist() == expected


def test_parquet_of_nothing_states_its_columns(tmp_path: Path) -> None:
    """It can be loaded, too."""
    path = tmp_path / "x.parquet"
    with Store(f"sqlite:///{tmp_path / 'state.db'}") as store:
        options = DatasetOptions(format="parquet", with_metadata=False)
        path.write_bytes(exported(store, options)[0]["all"])
    table = pq.read_table(path)
    assert (table.num_rows, table.column_names) == (0, ["messages"])
