"""What is a secret, and what only looks like one."""

from __future__ import annotations

import json
import time

import pytest
from extraction_records import run, step
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.extraction import Redactor

REDACTOR = Redactor()
BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
PEM = "MIIEpAIBAAKCAQEA1234"

SECRETS = [
    (f"ghp_{BODY}", "[REDACTED:github_token]"),
    (f"x gho_{BODY} y", "x [REDACTED:github_token] y"),
    (f"github_pat_{BODY}", "[REDACTED:github_token]"),
    (f"glpat-{BODY[:20]}", "[REDACTED:gitlab_token]"),
    (f"ATBB{BODY}", "[REDACTED:bitbucket_token]"),
    ("AKIAIOSFODNN7EXAMPLE", "[REDACTED:aws_access_key]"),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = [REDACTED:aws_secret_key]",
    ),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[REDACTED:google_api_key]"),
    (f"AccountKey={BODY}{BODY}==;X=y", "AccountKey=[REDACTED:azure_key];X=y"),
    (f"sk-{BODY}", "[REDACTED:openai_key]"),
    (f"sk-proj-{BODY}", "[REDACTED:openai_key]"),
    (f"sk-ant-api03-{BODY}", "[REDACTED:anthropic_key]"),
    (f"hf_{BODY}", "[REDACTED:huggingface_token]"),
    (f"gsk_{BODY}", "[REDACTED:groq_key]"),
    (f"r8_{BODY}", "[REDACTED:replicate_token]"),
    (f"xai-{BODY}", "[REDACTED:xai_key]"),
    ("xoxb-123456789012-abcdefABCDEF", "[REDACTED:slack_token]"),
    ("sk_live_51Habcdefghij", "[REDACTED:stripe_key]"),
    ("rk_live_51Habcdefghij", "[REDACTED:stripe_key]"),
    (f"npm_{BODY}", "[REDACTED:npm_token]"),
    (f"pypi-AgEIcHlwaS5vcmc{BODY}", "[REDACTED:pypi_token]"),
    ("Authorization: Bearer abc123", "Authorization: Bearer [REDACTED:bearer_token]"),
    (
        f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n-----END RSA PRIVATE KEY-----!",
        "[REDACTED:private_key]!",
    ),
    (f"-----BEGIN PRIVATE KEY-----\\n{PEM}\\n{PEM}", "[REDACTED:private_key]"),
    (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PEM}", "[REDACTED:private_key]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNry", "[REDACTED:jwt]"),
    ("password=hunter2", "password=[REDACTED:password]"),
    ("PASSWORD: swordfish", "PASSWORD: [REDACTED:password]"),
    ('"password": "hunter2"', '"password": "[REDACTED:password]"'),
    (r"\"password\": \"hunt er\"", r"\"password\": \"[REDACTED:password]\""),
    ("DB_PASSWORD='p w'", "DB_PASSWORD='[REDACTED:password]'"),
    ('password: str = "hunter2"', 'password: str = "[REDACTED:password]"'),
    ('f(password="hunter2", x=1)', 'f(password="[REDACTED:password]", x=1)'),
    ("password=p@ss(w0rd)", "password=[REDACTED:password]"),
    ("password=my-s3cret", "password=[REDACTED:password]"),
    ("password=abc1&user=bob", "password=[REDACTED:password]&user=bob"),
    ("--password hunter2 -v", "--password [REDACTED:password] -v"),
    ("--password=hunter2", "--password=[REDACTED:password]"),
    ("api_key = 'abcd1234efgh'", "api_key = '[REDACTED:secret]'"),
    (
        'os.environ["API_KEY"] = "abcd1234"',
        'os.environ["API_KEY"] = "[REDACTED:secret]"',
    ),
    ("GITHUB_TOKEN=a1b2c3d4e5f6", "GITHUB_TOKEN=[REDACTED:secret]"),
    ("postgres://app:s3cret@db/x", "postgres://app:[REDACTED:url_password]@db/x"),
    ("redis://:s3cret@host:6379", "redis://:[REDACTED:url_password]@host:6379"),
    ("mail bob.smith@example.com now", "mail [REDACTED:email] now"),
    (f"\\nghp_{BODY}\\n", "\\n[REDACTED:github_token]\\n"),
    (f"é{'ü'}ghp_{BODY}é", "éü[REDACTED:github_token]é"),
]

