"""Convert exchanges with OpenAI-style endpoints (vLLM, llama.cpp's server and others) to the audit's own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact._base.errors import LogError
from intact.measure.audit.engines import family
from intact.measure.audit.vllm import seeded, token_id

_ASIDE = ("logprobs", "prompt_logprobs", "choices", "response")
"""Fields of a request that define its content rather than how tokens are sampled."""


def unfold(record: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return one record per choice of an exchange.

    The exchange is ``{"request": body, "response": body}``, or a response body with the request's fields next to
    ``choices``. A line of a batch's output, with the body inside ``response["body"]``, is accepted too.

    Raises
    ------
    LogError
        If something is missing or has the wrong type; the message names it.
    """
    response = _object(record, "response", where) if "response" in record else record
    response = _object(response, "body", where) if "body" in response and "choices" not in response else response
    request = _object(record, "request", where) if "request" in record else record
    request = _object(request, "body", where) if "body" in request and "messages" not in request else request
    request = flat(request, where)
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise LogError(
            f"{where}: the response has no choices; expected those of a completed answer, got {choices!r:.40}"
        )
    common = {name: value for name, value in request.items() if name not in _ASIDE}
    engine = str(record.get("engine") or request.get("engine") or "")
    for name in ("device", "gpu_threads"):
        if name in record:
            common[name] = record[name]
    common |= {"engine": engine, "batch": len(choices)}  # several may have their own seeds or share a generator
    prompts = _prompts(common.pop("prompt", None), len(choices), where)
    several = len(choices) // len(prompts)
    found = []
    for index, choice in enumerate(choices):
        prompt = common | prompts[index // several] | _prompt(response, choice)
        own = seeded(prompt, index % several) if family(engine) == "vllm" else {}
        found.append(prompt | own | _choice(choice, where, _echoed(request, response, len(prompts), where)))
    return found


def _prompts(given: Any, choices: int, where: str) -> list[dict[str, Any]]:
    """Return the prompts of a request: a string, tokens, or a list of either, which are answered in order."""
    many = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    if choices % len(many):
        raise LogError(f"{where}: got {choices} choices for {len(many)} prompts")
    return [{"prompt_tokens" if isinstance(one, list) else "prompt": one} for one in many]


def _prompt(response: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return vLLM's fields about the prompt: from the choice (completions) or next to the choices (chats)."""
    names = {"prompt_token_ids": "prompt_tokens", "prompt_logprobs": "prompt_logprobs"}
    logprobs = {own: choice.get(name, response.get(name)) for name, own in names.items()}
    return {name: value for name, value in logprobs.items() if value is not None}


def _echoed(request: Mapping[str, Any], response: Mapping[str, Any], prompts: int, where: str) -> int:
    """Return the number of prompt tokens that precede the answer's tokens."""
    if not request.get("echo"):
        return 0
    usage = response.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if prompts != 1 or not isinstance(count, int) or count < 0:
        raise LogError(
            f"{where}: with echo, usage.prompt_tokens must give the number of tokens before the answer, and the prompt "
            "must be a single one"
        )
    return count


def _choice(choice: Mapping[str, Any], where: str, echoed: int) -> dict[str, Any]:
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    found: dict[str, Any] = {"text": None if echoed else text, "pieces": None}
    names: list[Mapping[str, Any]] = []
    logprobs = choice.get("logprobs")
    logprobs = logprobs if isinstance(logprobs, dict) else {}
    if isinstance(logprobs.get("content"), list):
        names = logprobs["content"]
        if not all(isinstance(token, dict) for token in names):
            raise LogError(f"{where}: logprobs.content must be a list of objects")
        found["logprobs"] = [token.get("logprob") for token in names]
    elif isinstance(logprobs.get("tokens"), list) and isinstance(
        logprobs.get("token_logprobs"), list
    ):  # legacy completions
        names = [{"token": token} for token in logprobs["tokens"][echoed:]]
        found["logprobs"] = logprobs["token_logprobs"][echoed:]
    ids = [token_id(token.get("token")) for token in names]
    if isinstance(choice.get("token_ids"), list):
        found["output_tokens"] = choice["token_ids"]
    elif ids and None not in ids:
        found["output_tokens"] = ids
    elif names:
        found["pieces"] = tuple(_bytes(token, where) for token in names)
    return found


def _bytes(token: Mapping[str, Any], where: str) -> bytes:
    raw, name = token.get("bytes"), token.get("token")
    try:
        if isinstance(raw, list):
            return bytes(raw)
        if isinstance(name, str):
            return name.encode("utf-8")
    except (ValueError, TypeError):
        pass
    raise LogError(f"{where}: a token of logprobs has neither bytes (0 to 255) nor a text: {name!r:.40}")


def flat(record: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Merge the fields of a request's `extra_body` into the request, as OpenAI's client does."""
    extra = record.get("extra_body")
    if extra is not None and not isinstance(extra, dict):
        raise LogError(f"{where}: extra_body must be an object, got {extra!r:.40}")
    return {name: value for name, value in record.items() if name != "extra_body"} | (extra or {})


def _object(record: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = record[name]
    if not isinstance(value, dict):
        raise LogError(f"{where}: {name} must be an object, got {value!r:.40}")
    return value
