r"""What counts as a secret: one pattern a rule, and what is left alone after all.

Patterns run on bytes as Latin-1 and name only ASCII, so they serve UTF-8 text and
raw bytes alike; none of them can end inside a UTF-8 sequence. They see three forms
of the same text: plain, inside a JSON string, and inside a JSON string that is
itself escaped. Hence `\\*"` for a quote, and escapes such as `\n` before a word.

Each pattern is also a part of the screen that every text pays for. So it names
enough of the context that ordinary prose does not hit it: "password" alone never
does, a separator and a value must follow.
"""

from learning_pipeline.extraction.redaction_rules import (
    addresses,
    assignments,
    authorization,
    commands,
    key_blocks,
    tokens,
)
from learning_pipeline.extraction.redaction_rules.rule import MARKER_START, Rule

RULES = (
    *key_blocks.RULES,
    *tokens.RULES,
    *addresses.URL_RULES,
    *authorization.RULES,
    *commands.RULES,
    *assignments.RULES,
    *addresses.EMAIL_RULES,
)
"""In order: key blocks, which contain the others; then the more telling kind first."""

__all__ = ["MARKER_START", "RULES", "Rule"]
