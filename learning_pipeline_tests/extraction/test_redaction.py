"""What is a secret, and what only looks like one."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.extraction import Redactor
from learning_pipeline_tests.extraction.extraction_records import run, step

REDACTOR = Redactor()
BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
HEX = "0123456789abcdef" * 2
PEM = "MIIEpAIBAAKCAQEA1234"
BEGIN, END = (f"-----{edge} PRIVATE KEY-----" for edge in ("BEGIN", "END"))
PGP_BEGIN, PGP_END = (
    f"-----{edge} PGP PRIVATE KEY BLOCK-----" for edge in ("BEGIN", "END")
)

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

TOKENS = [
    ("github_token", f"ghu_{BODY}"),
    ("github_token", f"ghs_{BODY}"),
    ("github_token", f"ghr_{BODY}"),
    ("gitlab_token", f"gldt-{BODY[:20]}"),
    ("gitlab_token", f"glrt-{BODY[:20]}"),
    ("bitbucket_token", f"ATCTT3xFfGN0{BODY}"),
    ("bitbucket_token", f"ATATT3xFfGF0{BODY}"),
    ("openrouter_key", f"sk-or-v1-{HEX}{HEX}"),
    ("openai_key", f"sk-{HEX}"),
    ("model_provider_key", f"pplx-{BODY}"),
    ("model_provider_key", f"fw_{BODY}"),
    ("google_token", f"ya29.a0{BODY}"),
    ("google_token", f"GOCSPX-{BODY[:28]}"),
    ("discord_token", f"MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.{BODY[:27]}"),
    ("telegram_token", f"123456789:AA{BODY[:33]}"),
    ("telegram_token", f"bot123456789:AA{BODY[:33]}"),
    ("sendgrid_key", f"SG.{BODY[:22]}.{BODY}abcdefg"),
    ("twilio_key", f"SK{HEX}"),
    ("twilio_key", f"AC{HEX}"),
    ("mailgun_key", f"key-{HEX}"),
    ("digitalocean_token", f"dop_v1_{HEX}{HEX}"),
    ("shopify_token", f"shpat_{HEX}"),
    ("databricks_token", f"dapi{HEX}"),
    ("databricks_token", f"dapi{HEX}-2"),
    ("vault_token", f"hvs.CAESI{BODY}"),
    ("doppler_token", f"dp.pt.{BODY}"),
    ("linear_key", f"lin_api_{BODY}"),
    ("notion_token", f"secret_{BODY}abcdefg"),
    ("notion_token", f"ntn_12345678901{BODY}"),
    ("figma_token", f"figd_{BODY}"),
    ("service_token", f"glsa_{BODY}"),
    ("rubygems_token", f"rubygems_{HEX}{HEX[:16]}"),
    ("docker_token", f"dckr_pat_{BODY[:27]}"),
    ("private_key", "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0."),
    ("email", "bob@example.dev"),
    ("email", "bob.smith+tag@startup.ai"),
    ("email", "x@firm.co.uk"),
    ("email", "12345@163.com"),
]

PLACES = r"""
password=§ | hunter2
password=§ | secret
password=§ | mysecretpassword
password=§ | None1
DB_PASSWORD=§ | correcthorsebattery
PGPASSWORD=§ psql | abc
MYSQL_PWD=§ mysql | secret
POSTGRES_PASSWORD: § | mysecretpassword
DB_PASS=§ | letmein
passwd: § | letmein
password: § # the old one | letmein
db_password: § | correcthorse
user=sa;password=§;x=y | secret
Uid=sa;Pwd=§; | let-me-in
Password=§;Encrypt=yes | Pa$$w0rd
curl -u user:§ https://x | pass
curl -sSu "bob:§" https://x | pw123
curl --user admin:§ https://x | letmein
sshpass -p § ssh x | hunter2
machine x.com login bob password § | hunter2
CREATE USER x WITH PASSWORD '§' | hunt er2
ALTER USER x IDENTIFIED BY \"§\" | letmein
<db:password>§</db:password> | hunter2
""".strip().splitlines()

SECRET_PLACES = r"""
export API_TOKEN=§ | mysecrettokenvalue
API_KEY=§ | abcdefabcdefabcd
secret_key: § | abcdef1234567890
client_secret=§ | abcdefghijklmnop
x-api-key: § | abcdefabcdef123
-H "X-API-Key: §" | abcdefghijklmnop
VAULT_TOKEN=§ | s.abcdefghijKLMNOP12345678
AWS_SESSION_TOKEN=§ | IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3Qt
MISTRAL_API_KEY=§ | A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6
""".strip().splitlines()

OTHER_PLACES = [
    ("basic_auth", "Authorization: Basic §", "dXNlcjpwYXNz"),
    ("bearer_token", '"Authorization": "Bearer §"', "abc.def"),
    ("bearer_token", "Authorization: Bearer §", "abcdef"),
    ("bearer_token", "Authorization: ApiKey §", "abcdef123456"),
    ("url_password", "redis://:§@host", "secret"),
    ("url_password", "postgres://user:§@host/db", "p%40ss"),
    ("url_password", "https://§@github.com/o/r", "a1b2c3d4e5f6a7b8c9d0"),
    ("github_token", "https://§@github.com/o/r", f"ghp_{BODY}"),
    ("github_token", "https://x-access-token:§@github.com/o/r", f"ghs_{BODY}"),
    ("azure_key", "?sv=2020\\u0026sig=§&se=1", f"{BODY}abcdef%2F1%3D"),
    ("azure_key", "SharedAccessKeyName=Root;SharedAccessKey=§", f"{BODY}123456="),
    ("webhook_url", "https://hooks.slack.com/services/§", f"T0000/B0000/{BODY}"),
    ("webhook_url", "https://discord.com/api/webhooks/§", f"123456789012/{BODY}"),
    ("email", "<§>", "bob@example.org"),
    ("email", "mailto:§", "bob@example.io"),
    ("private_key", '"private_key": "§\\n"', f"{BEGIN}\\n{PEM}\\n{PEM}=\\n{END}"),
    ("private_key", "§", f"{PGP_BEGIN}\nVersion: GnuPG v2\n\n{PEM}\n{PGP_END}"),
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
the password 'must contain 8 characters'
written by "bob"
</password>text</b>
password: String
password: string;
password: SecretStr
password = getpass.getpass()
password=password)
password=args.password
password=args.password, x
password = user.password
password = config.get("x")
password = request.form["password"]
password = data['password']
password="$PASSWORD"
password=${DB_PASSWORD:-}
%(password)s
password=%(password)s
password=%s
password="{password}"
{{ password }}
password: {{ password }}
password: "{{ password }}"
<your password>
password=<password>
password=None
password=True
password=null
password=""
password=''
password=*****
password: ********
password=xxxx
password=...
os.environ.get("API_KEY")
os.getenv("API_KEY", "")
process.env.API_KEY
apiKey: process.env.API_KEY,
token_count=12
max_tokens: 4096,
"tokens_in": 237
"tokens_out": 113
token: Token
token: str
token: Token = Depends(get_token)
token=token
the password is wrong
The password is required
password reset flow
Password: the user enters
Password: the user enters their own.
Password: required
Passwords: users must rotate
password: must be at least 8 characters
password: minimum 8 characters
secret: true
secret: false
secretName: my-secret
secretKeyRef:
  name: my-secret
api_key = api_key
key=value
primary_key=id
primary_key=True
foreign_key: users.id
keyboard
monkey=banana
tokenizer=bpe
tokenizer: cl100k_base
author: x
@scope/pkg@^2.0.0
actions/checkout@v4
@pytest.fixture
x = a@b
C = A @ B.T
w = x@self.weight.t
w = x@W.T
@media (max-width: 3px)
@import url
ssh user@host
ssh user@host uptime
0123456789abcdef0123456789abcdef
task-0123456789abcdef0123456789abcdef
task-abcdefghijklmnopqrstuvwx
risk-assessment-2024-abcdefghijklmnop
risk-0123456789abcdef0123456789abcdef
disk-0123456789abcdef0123456789abcdef
/nix/store/0c7c96gikmzv87i7lv3vq5s1cmfjd6zf-glibc-2.38
/nix/store/1b9m1cmg0i3g5z2h8f4y7q6w5x3v2n1p-python3.11-tokenizers-0.15
May 28 18:14:11 host systemd[1]: Started Session 12 of User bob.
May 28 host sshd[123]: Failed password for root from 10.0.0.1 port 22 ssh2
May 28 host sshd[123]: Accepted password for bob from 10.0.0.1
pam_unix(sshd:auth): authentication failure; user=root
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
sha512-AbCdEf0123456789+/AbCdEf0123456789==
Bearer token
Bearer authentication is required
Authorization: Bearer ${TOKEN}
Authorization: Bearer {token}
f"Authorization: Bearer {token}"
"Authorization": f"Bearer {self.api_key}"
Authorization: Bearer YOUR_API_KEY
Authorization: Basic authentication
Authorization: header
authorization: required
Basic authentication
curl -u user
curl -u $USER:$PASS http://x
curl -u "${USER}:${PASS}" http://x
docker run -u 1000:1000 image
docker run -u root:root image
docker run --user 1000:1000
chown user:group file
git push -u origin main
git push -u origin HEAD:refs/for/main
sort -u file
python -u a:b
-p 8080:80
-p left alone
http://host:8080/path
http://localhost:8080/@scope
http://user@host/path
https://example.com/@user
postgres://user:${PASSWORD}@host/db
postgres://user:$PASSWORD@host/db
postgres://{user}:{password}@{host}/db
postgres://<user>:<password>@<host>/db
postgresql://USER:PASSWORD@HOST:PORT/DB
https://git@github.com/org/repo
https://bob@bitbucket.org/org/repo
ssh://git@github.com:22/o/r
x-api-key: ${API_KEY}
x-api-key: <key>
"x-api-key": api_key
headers["x-api-key"]
x-api-key header
token = tokens[0]
token: hello
"token": "hello"
token: null
token = response.json()["token"]
next_token=abc
nextToken: string
token_ids = [1, 2]
eos_token: <|endoftext|>
eos_token="</s>"
pad_token=[PAD]
stop_token = 50256
secret: my-secret
secrets: inherit
secretKey: string
client_secret=client_secret
client_secret: str | None
GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}
password_hash = hash(password)
password_hash: str
password_file: /run/secrets/db
passwordFile = "/run/secrets/db";
services.x.passwordFile = config.sops.secrets.db.path;
hashedPassword = null;
users.users.bob.initialPassword = config.foo;
password_hash=hash_password(password)
password.length
password must
if password == "":
if password != other:
while password is None:
password in (a, b)
password || ''
password ? x : y
password -> hash
def login(user: str, password: str) -> bool:
def login(username, password=None):
login(username=u, password=pw)
login(username=user, password=passwd, x=1)
password=os.environ["DB_PASSWORD"]
password=os.getenv("X")
password=settings.db_password
password=cfg['pw']
password: $DB_PASSWORD
password: process.env.DB_PASSWORD
password: !secret db_password
password: !vault |
password: env(DB_PASSWORD)
password: Field(...)
password: bytes
password: int
password: str | None = None
password?: string
password: &str
password: impl Into<String>
std::string password = "";
passwords: [
password:
password=
password =
`password`: the user's password
{"type": "password"}
type="password" name="password"
<input type="password" id="password">
label="Password:"
- password: string
| password | string |
password (string): the password
password: A string
password: User password
password: Plain text password.
Note: password is stored hashed
password, token and secret
password: hashed with bcrypt
password: hashed
password: encrypted
password: optional
Password: (leave empty)
Username: / Password: prompts
HEAD~1:password
git config credential.helper store
credentials: include
credentials: 'include'
credentials = Credentials()
access_key=access_key
private_key: path
private_key_path=/etc/key
privateKey = "/etc/key.pem"
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ
key-value
key-abcdefghijklmnop
api_key_id
cache_key=abcdef0123456789
sort_key=abc
partition_key: hybrid-events.jsonl
idempotency_key=0123
public_key=abcdef0123456789abcdef0123456789
foo_secret_name: abc
SG.foo.bar
AC/DC
fw_update
fw_version_1234
hvs.foo
dapi
secret_santa
secret_key_base
npm_config_registry
npm_lifecycle_event
xai-sdk
hf_hub_download
hf_transformers_pipeline_name
rubygems_version
dp.pt.x
ya29
figd
1234567890:abc
12:34:56
2026-05-28T18:14:11.863954Z
10.0.0.1:8080
a.b.c
MTk.Cl2.Zn
import com.example.auth.token
object.__getattr__
{'k': password}
{"password": password}
{"password": self.password, "x": 1}
{"password": "password"}
dict(password=pw)
password=pw
auth=(user, password)
auth=("user", "pass")
$env:PASSWORD
set password
ALTER USER x WITH PASSWORD
PASSWORD EXPIRE
password::text
Password : enter
password=required
password -- the password
--password PASSWORD
--password <PASSWORD>
--password-file x
--password-stdin
--token TOKEN
--token $TOKEN
--secret-name x
--api-key KEY
jwt.decode(token, key)
eyJ
eyJhbGci
tasks@lists
foo@bar
foo@bar.
a@b.T
a@b.t()
W@x.detach()
x@y.numpy()
nixpkgs@nixos.24
nixos-rebuild --flake .#host
vllm@git+https://x
npm install foo@latest
foo@next.js
foo@file.py
postgres@14.service
wg-quick@wg0.service
systemd-fsck@dev-disk.service
dev@1.2.3.4
python@3.11
lodash@4.17.21
bob@localhost
root@nixos
root@nixos:~#
bob@machine.local
backup@host.lan
:person@:
@types/node
@dataclass
email@
token 12
Tokens: 50 in, 30 out
token limit: 4096
token budget=4096
tokens=12345678
tokens_per_second=12.5
secret sauce: abc12345
The token: a unit of text
Token: abstract
access_token: string
refresh_token: str
X-Auth-Token: header
csrf_token = get_token(request)
{% csrf_token %}
session_token=session.token
passphrase: words
pass
pass: 5, fail: 0
passed: 12
bypass=true
compass=north
PASS=12 FAIL=0
PASS: test_login
tests/test_password.py::test_reset PASSED
pwd: /home/bob
pwd=/home/bob
PWD=/home/bob
OLDPWD=/home/bob
cwd=$(pwd)
passwd: files systemd
shadow: files
/etc/passwd: file
/etc/passwd:
cat /etc/passwd
nsswitch passwd: compat
passwordauth=no
PasswordAuthentication no
PermitRootLogin prohibit-password
""".splitlines()


