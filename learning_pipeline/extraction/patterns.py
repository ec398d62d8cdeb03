"""The rules that hold for every pattern: redact, cut, judge, hash."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from learning_pipeline.extraction.contexts import bounded_context, holds_nul
from learning_pipeline.extraction.decoding import Rejection
from learning_pipeline.extraction.redaction import NO_REDACTIONS, Redactor

MAX_PROMPT_CHARS = 4_000
MAX_RESPONSE_CHARS = 12_000
MAX_BACKEND_CHARS = 200
MAX_BACKENDS_REMEMBERED = 1_000
MIN_PROMPT_CHARS = 20
MIN_RESPONSE_CHARS = 10
MAX_QUALITY_ITERATIONS = 5


class Finisher:
    """Makes final texts of raw ones; remembers nothing that changes a result."""

    def __init__(self, redactor: Redactor) -> None:
        """Use this redactor."""
        self._redactor = redactor
        self._suspects = redactor.suspects
        self._clean_backends: dict[str, bool] = {}

    def finish(  # noqa: PLR0913, PLR0917 - a pattern's fields, and no object per record
        self,
        kind: str,
        prompt: str,
        response: str,
        iterations: int,
        backend: str | None,
        context: str | None,
        success_metrics: str,
        event_timestamp: str | None,
    ) -> tuple[tuple[object, ...], Mapping[str, int]]:
        """Return a pattern's fields in their order, and its redactions by kind.

        Args:
            kind: The event's kind.
            prompt: Stripped.
            response: Stripped.
            iterations: How many rounds.
            backend: As stated, or None.
            context: Compact JSON text, or None.
            success_metrics: JSON text.
            event_timestamp: Canonical, or None.

        Raises:
            Rejection: A text holds NUL, which Postgres cannot store.
            UnicodeEncodeError: A text holds a lone surrogate.
        """
        text = f"{prompt}\n{response}"
        data = text.encode()
        if context is not None or not (backend is None or self._is_clean(backend)):
            screened = f"{text}\n{backend}\n{context}"
            suspects = self._suspects(screened.encode())
            if "\0" in screened or (context is not None and holds_nul(context)):
                raise Rejection("nul_bytes", "a text to be stored holds a NUL")
        else:
            suspects = self._suspects(data)
            if "\0" in text:
                raise Rejection("nul_bytes", "a text to be stored holds a NUL")
        redactions = NO_REDACTIONS
        changed = False
        if suspects:
            (prompt, response, backend, redacted_context), redactions = self._redact(
                prompt, response, backend, context
            )
            changed = redacted_context != context
            context = redacted_context
        if (
            suspects
            or len(prompt) > MAX_PROMPT_CHARS
            or len(response) > MAX_RESPONSE_CHARS
        ):
            prompt = prompt[:MAX_PROMPT_CHARS]
            response = response[:MAX_RESPONSE_CHARS]
            text = f"{prompt.strip()}\n{response.strip()}"
            data = text.encode()
        if backend is not None:
            backend = backend.strip()[:MAX_BACKEND_CHARS] or None
        if context is not None:
            context = bounded_context(context, changed=changed)
        # Lower-casing bytes is the cheaper way, and for ASCII the same.
        lowered = data.lower() if len(data) == len(text) else text.lower().encode()
        quality = (
            len(prompt) > MIN_PROMPT_CHARS
            and len(response) > MIN_RESPONSE_CHARS
            and iterations <= MAX_QUALITY_ITERATIONS
            and prompt != response
        )
        return (
            kind,
            prompt,
            response,
            iterations,
            backend,
            context,
            success_metrics,
            event_timestamp,
            quality,
            sha256(lowered).digest(),
        ), redactions

    def _is_clean(self, backend: str) -> bool:
        """Whether a backend holds nothing to redact or refuse; few are told apart."""
        clean = self._clean_backends.get(backend)
        if clean is None:
            clean = "\0" not in backend and self._suspects(backend.encode()) is None
            if len(self._clean_backends) < MAX_BACKENDS_REMEMBERED:
                self._clean_backends[backend] = clean
        return clean

    def _redact(
        self, prompt: str, response: str, backend: str | None, context: str | None
    ) -> tuple[tuple[str, str, str | None, str | None], dict[str, int]]:
        texts: list[str | None] = []
        total: dict[str, int] = {}
        for text in (prompt, response, backend, context):
            if text is None:
                texts.append(None)
                continue
            redacted, counts = self._redactor.redact(text)
            texts.append(redacted)
            for kind, count in counts.items():
                total[kind] = total.get(kind, 0) + count
        return (texts[0] or "", texts[1] or "", texts[2], texts[3]), total
