"""Convert vLLM's additions to OpenAI's answers, and its own `RequestOutput`, to the audit's format.

Tokens may be named `token_id:123` (`return_tokens_as_token_ids`), ids may accompany the text (`return_token_ids`), and
a prompt's log-probabilities are one object per token, `{"123": {"logprob": -0.5, "rank": 1, ...}}` (`prompt_logprobs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from intact._base.errors import LogError

LEAST_TEMPERATURE = 0.01
"""The temperature to which vLLM raises lower ones, except for 0."""
_NAMED = re.compile(r"token_id:(\d{1,9})")
_ASIDE = ("logprobs", "prompt_logprobs", "outputs", "sampling_params", "prompt_token_ids")


def token_id(name: object) -> int | None:
    """Return the id in a token's name, or None if the name is plain text."""
    found = _NAMED.fullmatch(name) if isinstance(name, str) else None
    return int(found[1]) if found else None


def seeded(record: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return the fields for one of several answers to a request; its seed is the request's seed plus its index."""
    seed, temperature = record.get("seed"), record.get("temperature")
    changed: dict[str, Any] = {"batch": 1}
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        changed["seed"] = seed + index
    if isinstance(temperature, int | float) and 0 < temperature < LEAST_TEMPERATURE:
        changed["temperature"] = LEAST_TEMPERATURE
    return changed


def unfold_outputs(record: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return a record for each of a `RequestOutput`'s `outputs`; `sampling_params` may be an object or flat fields.

    Raises
    ------
    LogError
        If something is missing or has the wrong type; the message names it.
    """
    outputs, given = record["outputs"], record.get("sampling_params")
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        raise LogError(f"{where}: outputs must be a list of objects, as in vLLM's RequestOutput, got {outputs!r:.40}")
    if given is not None and not isinstance(given, dict):
        raise LogError(f"{where}: sampling_params must be an object, got {given!r:.40}")
    common = {name: value for name, value in {**record, **(given or {})}.items() if name not in _ASIDE}
    common |= {"engine": record.get("engine") or "vllm", "prompt_tokens": record.get("prompt_token_ids")}
    common["prompt_logprobs"] = record.get("prompt_logprobs")
    return [
        common
        | seeded(common, place)
        | {
            "pieces": None,
            "text": output.get("text"),
            "output_tokens": output.get("token_ids"),
            "logprobs": _own(output, where),
        }
        for place, output in enumerate(outputs)
    ]


def _own(output: Mapping[str, Any], where: str) -> list[Any] | None:
    """Return the log-probability of each sampled token from those logged for its position."""
    logprobs, tokens = output.get("logprobs"), output.get("token_ids")
    if logprobs is None or tokens is None:
        return None
    if not isinstance(logprobs, list) or not isinstance(tokens, list) or len(logprobs) != len(tokens):
        raise LogError(f"{where}: logprobs and token_ids of an output must be lists of equal length")
    return list(_each(logprobs, tokens, where))


def _each(logprobs: list[Any], tokens: list[Any], where: str) -> Iterator[Any]:
    for place, (several, token) in enumerate(zip(logprobs, tokens, strict=True)):
        if not isinstance(several, dict) or str(token) not in several:
            raise LogError(
                f"{where}: logprobs[{place}] has no entry for token {token!r:.20}, which is at that position"
            )
        yield several[str(token)]
