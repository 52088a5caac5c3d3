"""Requests to OpenAI-compatible endpoints, and their streamed answers, validated event by event."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeGuard, cast, get_args

from intact._base import strict_json
from intact._base.errors import EndpointError, ParameterError
from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.base import Generation, Written
from intact.reason.limits import one_of
from intact.reason.problem import Top, Why
from intact.text.stream import StopStrings

Continues = Literal["no", "vllm", "prefill"]
"""The way in which the endpoint continues an unfinished answer in a conversation: not at all; with
`continue_final_message` (vLLM, SGLang); or automatically if the last message is the assistant's (llama.cpp).
"""


def as_continues(text: str) -> Continues:
    """Validate the way in which an endpoint continues an answer.

    Raises
    ------
    ParameterError
        If it is unknown.
    """
    one_of(get_args(Continues), continues=text)
    return cast(Continues, text)


_EXTENSIONS = (
    *("top_k", "min_p", "min_tokens", "typical_p", "ignore_eos"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)


def body_of(generation: Generation, model: str, continues: Continues, key: int) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request.

    Stop strings are not sent, because endpoints do not distinguish a stop string from the model's own end of text. The
    client searches for them in the stream, and the connection is closed at the first match.

    Parameters
    ----------
    key : int
        Key of the branch; its upper 31 bits are the seed.

    Raises
    ------
    ParameterError
        If the endpoint does not support the request.
    """
    state, parameters = generation.state, generation.parameters
    body: dict[str, Any] = {"model": model, "max_tokens": parameters.max_tokens, "seed": key >> 33}
    body |= {"temperature": parameters.temperature, "top_p": parameters.top_p}
    body |= {"stream": True, "stream_options": {"include_usage": True}} | _extensions(parameters)
    if isinstance(state.prompt, str):
        return "completions", body | {"prompt": state.prompt + state.text, "logprobs": max(1, parameters.top_logprobs)}
    body |= {"messages": _messages(state.prompt, state.text, continues), "logprobs": True}
    if parameters.top_logprobs:
        body["top_logprobs"] = parameters.top_logprobs
    if state.text and continues == "vllm":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return "chat/completions", body


def _messages(turns: Sequence[tuple[str, str]], text: str, continues: Continues) -> list[dict[str, str]]:
    if text and continues == "no":
        raise ParameterError(
            "this endpoint cannot continue an answer of a conversation: say how it does so "
            "(continues='vllm' or 'prefill'; --continues on the command line), or prompt with plain text"
        )
    return [{"role": role, "content": content} for role, content in (*turns, *([("assistant", text)] if text else []))]


