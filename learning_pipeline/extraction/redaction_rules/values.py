"""Judges the value of an assignment: a secret, or a placeholder, a name, a word."""

from __future__ import annotations

import re

WEAK_LENGTH = 8
"""Shorter values of a key like `token` are no secrets."""

_SHORT_WORD_LENGTH = 12
_WORD_LENGTH = 16
_LONG_LENGTH = 20

KEY_WORDS = re.compile(rb"pass|pwd|secret|token|key|cred", re.IGNORECASE)
"""What the name of a setting or a variable for a secret contains."""

PASSWORD_WORDS = re.compile(rb"pass|pwd|pw$", re.IGNORECASE)
"""What the name of a password contains."""

_NO_SECRET = frozenset(
    # values and types of programming languages
    b"none null nil true false undefined str string text bytes bytea int bool any "
    b"object number boolean unknown never void char varchar buffer uint8array "
    b"bytearray charsequence secretstr optional self this await new yield lambda "
    b"function "
    # what is said of a password, or stands instead of one
    b"required empty unset missing invalid incorrect correct valid wrong hidden "
    b"masked redacted removed hashed encrypted encoded changed expired failed weak "
    b"strong stdin prompt prompts var env example placeholder default field file "
    b"option options flag argument parameter value input enter type types yes no not "
    # the rest of a sentence
    b"the a an is are was and or but to for in on of with when if must can will from "
    b"via using per at least minimum characters words compat files systemd".split()
)
_PLACEHOLDER = re.compile(
    rb"""<.*>?|\$\{.*|\$\(.*|\$[A-Z_][A-Z0-9_]*(?:(?:->|::).*)?|\$[0-9@*!?]|\{.*\}?|%\(.*|%[sdr]|%\w+%
         |\[REDACTED:.*|\.{2,}|[*xX.#-]+|[(\[|/].*
         |.*\b(?:your|enter|insert)[\s_-].*|change[_-]?me|redacted|![a-z0-9]+""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_REFERENCE = re.compile(
    rb"""[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)*  # name, dotted or not
         (?:[(\[{].*)?""",
    re.VERBOSE | re.DOTALL,
)
_CODE = re.compile(rb"[(\[{]|::")
_LABEL = re.compile(rb"[A-Za-z_ .:!?*-]+")
_NAMES = frozenset(
    b"pass passwd password passphrase pw pwd token key apikey auth user username "
    b"credentials port".split()
)
# app-secret, app-secret-2
_NUMBERED_NAME = re.compile(rb"(?:[A-Za-z]+[_./-])+[A-Za-z]*[0-9]{0,2}")
_TYPE = re.compile(
    rb"[\w.]+(?:[Tt]oken|[Ss]ecret|[Pp]assword|[Cc]redentials?|Key)(?:s|Types?)?"
)
_CAMEL_CASE = re.compile(rb"[A-Z]?[a-z]+(?:[A-Z]+[a-z]{2,})+")
_DIGIT = re.compile(rb"[0-9]")
_LETTER = re.compile(rb"[A-Za-z]")
_JOINT = re.compile(rb"[_./:-]")


def has_digit(value: bytes) -> bool:
    """Whether an ASCII digit stands in it."""
    return _DIGIT.search(value) is not None


def is_name(value: bytes) -> bool:
    """Whether it is spelled as code spells names: in parts, or in capitals."""
    return (
        value.isupper()
        or b"_" in value
        or b"." in value
        or _CAMEL_CASE.fullmatch(value) is not None
    )


def is_placeholder(value: bytes) -> bool:
    """Whether it stands where a secret would, as `${PASSWORD}` or `****` do."""
    return (
        not value
        or value.lower() in _NO_SECRET
        or _PLACEHOLDER.fullmatch(value) is not None
    )


def is_template(value: bytes) -> bool:
    """Whether it is a placeholder by its form; `none` is not, in a URL."""
    return _PLACEHOLDER.fullmatch(value) is not None or (
        value.isupper() and KEY_WORDS.search(value) is not None
    )


def is_quoted_secret(value: bytes, *, is_password: bool, key: bytes) -> bool:
    """Whether a value in quotes is a secret.

    Args:
        value: What stands between the quotes.
        is_password: Whether the key says so.
        key: The key in lower case.
    """
    stripped = value.strip()
    if (
        is_placeholder(stripped)
        or stripped.lower().replace(b"-", b"_") == key.replace(b"-", b"_")
        # The quote closed a string, as in input("Password: ").
        or value[:1] in b"),+;]}: "
    ):
        return False
    words = PASSWORD_WORDS if is_password else KEY_WORDS
    if words.search(stripped) and _LABEL.fullmatch(stripped):
        # A label or the name of a setting: "Password is required", "DB_PASSWORD".
        return stripped.isalpha() and len(stripped) >= _WORD_LENGTH
    if is_password or (key == b"secret" and len(stripped) >= _WORD_LENGTH):
        return True
    return b" " not in stripped and _looks_random(stripped, _LONG_LENGTH)


def is_bare_secret(
    value: bytes, *, is_password: bool, in_code: bool, is_setting: bool, is_tight: bool
) -> bool:
    """Whether a value without quotes is a secret, and not a word or a name.

    Args:
        value: The value, without what only closes brackets around it.
        is_password: Whether the key says so.
        in_code: Whether a plain word there is prose or the name of a variable.
        is_setting: Whether the key is in capitals, as in `DB_PASSWORD=...`.
        is_tight: Whether nothing but `=` stands between key and value, as no
            code formatter leaves it outside of a call.
    """
    if is_placeholder(value) or _is_reference(
        value, in_code=in_code, is_setting=is_setting, is_tight=is_tight
    ):
        return False
    if is_password:
        return len(value) > 1
    if KEY_WORDS.search(value) and (
        _NUMBERED_NAME.fullmatch(value) or (_TYPE.fullmatch(value) and not is_setting)
    ):
        return False
    if is_setting:
        return _looks_random(value, _SHORT_WORD_LENGTH)
    return _looks_random(value, _WORD_LENGTH if is_tight else _LONG_LENGTH)


def _is_reference(
    value: bytes, *, in_code: bool, is_setting: bool, is_tight: bool
) -> bool:
    if not _REFERENCE.fullmatch(value):
        return False
    if _CODE.search(value):
        return True
    if has_digit(value):
        return False
    return in_code or _is_variable(value, is_setting=is_setting, is_tight=is_tight)


def _is_variable(value: bytes, *, is_setting: bool, is_tight: bool) -> bool:
    """Whether a name without digits rather names the secret than is it."""
    if value.lower() in _NAMES:
        return True
    if not KEY_WORDS.search(value):
        return (b"." in value and not is_setting) or (b"_" in value and not is_tight)
    if is_setting or b"_" in value:
        return b"_" in value or b"." in value
    # password=secret and password=mysecretpassword, but password=dbpassword
    is_word = value.lower() == b"secret" or len(value) >= _WORD_LENGTH
    return not is_tight or is_name(value) or not is_word


def _looks_random(value: bytes, word_length: int) -> bool:
    """Whether a value of a key like `token` is one: long enough, not just a word.

    Args:
        value: The value.
        word_length: From how many letters on a mere word is one too.
    """
    if len(value) < WEAK_LENGTH or not _LETTER.search(value):
        return False
    if has_digit(value):
        return True
    if _JOINT.search(value) or _CAMEL_CASE.fullmatch(value):
        return False
    is_mixed = value != value.lower() and value != value.upper()
    return len(value) >= (_WORD_LENGTH if is_mixed else word_length)
