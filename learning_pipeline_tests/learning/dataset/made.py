"""Examples as a dataset is made of: some made up, some in a real store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from learning_pipeline.learning.dataset import (
    DatasetManifest,
    DatasetOptions,
    Output,
    export_dataset,
)
from learning_pipeline.model import BatchOutput, Counters, Example
from learning_pipeline.store import Store
from learning_pipeline_tests.store.examples_of import derive
from learning_pipeline_tests.store.samples import begin, fingerprint_at, open_session

LINE_BYTES = 10

EXAMPLE = Example(
    content_hash=bytes(32),
    kind="task_completed",
    prompt="Write a test",
    response="def test(): ...",
    iterations=1,
    backend=None,
    success_metrics="{}",
    event_timestamp=None,
    partition="a.jsonl",
    generation=0,
    offset=0,
    ordinal=0,
    run_id="run-1",
)


def example(prompt: str = EXAMPLE.prompt, **fields: Any) -> Example:
    """An example, by its prompt and what else matters; hashed by its texts."""
    made = msgspec.structs.replace(EXAMPLE, prompt=prompt, **fields)
    if "content_hash" in fields:
        return made
    content = f"{made.prompt}\n{made.response}".encode()
    return msgspec.structs.replace(made, content_hash=hashlib.sha256(content).digest())


def keep(store: Store, examples: Sequence[Example], *, run_id: str = "run-1") -> None:
    """Let the stages learn these as lines of ten bytes, file by file, as they come."""
    for partition in dict.fromkeys(each.partition for each in examples):
        with open_session(store, run_id=run_id) as session:
            claim = session.claim(partition)
            if claim.checkpoint.sequence == 0:
                claim = begin(session, claim)
            for each in examples:
                if each.partition != partition:
                    continue
                start = claim.checkpoint.offset
                row = (
                    *(start, 0, each.kind, each.prompt, each.response),
                    *(each.iterations, each.backend, None, each.success_metrics),
                    *(each.event_timestamp, True, each.content_hash),
                )
                claim = session.commit(
                    claim,
                    BatchOutput([row], [], Counters(record_count=1, row_count=1)),
                    end_offset=start + LINE_BYTES,
                    fingerprint=fingerprint_at(start + LINE_BYTES),
                    size_bytes=1000,
                )
        derive(store, partition)


def exported(
    store: Store, options: DatasetOptions | None = None, *splits: str
) -> tuple[dict[str, bytes], DatasetManifest]:
    """What an export writes for each split, and its manifest."""
    streams = {split: BytesIO() for split in splits or ("all",)}
    outputs = {split: Output(split, stream) for split, stream in streams.items()}
    manifest = export_dataset(store, options or DatasetOptions(), outputs)
    return {split: each.getvalue() for split, each in streams.items()}, manifest


def lines(content: bytes) -> list[Any]:
    """The lines of JSON; they end with a newline only."""
    assert not content or content.endswith(b"\n")
    return [json.loads(line) for line in content.decode().splitlines()]


def prompts(content: bytes) -> list[str]:
    """What the user asks in each line of OpenAI's format."""
    return [
        next(each["content"] for each in line["messages"] if each["role"] == "user")
        for line in lines(content)
    ]


def sha256(path: Path) -> str:
    """The digest of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
