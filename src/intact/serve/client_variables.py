"""Environment variables by which clients of language models find their endpoint."""

from __future__ import annotations

from collections.abc import Mapping

NO_KEY = "none"
"""API key for servers that need none; clients insist on one."""
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


def client_variables(url: str, environment: Mapping[str, str], keep_keys: bool) -> dict[str, str]:
    """Return the variables with which clients use a server.

    Parameters
    ----------
    url : str
        The server's address, without a path.
    environment : mapping
        Current variables.
    keep_keys : bool
        If true, API keys that are set stay as they are, since the server passes them on.
    """
    addresses = dict.fromkeys(("ANTHROPIC_BASE_URL", "OLLAMA_HOST", "INTACT_URL"), url)
    keys = {name: NO_KEY for name in _KEYS if not (keep_keys and environment.get(name))}
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_BASE": f"{url}/v1"} | addresses | keys
