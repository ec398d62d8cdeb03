"""Keys and tokens that their issuer made recognisable by a prefix or a place."""

from __future__ import annotations

from learning_pipeline.extraction.redaction_rules.rule import (
    EDGE,
    Match,
    Replace,
    Replacement,
    Rule,
    marker,
)
from learning_pipeline.extraction.redaction_rules.values import has_digit

_SURE_LENGTH = 30


def _token(match: Match, kind: str) -> Replacement:
    """Replace the token, keep what stands before it; a plain long word is no token."""
    body: bytes = match[2]
    if len(body) < _SURE_LENGTH and not has_digit(body):
        return None
    return match[1] + marker(kind), kind


def _with_capital(match: Match, kind: str) -> Replacement:
    return None if match[2] == match[2].lower() else _token(match, kind)


def _with_digit(match: Match, kind: str) -> Replacement:
    return _token(match, kind) if has_digit(match[2]) else None


def _with_both(match: Match, kind: str) -> Replacement:
    return _with_capital(match, kind) if has_digit(match[2]) else None


def _prefixed(
    kind: str, prefixes: bytes, body: bytes, replace: Replace = _token
) -> Rule:
    return Rule(kind, EDGE + rb"((?:" + prefixes + rb")" + body + rb")", replace)


def _placed(kind: str, place: bytes, body: bytes) -> Rule:
    return Rule(kind, rb"(?i)(" + place + rb")(" + body + rb")", _with_digit)


_WORD = rb"[0-9A-Za-z]"
_NAME = rb"[0-9A-Za-z_]"
_URL_SAFE = rb"[0-9A-Za-z_-]"
_HEX = rb"[0-9A-Fa-f]"

_JWT = _URL_SAFE + rb"{8,}\." + _URL_SAFE + rb"{8,}(?:\." + _URL_SAFE + rb"*)?"

RULES = (
    _prefixed("jwt", rb"eyJ", _JWT, _with_capital),
    _prefixed(
        "aws_access_key",
        rb"AKIA|ASIA|AIDA|AROA|AGPA|ANPA|ANVA",
        rb"[0-9A-Z]{16}",
        _with_capital,
    ),
    _prefixed("google_api_key", rb"AIza", _URL_SAFE + rb"{30,}"),
    _prefixed("google_token", rb"ya29\.|GOCSPX-|1//0", _URL_SAFE + rb"{20,}"),
    _placed(
        "azure_key", rb"(?:[?&;]|\\u0026|%26)sig(?:=|%3d)", rb"[0-9A-Za-z%+/=]{40,}"
    ),
    _prefixed("github_token", rb"gh[pousr]_|github_pat_", _NAME + rb"{20,}"),
    _prefixed(
        "gitlab_token",
        rb"gl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent)-",
        rb"[0-9A-Za-z_.-]{15,}" + _URL_SAFE,
    ),
    _prefixed(
        "bitbucket_token",
        rb"ATBB|ATCTT3|ATATT3|BBDC-",
        rb"[0-9A-Za-z_=-]{20,}",
        _with_capital,
    ),
    _prefixed("anthropic_key", rb"sk-ant-", _URL_SAFE + rb"{16,}"),
    _prefixed("openrouter_key", rb"sk-or-v1-", _URL_SAFE + rb"{16,}"),
    _prefixed("openai_key", rb"sk-(?:proj|svcacct|admin|None)-", _URL_SAFE + rb"{16,}"),
    # DeepSeek and others use the same prefix.
    _prefixed("openai_key", rb"sk-", _WORD + rb"{20,}", _with_digit),
    _prefixed("huggingface_token", rb"hf_|api_org_", _WORD + rb"{20,}"),
    _prefixed("groq_key", rb"gsk_", _WORD + rb"{20,}"),
    _prefixed("replicate_token", rb"r8_", _WORD + rb"{20,}"),
    _prefixed("xai_key", rb"xai-", _WORD + rb"{20,}"),
    # Perplexity, Fireworks, Nvidia, Cerebras, Tavily, LangSmith, Jina, Voyage
    _prefixed(
        "model_provider_key",
        rb"pplx-|fw_|nvapi-|csk-|tvly-(?:dev-|prod-)?|lsv2_(?:pt|sk)_|jina_|pa-",
        _URL_SAFE + rb"{24,}",
        _with_both,
    ),
    _prefixed(
        "slack_token", rb"xox[abceoprs]-|xapp-", rb"[0-9A-Za-z-]{10,}", _with_digit
    ),
    _placed(
        "webhook_url",
        rb"hooks\.slack\.com/(?:services|workflows|triggers)/"
        rb"|discord(?:app)?\.com/api/(?:v[0-9]+/)?webhooks/",
        rb"[0-9A-Za-z_/-]{20,}",
    ),
    _prefixed(
        "discord_token",
        rb"[MNO][0-9A-Za-z_-]{22,27}\.[0-9A-Za-z_-]{6}\.",
        _URL_SAFE + rb"{27,}",
        _with_both,
    ),
    _prefixed("telegram_token", rb"(?:bot)?[0-9]{8,10}:AA", _URL_SAFE + rb"{32,}"),
    _prefixed("stripe_key", rb"[sr]k_(?:live|test)_|whsec_", _WORD + rb"{10,}"),
    _prefixed(
        "sendgrid_key", rb"SG\.", _URL_SAFE + rb"{16,}\." + _URL_SAFE + rb"{30,}"
    ),
    _prefixed("twilio_key", rb"SK|AC", rb"[0-9a-f]{32}\b", _with_digit),
    _prefixed("mailgun_key", rb"key-", rb"[0-9a-f]{32}\b", _with_digit),
    _prefixed("digitalocean_token", rb"do[opr]_v1_", _HEX + rb"{32,}"),
    _prefixed("shopify_token", rb"shp(?:at|ca|pa|ss)_", _HEX + rb"{32,}"),
    _prefixed("databricks_token", rb"dapi", _HEX + rb"{32}(?:-[0-9])?\b"),
    _prefixed("vault_token", rb"hv[sbr]\.", _URL_SAFE + rb"{20,}"),
    _prefixed(
        "doppler_token",
        rb"dp\.(?:pt|st|sa|ct|scim|audit)\.",
        rb"(?:[0-9a-z_-]+\.)?" + _WORD + rb"{32,}",
    ),
    _prefixed("linear_key", rb"lin_(?:api|oauth)_", _WORD + rb"{30,}"),
    _prefixed("notion_token", rb"ntn_|secret_", _WORD + rb"{40,}", _with_digit),
    _prefixed("figma_token", rb"figd_", _URL_SAFE + rb"{30,}"),
    # Grafana, Supabase, Sentry, Netlify, PlanetScale, Postman, New Relic, Tailscale
    _prefixed(
        "service_token",
        rb"glsa_|sbp_|sntrys_|nfp_|pscale_(?:tkn|oauth|pw)_|PMAK-|NRAK-|tskey-",
        _URL_SAFE + rb"{24,}",
        _with_digit,
    ),
    _prefixed("npm_token", rb"npm_", _WORD + rb"{24,}"),
    _prefixed("pypi_token", rb"pypi-", _URL_SAFE + rb"{32,}", _with_capital),
    _prefixed("rubygems_token", rb"rubygems_", _HEX + rb"{32,}"),
    _prefixed("docker_token", rb"dckr_[po]at_", _URL_SAFE + rb"{20,}"),
)
