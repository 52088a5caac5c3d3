"""Parts of requests and answers that are never written to a cassette: keys, most headers, and what the user names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from intact._base.errors import ParameterError
from intact.reason.backends.openai_key import KEY, Secret
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.matching import KEPT_HEADERS, HttpRequest

REDACTED: Final = "REDACTED"
"""Text that replaces a redacted value."""
SECRET_HEADERS: Final = frozenset(
    ("api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key")
)
"""Headers whose values are also removed from bodies, in case an endpoint repeats them."""
SECRET_QUERIES: Final = frozenset(
    ("access_token", "api-key", "api_key", "apikey", "code", "key", "sig", "signature", "token")
)
"""Parameters of a query whose values are redacted."""
VARIABLES: Final = (
    *("ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY", KEY),
    *("OLLAMA_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
)
"""Environment variables whose values are removed from everything."""
_MOST_SECRETS: Final = 64


class Redaction:
    """Removes what must not be written.

    Parameters
    ----------
    fields : sequence of str
        Members of JSON bodies whose values are replaced, wherever they are.
    patterns : sequence of str
        Regular expressions; what they match in any text of a body is replaced.

    Raises
    ------
    ParameterError
        If a pattern is not a regular expression or matches the empty text.
    """

    def __init__(self, fields: Sequence[str] = (), patterns: Sequence[str] = ()) -> None:
        self._fields = frozenset(fields)
        self._patterns = [_compile(pattern) for pattern in patterns]
        self._secrets: dict[str, Secret] = {}
        self.add_secrets(os.environ.get(name, "") for name in VARIABLES)

    def add_secrets(self, texts: Iterable[str]) -> None:
        """Remove further texts from everything."""
        for text in texts:
            if text and len(self._secrets) < _MOST_SECRETS:
                self._secrets.setdefault(text, Secret(text))

    def note_keys(self, headers: Mapping[str, str], query: str) -> None:
        """Note the keys that a request carries, so that they are removed wherever else they occur."""
        for name in SECRET_HEADERS & headers.keys():
            scheme, _, key = headers[name].rpartition(" ")
            self.add_secrets((headers[name], key) if scheme else (key,))
        self.add_secrets(value for name, value in parse_qsl(query) if name.lower() in SECRET_QUERIES)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that are kept, by lower-case names in order."""
        kept = {name.lower(): self._text(value) for name, value in headers.items() if name.lower() in KEPT_HEADERS}
        return dict(sorted(kept.items()))

    def request(self, request: HttpRequest) -> HttpRequest:
        """Return a request as it may be written."""
        query = [
            (name, REDACTED if name.lower() in SECRET_QUERIES else self._text(value))
            for name, value in parse_qsl(request.query, keep_blank_values=True)
        ]
        content = None if request.content is None else self.content(request.content)
        headers = {
            name: re.sub(r"boundary=.*", "boundary=boundary", value)
            for name, value in self.headers(request.headers).items()
        }
        return HttpRequest(
            request.method, self._text(request.path), urlencode(query), host=request.host, headers=headers,
            content=content,
        )  # fmt: skip

    def content(self, content: BodyContent) -> BodyContent:
        """Return a body as it may be written."""
        return content.map_texts(self._value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                self._text(name): REDACTED if name in self._fields else self._value(one) for name, one in value.items()
            }
        if isinstance(value, list):
            return [self._value(one) for one in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        for secret in self._secrets.values():
            text = secret.clean(text)
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ParameterError(f"{pattern!r:.60} is not a regular expression: {error}") from None
    if compiled.match(""):
        raise ParameterError(f"{pattern!r:.60} matches the empty text, and so would redact nothing; name a text")
    return compiled