def _extensions(parameters: SamplingParameters) -> dict[str, Any]:
    """Return non-default parameters that not every endpoint supports."""
    for kind in ("regex", "grammar"):
        if getattr(parameters, kind) is not None:
            raise ParameterError(f"endpoints do not support {kind}; use json_schema")
    for name in ("stop_below", "stop_mean_below"):
        if getattr(parameters, name):
            raise ParameterError(f"endpoints do not support {name}: use a local model")
    default = SamplingParameters()
    found = {name: value for name in _EXTENSIONS if (value := getattr(parameters, name)) != getattr(default, name)}
    if parameters.biases:
        found["logit_bias"] = {str(token): max(-100.0, bias) for token, bias in parameters.biases}
    if parameters.json_schema is not None:
        schema = {"name": "answer", "schema": json.loads(str(parameters.json_schema)), "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


LONGEST_TOKEN: Final = 256
"""Upper bound on the number of bytes of a token; runs of blanks or punctuation reach about half of it."""


class Listed(NamedTuple):
    """A token as reported by the endpoint."""

    text: str
    logprob: int
    top: Top


class Arrival:
    """A streamed answer in progress.

    Tokens have no ids here; stand-in ids derived from their text are used instead.

    Parameters
    ----------
    clean : callable
        Removes the key from text, since an endpoint may send it back, possibly in parts.

    Attributes
    ----------
    claimed : int
        Number of tokens that the endpoint claims to have generated so far.
    prompt : int
        Number of tokens that the endpoint claims the prompt has.
    events : int
        Number of events with text or log-probabilities.
    size : int
        Number of bytes of its text, including reasoning.
    hidden : bool
        If true, reasoning arrived in a field of its own.
    begun : bool
        If true, something that counts towards the cost has arrived.
    done : bool
        If true, the rest is irrelevant: the answer has ended, or a stop string was found.
    """

    def __init__(self, parameters: SamplingParameters, clean: Callable[[str], str]) -> None:
        self.claimed = self.prompt = self.size = 0
        self.done = self.begun = self.hidden = False
        self._parameters, self._clean = parameters, clean
        self._stops = StopStrings(parameters.stop)
        self._text: list[str] = []
        self._listed: list[Listed] = []
        self.events = self._thoughts = 0
        self._finish = ""

    @property
    def listed(self) -> int:
        """The number of tokens that came with log-probabilities."""
        return len(self._listed)

    @property
    def stopped(self) -> bool:
        """If true, a stop string was found."""
        return self._stops.matched is not None

    @property
    def arrived(self) -> int:
        """The number of tokens seen: those listed (if none, the chunks with text), plus chunks with only reasoning."""
        return max(len(self._listed), self.events) + self._thoughts

    @property
    def count(self) -> int:
        """The number of tokens to charge: the largest of those seen, those claimed, and the minimum for its size."""
        return max(self.arrived, self.claimed, -(-self.size // LONGEST_TOKEN))

    def take(self, data: str | bytes) -> None:
        """Process an event, or a complete answer, in JSON.

        Raises
        ------
        EndpointError
            If the event is malformed.
        """
        event = _parsed(data)
        if event.get("error"):
            raise EndpointError(f"the endpoint says: {_message(event['error'])}")
        self._count(event.get("usage"))
        choices = event.get("choices")
        if not isinstance(choices, list) or len(choices) > 1:
            raise EndpointError(f"expected one choice, got {choices!r:.60}")
        for choice in choices:
            if not isinstance(choice, dict):
                raise EndpointError(f"a choice must be an object, got {choice!r:.60}")
            self._choose(choice)
        limit = self._parameters.max_tokens
        if self.count > limit:
            raise EndpointError(f"the endpoint wrote {self.count} tokens, but only {limit} were allowed")

    def _count(self, usage: Any) -> None:
        if usage is None:
            return
        counts = usage if isinstance(usage, dict) else {}
        completion, prompt = counts.get("completion_tokens"), counts.get("prompt_tokens")
        if not _is_count(completion) or not _is_count(prompt):
            raise EndpointError(f"usage must contain completion_tokens and prompt_tokens, got {usage!r:.80}")
        self.claimed, self.prompt = completion, prompt

    def _choose(self, choice: Mapping[str, Any]) -> None:
        part = choice.get("delta") or choice.get("message") or choice
        text = part.get("content", part.get("text")) if isinstance(part, dict) else 0
        if text is not None and not isinstance(text, str):
            raise EndpointError(f"expected a string of text, got {text!r:.60}")
        finish = choice.get("finish_reason")
        if finish not in (None, "stop", "length"):
            raise EndpointError(f"it ended with {finish!r:.60}; expected 'stop' or 'length'")
        listed = _listed(choice.get("logprobs"), self._parameters.top_logprobs)
        reasoning = part.get("reasoning_content") or part.get("reasoning")
        written, thought = bool(text or listed), bool(reasoning)
        self.begun, self.hidden = self.begun or written or thought, self.hidden or thought
        if not self.done:
            self._listed += listed
            self.events += written
            self._thoughts += thought and not written
            self.size += sum([len(one.encode("utf-8", "replace")) for one in (text, reasoning) if isinstance(one, str)])
            safe, stopped = self._stops.push((text or "").encode("utf-8", "replace").decode())
            self._text.append(safe)
            self._finish = finish or ""
            self.done = stopped or bool(finish)

    def written(self) -> Written:
        """Return the complete text.

        Raises
        ------
        EndpointError
            If it ended without a finish reason, or listed only some of its tokens.
        """
        matched = self._stops.matched
        if matched is None and not self._finish:
            raise EndpointError("the answer ended without a finish reason, so it is incomplete")
        if self._listed and len(self._listed) < self.events:
            raise EndpointError(
                f"{self.events} chunks of text came with log-probabilities for only {len(self._listed)}"
            )
        return self._as("stop" if matched is not None else "end" if self._finish == "stop" else "length")

    def broken(self, why: Why, error: str = "") -> Written:
        """Return the text received so far if no more will arrive; at most the allowed number of tokens is charged."""
        return self._as(why, error)

    def _as(self, why: Why, error: str = "") -> Written:
        whole_text = "".join(self._text) + (self._stops.matched or self._stops.flush())
        text = self._clean(whole_text)
        count = min(self.count, self._parameters.max_tokens)
        listed = self._listed[:count]
        if text != whole_text:  # leave out the texts of its tokens: they would spell the key
            listed = [Listed("", logprob, tuple([("***", value) for _, value in top])) for _, logprob, top in listed]
        tokens = [stand_in(token.text) for token in listed]
        whole = stand_in(text)
        tokens += [stand_in(f"{place} of {whole}") for place in range(len(tokens), count)]
        # Nothing is known about tokens that are charged but not listed; repeating the listed ones preserves the
        # means
        full = [listed[place % len(listed)] for place in range(count)] if listed else []
        logprobs = tuple([token.logprob for token in full])
        top = tuple([token.top for token in full]) if self._parameters.top_logprobs else ()
        return Written(text, tuple(tokens), logprobs, top, why=why, error=self._clean(error))


def stand_in(text: str) -> int:
    """Return a stand-in id for a token whose own id is unknown: 31 bits of a digest of its text."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def _parsed(data: str | bytes) -> dict[str, Any]:
    bare = data if isinstance(data, str) else data.removeprefix(codecs.BOM_UTF8)
    event = strict_json.parse(bare, f"the reply {data!r:.60}", error=EndpointError)
    if not isinstance(event, dict):
        raise EndpointError(f"expected a JSON object, got {data!r:.60}")
    return event


def _message(error: Any) -> str:
    return f"{error.get('message', error) if isinstance(error, dict) else error!s:.200}"


def _listed(logprobs: Any, wanted: int) -> list[Listed]:
    """Return the tokens of an event, in the completions or the chat format."""
    if logprobs is None:
        return []
    if not isinstance(logprobs, dict):
        raise EndpointError(f"logprobs must be an object, got {logprobs!r:.60}")
    if "content" in logprobs:
        content = logprobs["content"] or []
        if not isinstance(content, list) or not all(isinstance(token, dict) for token in content):
            raise EndpointError(f"logprobs.content must be a list of objects, got {content!r:.60}")
        rows = [(one.get("token"), one.get("logprob"), one.get("top_logprobs")) for one in content]
    else:
        tokens = logprobs.get("tokens")
        columns: list[Any] = [tokens, logprobs.get("token_logprobs")]
        columns.append(logprobs.get("top_logprobs") or ([None] * len(tokens) if isinstance(tokens, list) else None))
        if not all(isinstance(one, list) for one in columns) or len({len(one) for one in columns}) != 1:
            raise EndpointError(f"logprobs must be lists of equal length, got {logprobs!r:.100}")
        rows = list(zip(*columns, strict=True))
    return [_token(text, logprob, _pairs(top), wanted) for text, logprob, top in rows]


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 31


def _pairs(top: Any) -> list[tuple[Any, Any]]:
    """Return the likeliest tokens from either format."""
    if isinstance(top, dict):
        return list(top.items())
    if isinstance(top, list) and all(isinstance(one, dict) for one in top):
        return [(one.get("token"), one.get("logprob")) for one in top]
    if top is None:
        return []
    raise EndpointError(f"top_logprobs must contain tokens and their logprobs, got {top!r:.60}")


def _token(text: Any, logprob: Any, pairs: Sequence[tuple[Any, Any]], wanted: int) -> Listed:
    top: list[tuple[str, int]] = []
    if wanted:
        likeliest = [(_text(word), _fixed(value)) for word, value in pairs]
        top = sorted(likeliest, key=lambda pair: (-pair[1], pair[0]))[:wanted]
        if not top:
            raise EndpointError(f"the likeliest {wanted} tokens were requested but are missing")
    return Listed(_text(text), _fixed(logprob), tuple(top))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EndpointError(f"expected the text of a token, got {value!r:.60}")
    return value.encode("utf-8", "replace").decode()


def _fixed(value: Any) -> int:
    """Convert a log-probability to units of 2^-24; a rounding error above 0 becomes 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1e6 < value < 1e-3:
        raise EndpointError(f"a log-probability must be a number of at most 0, got {value!r:.60}")
    return min(0, round(value * LOGPROB_SCALE))
