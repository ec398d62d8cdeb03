"""What sort of task an event is about: as it says, else by the words of its prompt.

| type | words, the first that matches counts |
|---|---|
| `debugging` | bug, crash, debug, error, exception, fail, fix, flaky, traceback |
| `testing` | assert, benchmark, coverage, test, validate, verify |
| `deployment` | deploy, install, migrate, provision, release, rollback, upgrade |
| `configuration` | config, environment variable, flake, nixos, settings, toml |
| `documentation` | changelog, comment, docstring, document, readme |
| `review` | analyse, audit, explain, inspect, profile, review |
| `implementation` | add, build, create, implement, refactor, rewrite, write |
| `general` | none of these |
"""

from __future__ import annotations

from typing import Any, Final

import re2

GENERAL: Final = "general"

PROMPT_CHARS: Final = 400
"""A task is named where its prompt begins; the rest quotes code and logs."""

_WORDS: Final = {
    "debugging": "bugs?|crash|debug|error|exception|fail|fix|flaky|traceback",
    "testing": "assert|benchmark|coverage|tests?\\b|testing|validat|verif",
    "deployment": "deploy|install|migrat|provision|releas|rollback|upgrad",
    "configuration": "config|environment var|flake\\b|nixos|settings?\\b|toml",
    "documentation": "changelog|comment|docstring|document|readme",
    "review": "analy[sz]|audit|explain|inspect|profil|review",
    "implementation": "add\\b|build|creat|implement|refactor|rewrit|write",
}


def _compiled() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    words = re2.Set.SearchSet(options)
    for alternatives in _WORDS.values():
        words.Add(f"\\b(?:{alternatives})")
    words.Compile()
    return words.Match


_TYPES: Final = tuple(_WORDS)
_match: Final = _compiled()


def task_type_of(prompt: str | None) -> str:
    """Return the sort of task that a prompt asks for; a pure function of its words."""
    if not prompt:
        return GENERAL
    hits = _match(prompt[:PROMPT_CHARS].encode(errors="replace"))
    return _TYPES[min(hits)] if hits else GENERAL