@pytest.mark.parametrize(("text", "redacted"), SECRETS)
def test_a_secret_is_replaced_and_nothing_around_it(text: str, redacted: str) -> None:
    """Keys, quotes, users and hosts stay readable."""
    result, counts = REDACTOR.redact(text)
    assert result == redacted
    assert sum(counts.values()) == 1


def placed() -> list[tuple[str, str, str]]:
    """Return the kind, the place as `§`, and the secret."""
    found = list(OTHER_PLACES)
    for kind, lines in (("password", PLACES), ("secret", SECRET_PLACES)):
        for line in lines:
            place, secret = line.split(" | ")
            found.append((kind, place, secret))
    return found


@pytest.mark.parametrize(("kind", "token"), TOKENS)
@pytest.mark.parametrize("place", ["§", "x §, y", '{"a": "§"}', "\\n§\\n", "(§)"])
def test_a_token_is_known_by_its_form(kind: str, token: str, place: str) -> None:
    """Wherever it stands, alone or in JSON."""
    assert REDACTOR.redact(place.replace("§", token)) == (
        place.replace("§", f"[REDACTED:{kind}]"),
        {kind: 1},
    )


@pytest.mark.parametrize(("kind", "place", "secret"), placed())
def test_a_secret_is_known_by_its_place(kind: str, place: str, secret: str) -> None:
    """Even when it is a plain word."""
    once = place.replace("§", f"[REDACTED:{kind}]")
    assert REDACTOR.redact(place.replace("§", secret)) == (once, {kind: 1})
    assert REDACTOR.redact(once) == (once, {})


