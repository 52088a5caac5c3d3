"""Answers of this package's models in a generation that inspect_ai logged, and how they differ from their receipts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from intact._base.errors import LogError
from intact.integrations.inspect_request import STOP_REASONS, request_of, text_of
from intact.receipts import canonical

PROVIDER: Final = "intact/"
"""Beginning of the names of models whose answers have receipts."""
MOST_REQUEST: Final = 1 << 26
"""Maximum number of values and characters of a request."""


class EvalAnswer(NamedTuple):
    """A model's answer in a log.

    Attributes
    ----------
    where : str
        Sample, epoch and number of the generation, for messages.
    choice : int
        Its number among the answers to the request.
    body : dict
        The request that the log implies.
    message, stop_reason : dict, str
        The answer as the log has it.
    receipt : bytes or None
        Its receipt in canonical form, unparsed; None if there is none.
    """

    where: str
    choice: int
    body: dict[str, Any]
    message: dict[str, Any]
    stop_reason: str
    receipt: bytes | None


def answers_of(event: Mapping[str, Any], where: str) -> Iterator[EvalAnswer]:
    """Yield the answers of a generation."""
    output = event["output"]
    _check_size([event["input"], event["tools"], event["config"]], MOST_REQUEST, f"{where}: its request")
    drawn = (output.get("metadata") or {}).get("intact") or {}
    body = request_of(
        event["model"].removeprefix(PROVIDER),
        event["input"],
        event["tools"],
        event["tool_choice"],
        config=event["config"],
    )
    if isinstance(seed := drawn.get("seed"), int):
        body["seed"] = seed
    body["intact"] |= {name: drawn[name] for name in ("id", "now") if isinstance(drawn.get(name), str)}
    receipts = drawn.get("receipts") or []
    for i, choice in enumerate(output["choices"]):
        document = receipts[i] if i < len(receipts) else None
        _check_size(document, canonical.MOST_BYTES, f"{where}: its receipt")
        receipt = canonical.encode(document) if isinstance(document, dict) else None
        several = f", answer {i + 1}" if len(output["choices"]) > 1 else ""
        stop = choice.get("stop_reason", "")
        yield EvalAnswer(where + several, i, body, message=choice["message"], stop_reason=stop, receipt=receipt)


def message_difference(
    answer: EvalAnswer, content: str, thoughts: str, calls: Sequence[Mapping[str, Any]], finish: str
) -> str | None:
    """Return how an answer in the log differs from the text of its receipt; None if it does not."""
    given = answer.message.get("content") or ""
    for name, own, kind in (("text", content, "text"), ("reasoning", thoughts, "reasoning")):
        text = text_of(given, kind)
        if text != own:
            at = next((i for i, (a, b) in enumerate(zip(text, own, strict=False)) if a != b), min(len(text), len(own)))
            parts = f"{text[at : at + 30]!r}, {own[at : at + 30]!r}"
            return f"its {name} differs from the receipt's at character {at}: {parts}"
    logged = [(call.get("function"), call.get("arguments")) for call in answer.message.get("tool_calls") or ()]
    written = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
    if len(logged) != len(written) or not all(map(_same_call, logged, written)):
        return f"its tool calls are {logged!r:.100}, the receipt's {written!r:.100}"
    if answer.stop_reason != STOP_REASONS.get(finish):
        return f"its stop reason is {answer.stop_reason!r:.40}, the receipt's {STOP_REASONS.get(finish)!r}"
    return None


def _same_call(logged: tuple[Any, Any], written: tuple[str, str]) -> bool:
    """Return true if a tool call in the log is the one that was written; arguments that are no JSON are empty there."""
    try:
        arguments = json.loads(written[1])
    except ValueError:
        arguments = {}
    return bool(logged[0] == written[0] and logged[1] == (arguments if isinstance(arguments, dict) else {}))


def _check_size(value: Any, most: int, what: str) -> None:
    """Raise if a value has too many values and characters: attachments that are used many times are not copied yet."""
    left, waiting = most, [value]
    while waiting:
        one = waiting.pop()
        left -= len(one) if isinstance(one, str) else 1
        if left < 0:
            raise LogError(f"{what} has more than {most:,} characters")
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