NO_SECRETS = """\
system@0005f3c1a2b3c4d5-e6f7a8b9c0d1e2f3.journal
user@1000.service
getty@tty1.service
@app.route("/x")
\\n@router.get(\\"/alerts\\")
git@github.com:org/repo.git
ssh deploy@host.example.com:/srv
https://example.com:8080/a@b
pkg@1.2.3
eslint@8.0.0-beta.rc
@scope/pkg
@types/node@18.0.0
max_tokens=4096
token_count: 12
tokens_in
token_type: bearer
{"token": "hello", "pos": 3}
token = next(tokens)
password: str
password: Optional[str] = None
password: required
password: ${PASSWORD}
password=$PASSWORD
password=<your password>
password={password}
password=****
password=password
password=self.password
password=args.password,
password = getpass()
password = input("Password: ")
"password": null
"password": ""
"password": "string"
"password": "Enter your password"
if password == other:
Enter the password: and press enter
--password option
os.environ["API_KEY"]
api_key=os.environ["API_KEY"]
api_key=None
api_key=api_key
api_key: str | None = None
"api_key": "YOUR_API_KEY"
api_key="your-api-key-here"
secret = settings.SECRET_KEY
token: ${{ secrets.GITHUB_TOKEN }}
Authorization: Bearer <token>
Authorization: Bearer $TOKEN
Bearer authentication
Look for -----BEGIN PRIVATE KEY----- in files
da39a3ee5e6b4b0d3255bfef95601890afd80709
123e4567-e89b-12d3-a456-426614174000
sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
sk-learn
sk-learn-contrib-something-long
ask-questions-about-something
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
""".splitlines()


@pytest.mark.parametrize(("text", "redacted"), SECRETS)
def test_a_secret_is_replaced_and_nothing_around_it(text: str, redacted: str) -> None:
    """Keys, quotes, users and hosts stay readable."""
    result, counts = REDACTOR.redact(text)
    assert result == redacted
    assert sum(counts.values()) == 1


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_is_no_secret_stays_untouched(text: str) -> None:
    """Over-redaction is a defect too."""
    assert REDACTOR.redact(text) == (text, {})


pieces = st.sampled_from(
    [secret for secret, _ in SECRETS]
    + NO_SECRETS
    + ["'", '"', "\\", "\n", "=", ":", " ", "@", "password", "[REDACTED:x]", "é", "-"]
)
texts = st.lists(pieces | st.text(max_size=4), max_size=8).map("".join)


@given(texts)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """A replay over redacted text gives the same text."""
    once, _ = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == (once, {})


@given(st.binary() | texts.map(str.encode))
def test_any_bytes_can_be_redacted(data: bytes) -> None:
    """Valid UTF-8 stays valid, and the limit holds."""
    redacted, _ = REDACTOR.redact_prefix(data, 50)
    assert len(redacted) <= 50


@given(
    st.recursive(
        texts | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_a_redacted_context_is_still_json(context: object) -> None:
    """Whatever the secrets in it ran across."""
    for row in run(step(context=context)).rows:
        json.loads(row[7])


@pytest.mark.parametrize(
    "piece",
    [
        "-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAA ",
        "password='",
        "password=x",
        ")",
        "a@b.cc",
        "a@",
        "http://a:b",
        "eyJaaaaaaaaaa.",
        '\\"',
        "password",
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """Ten times the text takes about ten times as long, not a hundred times."""

    def seconds(length: int) -> float:
        text = "password=x" + piece * (length // len(piece))
        start = time.perf_counter()
        REDACTOR.redact(text)
        return time.perf_counter() - start

    assert seconds(300_000) < 40 * max(seconds(30_000), 0.005)
