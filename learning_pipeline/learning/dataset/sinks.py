"""Where examples go: a stream that is digested on its way, as lines or as Parquet."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import msgspec

from learning_pipeline.learning.dataset.lines import LineEncoder
from learning_pipeline.learning.dataset.messages import messages_of, metadata_of

if TYPE_CHECKING:
    from learning_pipeline.model import Example

ROWS_PER_GROUP: Final = 5_000
CHARS_PER_GROUP: Final = 8_000_000
"""A group closes earlier at so many characters of text: what bounds memory."""


class DigestingStream:
    """A stream to write to, which knows what went through it.

    Attributes:
        size_bytes: So much did.
        closed: Never; whoever opened the stream below closes that.
    """

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        """Write through to `stream`."""
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Write all of it."""
        view = memoryview(data)
        self._stream.write(view)
        self._digest.update(view)
        self.size_bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Where it stands, also where the stream below is a pipe."""
        return self.size_bytes

    def flush(self) -> None:
        """Write what is buffered."""
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream below open."""

    @property
    def sha256(self) -> str:
        """Of what went through, in hex."""
        return self._digest.hexdigest()


class Sink(Protocol):
    """Takes examples."""

    def write(self, example: Example) -> None:
        """Take one."""

    def finish(self) -> None:
        """Write what is held back."""


class LineSink:
    """Writes a line for each example."""

    def __init__(self, stream: DigestingStream, encoder: LineEncoder) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._encoder = encoder

    def write(self, example: Example) -> None:
        """Write its line."""
        self._stream.write(self._encoder.encode(example))

    def finish(self) -> None:
        """Hold nothing back."""


class ParquetSink:
    """Writes row groups, with the columns of OpenAI's chat format.

    Guarantees:
        The same examples give the same bytes, with the same version of pyarrow.
    """

    def __init__(self, stream: DigestingStream, *, with_metadata: bool) -> None:
        """Write to `stream`; an empty file, too, states its columns."""
        # Takes a while to import; wrong usage should not wait for it.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        self._arrow = pa
        self._with_metadata = with_metadata
        self._schema = _schema(pa, with_metadata=with_metadata)
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._char_count = 0

    def write(self, example: Example) -> None:
        """Take it into the group that is being filled."""
        row: dict[str, Any] = {
            "messages": [msgspec.structs.asdict(each) for each in messages_of(example)]
        }
        if self._with_metadata:
            row["metadata"] = msgspec.structs.asdict(metadata_of(example))
        self._rows.append(row)
        self._char_count += len(example.prompt) + len(example.response)
        if len(self._rows) >= ROWS_PER_GROUP or self._char_count >= CHARS_PER_GROUP:
            self._close_group()

    def finish(self) -> None:
        """Write the last group and the footer."""
        if self._rows:
            self._close_group()
        self._writer.close()

    def _close_group(self) -> None:
        table = self._arrow.Table.from_pylist(self._rows, schema=self._schema)
        self._writer.write_table(table, row_group_size=len(self._rows))
        self._rows.clear()
        self._char_count = 0


def open_sink(
    format_name: str, stream: DigestingStream, *, with_metadata: bool
) -> Sink:
    """Open what writes a format of `FORMATS`."""
    if format_name == "parquet":
        return ParquetSink(stream, with_metadata=with_metadata)
    return LineSink(stream, LineEncoder(format_name, with_metadata=with_metadata))


def _schema(pa: Any, *, with_metadata: bool) -> Any:
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    fields = [("messages", pa.list_(message))]
    if with_metadata:
        places = [("generation", pa.int32()), ("offset", pa.int64())]
        metadata = [
            *((name, pa.string()) for name in ("id", "partition")),
            *places,
            ("ordinal", pa.int32()),
            *((name, pa.string()) for name in ("run", "kind", "backend", "timestamp")),
        ]
        fields.append(("metadata", pa.struct(metadata)))
    return pa.schema(fields)
