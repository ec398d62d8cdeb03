"""An example as a conversation, and the provenance that goes with it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from learning_pipeline.model import Example

ERROR_RESOLUTION: Final = "error_resolution"
ERROR_QUESTION: Final = "How do I resolve this error?"

NOT_STATED: Final = ""
"""What is not stated, as text: Hugging Face `datasets` takes a column's type from the
first lines of a file, and cannot make text of what began with nulls."""

Role = Literal["system", "user", "assistant"]


class Message(msgspec.Struct, frozen=True, gc=False):
    """One turn of a conversation, as OpenAI's chat format spells it.

    Attributes:
        role: Whose turn it is.
        content: The text.
    """

    role: Role
    content: str


class Metadata(msgspec.Struct, frozen=True, gc=False):
    """What leads back from an example to its line, and what is known of it.

    Attributes:
        id: The content hash, in hex: what `explain` takes.
        partition: The partition key of the telemetry file.
        generation: Which physical file behind that.
        offset: Byte position of the line there.
        ordinal: Which pattern of that line, from 0.
        run: The run that made it an example; all else is as the telemetry has it.
        kind: The event's kind.
        backend: Backend or model that answered; empty when not stated.
        timestamp: When it happened, ISO 8601 in UTC; empty when not stated.
    """

    id: str
    partition: str
    generation: int
    offset: int
    ordinal: int
    run: str
    kind: str
    backend: str
    timestamp: str


SYSTEM_MESSAGES: Final = {
    "task_completed": Message(
        "system",
        "You are a helpful coding assistant that completes tasks carefully and "
        "completely.",
    ),
    ERROR_RESOLUTION: Message(
        "system",
        "You are an expert at debugging: you find out why an error occurs and how to "
        "resolve it.",
    ),
}
"""By kind; the others need none."""


def messages_of(example: Example) -> list[Message]:
    """The conversation: perhaps a system message, then one question and its answer."""
    turns = [
        Message("user", question_of(example)),
        Message("assistant", example.response),
    ]
    system = SYSTEM_MESSAGES.get(example.kind)
    return turns if system is None else [system, *turns]


def question_of(example: Example) -> str:
    """What the user says: the prompt, or a question about the error that it is."""
    if example.kind == ERROR_RESOLUTION:
        return f"{ERROR_QUESTION}\n\n{example.prompt}"
    return example.prompt


def metadata_of(example: Example) -> Metadata:
    """Where the example comes from."""
    return Metadata(
        example.content_hash.hex(),
        example.partition,
        example.generation,
        example.offset,
        example.ordinal,
        example.run_id,
        example.kind,
        example.backend or NOT_STATED,
        example.event_timestamp or NOT_STATED,
    )
