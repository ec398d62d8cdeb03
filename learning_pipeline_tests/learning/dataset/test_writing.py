"""What an export writes, and what its manifest says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO

import msgspec
import pytest

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.dataset import (
    DatasetManifest,
    DatasetOptions,
    Filters,
    Output,
    export_dataset,
)
from learning_pipeline.learning.dataset.splitting import Splitter
from learning_pipeline.store import Store
from learning_pipeline.store.dataset_reading import DatasetSnapshot
from learning_pipeline_tests.learning.dataset.made import (
    example,
    exported,
    keep,
    lines,
    prompts,
)

MADE = [
    *(example(f"b {number}", partition="b.jsonl") for number in range(15)),
    *(
        example(f"a {number}", partition="Z.jsonl", kind="error_resolution")
        for number in range(15)
    ),
    example("b 0", partition="Z.jsonl"),
]
HALVES = DatasetOptions(validation_share=0.5)


def test_examples_stand_in_order_each_content_once(store: Store) -> None:
    """By partition key as code points, then offset, on either database."""
    keep(store, MADE)
    content, _ = exported(store)
    found = [each["metadata"] for each in lines(content["all"])]
    assert [(each["partition"], each["offset"]) for each in found] == [
        *(("Z.jsonl", 10 * number) for number in range(15)),
        *(("b.jsonl", 10 * number) for number in range(15)),
    ]


def test_the_manifest_says_what_is_there(store: Store) -> None:
    """Counts that add up, digests of the bytes, and checkpoints."""
    keep(store, MADE)
    content, manifest = exported(store, HALVES, "train", "validation")
    assert manifest.example_count == manifest.known_example_count == 30
    assert manifest.duplicate_count == 1
    assert manifest.by_kind == {"error_resolution": 15, "task_completed": 15}
    assert manifest.by_backend == {"(none)": 30}
    assert not manifest.has_enough
    for file in manifest.files:
        data = content[file.split]
        assert file.example_count == manifest.by_split[file.split] == data.count(b"\n")
        assert file.size_bytes == len(data)
        assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert [
        (each.stage, each.partition, each.generation, each.offset)
        for each in manifest.checkpoints
    ] == [
        ("finetuning_examples", "Z.jsonl", 0, 160),
        ("finetuning_examples", "b.jsonl", 0, 150),
    ]
    assert msgspec.json.decode(manifest.encode(), type=DatasetManifest) == manifest


def test_a_threshold_that_is_reached_is_said(sqlite_url: str) -> None:
    """From exactly so many on."""
    with Store(sqlite_url) as store:
        keep(store, MADE[:3])
        for threshold, has_enough in ((3, True), (4, False)):
            options = DatasetOptions(training_threshold=threshold)
            assert exported(store, options)[1].has_enough is has_enough


def test_both_sides_are_all_and_have_nothing_in_common(sqlite_url: str) -> None:
    """Each where its content says; one side alone has the same."""
    with Store(sqlite_url) as store:
        keep(store, MADE)
        content, _ = exported(store, HALVES, "train", "validation")
        train, validation = (set(prompts(each)) for each in content.values())
        assert not train & validation
        assert train | validation == set(prompts(exported(store)[0]["all"]))
        splitter = Splitter(0.5, 0)
        assert train == {
            each.prompt if each.kind != "error_resolution" else question(each.prompt)
            for each in MADE
            if splitter.split_of(each.content_hash) == "train"
        }
        alone, manifest = exported(store, HALVES, "validation")
        assert alone["validation"] == content["validation"]
        assert manifest.left_out == {"other_split": len(train)}


def question(error: str) -> str:
    """As the user asks about an error."""
    return f"How do I resolve this error?\n\n{error}"


def test_no_example_changes_sides_as_the_set_grows(sqlite_url: str) -> None:
    """Those that were there stay where they were."""
    with Store(sqlite_url) as store:
        keep(store, MADE[:10])
        before, _ = exported(store, HALVES, "train", "validation")
        keep(store, MADE[10:])
        after, _ = exported(store, HALVES, "train", "validation")
    for split in ("train", "validation"):
        assert set(prompts(before[split])) <= set(prompts(after[split]))


@pytest.mark.parametrize("format_name", ["openai", "parquet"])
def test_an_export_does_not_depend_on_when_and_how_often(
    sqlite_url: str, format_name: str
) -> None:
    """The same bytes, and the same manifest."""
    options = DatasetOptions(format=format_name, similarity=0.8)
    with Store(sqlite_url) as store:
        keep(store, MADE)
        assert exported(store, options) == exported(store, options)


def test_without_metadata_it_does_not_depend_on_the_run(
    sqlite_url: str, postgres_url: str
) -> None:
    """Nor on the database."""
    options = DatasetOptions(with_metadata=False)
    found = []
    for url, run_id in ((sqlite_url, "run-1"), (postgres_url, "run-9")):
        with Store(url) as store:
            keep(store, MADE, run_id=run_id)
            found.append(exported(store, options))
    assert found[0] == found[1]


def test_an_export_is_of_one_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is learned meanwhile is in none of it: not in the counts either."""
    keep(store, MADE[:3])
    examples = DatasetSnapshot.examples

    def slowly(snapshot: DatasetSnapshot) -> Iterator[object]:
        for each in examples(snapshot):
            yield each
            monkeypatch.setattr(DatasetSnapshot, "examples", examples)
            keep(store, [*MADE[3:6], example("b 0")])

    monkeypatch.setattr(DatasetSnapshot, "examples", slowly)
    content, manifest = exported(store)
    assert prompts(content["all"]) == ["b 0", "b 1", "b 2"]
    assert manifest.duplicate_count == 0
    assert [each.offset for each in manifest.checkpoints] == [30]


@pytest.mark.parametrize(
    "options",
    [
        DatasetOptions(format="csv"),
        DatasetOptions(validation_share=1),
        DatasetOptions(validation_share=float("nan")),
        DatasetOptions(validation_share=-0.1),
        DatasetOptions(similarity=0.4),
        DatasetOptions(similarity=1.1),
        DatasetOptions(filters=Filters(since="b", until="a")),
    ],
    ids=repr,
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    sqlite_url: str, options: DatasetOptions
) -> None:
    """By a message that says what can."""
    stream = BytesIO()
    with Store(sqlite_url) as store, pytest.raises(ConfigurationError):
        export_dataset(store, options, {"all": Output("-", stream)})
    assert stream.getvalue() == b""
