"""Examples as lines of JSON, in the formats that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from learning_pipeline.learning.dataset.messages import (
    ERROR_QUESTION,
    ERROR_RESOLUTION,
    Message,
    Metadata,
    messages_of,
    metadata_of,
)
from learning_pipeline.model import Example

# A reader that splits text into lines as Unicode says would split these.
_LINE_BREAKS: Final = (
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
    ("\u0085".encode(), rb"\u0085"),
)
_SHAREGPT_NAMES: Final = {"system": "system", "user": "human", "assistant": "gpt"}


class OpenAILine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """OpenAI's chat format; also that of TRL and Axolotl.

    Attributes:
        messages: The conversation.
        metadata: OpenAI documents no such key for a line of an upload.
    """

    messages: list[Message]
    metadata: Metadata | None = None


class Turn(msgspec.Struct, frozen=True, gc=False, rename={"speaker": "from"}):
    """One turn, as ShareGPT has it."""

    speaker: str
    value: str


class ShareGPTLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """ShareGPT's format."""

    conversations: list[Turn]
    metadata: Metadata | None = None


class AlpacaLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Alpaca's format, which has no place for a system message."""

    instruction: str
    input: str
    output: str
    metadata: Metadata | None = None


def openai_line(example: Example, metadata: Metadata | None) -> OpenAILine:
    """The conversation as it is."""
    return OpenAILine(messages_of(example), metadata)


def sharegpt_line(example: Example, metadata: Metadata | None) -> ShareGPTLine:
    """The conversation under other names."""
    turns = [
        Turn(_SHAREGPT_NAMES[message.role], message.content)
        for message in messages_of(example)
    ]
    return ShareGPTLine(turns, metadata)


def alpaca_line(example: Example, metadata: Metadata | None) -> AlpacaLine:
    """The prompt as instruction; of an error, the question about it as input."""
    if example.kind == ERROR_RESOLUTION:
        return AlpacaLine(ERROR_QUESTION, example.prompt, example.response, metadata)
    return AlpacaLine(example.prompt, "", example.response, metadata)


Line = OpenAILine | ShareGPTLine | AlpacaLine

LINES: Final[Mapping[str, Callable[[Example, Metadata | None], Line]]] = {
    "openai": openai_line,
    "sharegpt": sharegpt_line,
    "alpaca": alpaca_line,
}


class LineEncoder:
    """Makes lines of one format."""

    def __init__(self, name: str, *, with_metadata: bool) -> None:
        """Take a name of `LINES`."""
        self._line_of = LINES[name]
        self._with_metadata = with_metadata
        self._encode = msgspec.json.Encoder().encode

    def encode(self, example: Example) -> bytes:
        """One line of UTF-8, with its newline and no other line break."""
        metadata = metadata_of(example) if self._with_metadata else None
        line = self._encode(self._line_of(example, metadata))
        for raw, escaped in _LINE_BREAKS:
            line = line.replace(raw, escaped)
        return line + b"\n"
