"""The API key of an endpoint: sent in one header, and removed from everything the endpoint returns."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from intact._base.errors import ParameterError

KEY = "INTACT_API_KEY"
SHORTEST = 8  # minimum length of a key that is removed from texts


class Secret:
    """A text that is removed from other texts, unless it is shorter than `SHORTEST`."""

    def __init__(self, secret: str) -> None:
        self._pattern = re.compile("".join(map(_written, secret))) if len(secret) >= SHORTEST else None

    def clean(self, text: str) -> str:
        """Remove the secret from a text, as written or JSON-escaped: with backslashes, or letters as code points."""
        return text if self._pattern is None else self._pattern.sub("***", text)

    def clean_bytes(self, data: bytes) -> bytes:
        """Remove the secret from bytes in the same way."""
        return self.clean(data.decode("latin-1")).encode("latin-1")


class Key(Secret):
    """A key from the environment.

    Parameters
    ----------
    variable : str
        Environment variable that holds the key; if it is unset, there is no key.

    Raises
    ------
    ParameterError
        If a header cannot carry the key.
    """

    def __init__(self, variable: str) -> None:
        secret = os.environ.get(variable, "")
        if not secret.isascii() or not secret.isprintable():
            raise ParameterError(f"the key in {variable} has characters that are not allowed in a header")
        self.secret = secret
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        super().__init__(secret)


def variables(addresses: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variable that holds the key of each endpoint, by endpoint name.

    The plain variable is only for the first endpoint's host; the variables of other endpoints end with their own names.
    """
    hosts = {name: urlsplit(address)[:2] for name, address in addresses.items()}
    first = next(iter(hosts.values()), None)
    own = {name: f"{KEY}_{re.sub('[^A-Za-z0-9]', '_', name).upper()}" for name in addresses}
    return {name: KEY if hosts[name] == first and own[name] not in os.environ else own[name] for name in addresses}


def _written(character: str) -> str:
    """Return a pattern that matches every way of writing a character in JSON, or in JSON nested in JSON."""
    return rf"\\{{0,8}}(?:{re.escape(character)}|(?i:u{ord(character):04x}))"