def test_a_key_in_a_url_does_not_hide_the_password_after_it() -> None:
    """Both are replaced."""
    assert REDACTOR.redact("s3://AKIAIOSFODNN7EXAMPLE:abc@bucket")[1] == {
        "aws_access_key": 1,
        "url_password": 1,
    }


@pytest.mark.parametrize(
    "prose",
    [
        "The password reset flow sends a token by e-mail; the password is wrong.",
        "Rotate every secret and API key. Bearer authentication uses a token.",
        "Log in with password or key, then sign by -u, and read user@host.",
    ],
)
def test_ordinary_prose_does_not_even_look_suspicious(prose: str) -> None:
    """It would pay for every rule then."""
    assert REDACTOR.suspects(prose.encode()) is None


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_is_no_secret_stays_untouched(text: str) -> None:
    """Over-redaction is a defect too."""
    assert REDACTOR.redact(text) == (text, {})


pieces = st.sampled_from(
    [secret for secret, _ in SECRETS]
    + [token for _, token in TOKENS]
    + [place.replace("§", secret) for _, place, secret in placed()]
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
        "f(password=letmein ",
        " curl -u a:",
        " machine x login y password ",
        " by 'a",
        "<password>a",
        "https://aaaaaaaaaaaaaaaa1",
        "Authorization: Bearer ",
        "MAAAAAAAAAAAAAAAAAAAAAA.",
        "1234567890:AA",
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
