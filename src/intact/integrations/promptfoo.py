"""promptfoo: a provider file in Python, for answers and for judging (docs/integrations.md).

promptfoo loads this file by its path, which ``python -m intact.integrations.promptfoo`` prints, and calls `call_api`.
It needs no package of its own. One process serves all calls of an evaluation, so that the model is loaded once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intact._base.errors import IntactError
from intact.checkpoints.catalogue import DEFAULT
from intact.integrations.chat_text import ChatModel
from intact.integrations.judging import MAX_TOKENS, question
from intact.integrations.receipt_file import ReceiptFile
from intact.text.template import DEFAULT_NOW

_OPENING = ("model", "base_url", "api_key", "profile", "threads")
"""Members of a provider's `config` that are not options of requests."""
_models: dict[str, ChatModel] = {}
_files: dict[str, ReceiptFile] = {}


def call_api(prompt: str, options: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a prompt, in promptfoo's form.

    Parameters
    ----------
    prompt : str
        A text, or messages as JSON.
    options : mapping
        `config` has model, base_url, api_key, profile, threads, receipts (a file), and options of requests.
    context : mapping
        Not used: promptfoo's variables are in the prompt.
    """
    config = dict(options.get("config") or {})
    config.pop("basePath", None)  # promptfoo's own
    receipts = config.pop("receipts", None)
    opening = {name: config.pop(name) for name in _OPENING if config.get(name) is not None}
    fixed = {"temperature": 0, "seed": 0, "max_tokens": MAX_TOKENS, "now": DEFAULT_NOW.isoformat()}
    try:
        answer = _model(opening).ask(_messages(prompt), **fixed | config)
        if receipts is not None:
            _file(str(receipts)).add(answer.receipt, answer.text if answer.receipt else None)
    except (IntactError, OSError, MemoryError) as error:
        return {"error": str(error) or "not enough memory"}
    used = answer.usage
    return {
        "output": answer.text,
        "tokenUsage": {
            "total": used.get("total_tokens", 0),
            "prompt": used.get("prompt_tokens", 0),
            "completion": used.get("completion_tokens", 0),
        },
        "finishReason": answer.finish,
        "metadata": {"receipt": answer.receipt, "fingerprint": answer.fingerprint},
    }


def _model(opening: dict[str, Any]) -> ChatModel:
    """Return the model of a provider, opened once."""
    key = json.dumps(opening, sort_keys=True)
    if key not in _models:
        model = opening.pop("model", DEFAULT)
        _models[key] = ChatModel(model, opening.pop("base_url", None), opening.pop("api_key", None), **opening)
    return _models[key]


def _file(path: str) -> ReceiptFile:
    if path not in _files:
        _files[path] = ReceiptFile(path)
    return _files[path]


def _messages(prompt: str) -> list[dict[str, Any]]:
    """Return the messages of a prompt: those that it is as JSON, or a single one."""
    if prompt.lstrip().startswith("["):
        try:
            value = json.loads(prompt)
        except ValueError:
            return question(prompt)
        if value and all(isinstance(one, dict) and "role" in one for one in value):
            return list(value)
    return question(prompt)


if __name__ == "__main__":
    print(f"file://{Path(__file__).resolve()}")
