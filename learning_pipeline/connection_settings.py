"""What a URL and a key must be like, so that a request can be made with them."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

_PLAIN_URL = (
    "must be an http:// or https:// URL without user, password and query; a key has a "
    "setting of its own"
)


def checked_url(value: str) -> str:
    """A URL without blanks around it and without a slash at its end; may be empty.

    Raises:
        ValueError: No request could be sent there; says why, without the value.
    """
    value = value.strip()
    if not value:
        return value
    if not value.isprintable() or any(each.isspace() for each in value):
        # Checked first: the parser drops line breaks and tabs without a word.
        message = (
            "holds a blank or a control character; percent-encode it, or remove it"
        )
        raise ValueError(message)
    try:
        parts = urlsplit(value)
        is_plain = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_plain = is_plain and "@" not in parts.netloc and not parts.query
        is_plain = is_plain and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ValueError(_PLAIN_URL)
    _require_host(value)
    return value.rstrip("/")


def checked_key(value: SecretStr) -> SecretStr:
    """A key without blanks around it, such as the line break of a key file.

    Raises:
        ValueError: No HTTP header could hold it; does not show it.
    """
    key = value.get_secret_value().strip()
    if not all("!" <= each <= "~" for each in key):
        message = (
            "must be of printable ASCII without blanks, as an HTTP header holds it; it "
            "is not shown here. Look for a second line, a quote or a letter that was "
            "pasted along"
        )
        raise ValueError(message)
    return SecretStr(key)


def _require_host(url: str) -> None:
    import httpx  # noqa: PLC0415 - slow, and only those with a service need it

    try:
        host = httpx.URL(url).raw_host.decode("ascii")
        if ":" not in host:
            # As the system's resolver is asked: it refuses empty and overlong labels.
            host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        message = (
            "names a host that cannot be: each part between its dots is of 1 to 63 "
            "letters, digits and hyphens"
        )
        raise ValueError(message) from None
