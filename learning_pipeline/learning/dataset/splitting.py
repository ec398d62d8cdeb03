"""Train or validation: told by an example's content and a seed, and nothing else."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Literal

Split = Literal["train", "validation"]

_DIGEST_BYTES: Final = 8
_RANGE: Final = 1 << (8 * _DIGEST_BYTES)


class Splitter:
    """Divides examples.

    Guarantees:
        An example stays on its side while the set grows, on any machine. A larger
        share moves some from train to validation and none the other way.
    """

    def __init__(self, validation_share: float, seed: int) -> None:
        """Divide so that about `validation_share` of all are for validation."""
        self._limit = int(validation_share * _RANGE)
        self._key = f"learning_pipeline:{seed}".encode()[:64]

    def split_of(self, content_hash: bytes) -> Split:
        """Which side the example of this content is on."""
        digest = blake2b(content_hash, digest_size=_DIGEST_BYTES, key=self._key)
        is_below = int.from_bytes(digest.digest(), "big") < self._limit
        return "validation" if is_below else "train"
