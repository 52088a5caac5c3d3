"""`/v1/chat/completions` by a reasoning method: the answer with votes and cost, and what happens meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Any

from intact.clock import DEFAULT_NOW
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.errors import IntactError
from intact.reason.problem import Result
from intact.serve import methods, tracing
from intact.serve.admission import Ticket
from intact.serve.errors import ApiError, as_api_error
from intact.serve.generation import FORESEEN, Service, apart, heed, limit_of, time_of
from intact.serve.messages import conversation
from intact.serve.methods import Solving, Tell, Undertaking
from intact.serve.models import Served
from intact.serve.replies import head
from intact.serve.requests import ChatRequest, ResponseFormat
from intact.serve.settings import Settings
from intact.text import Conversation, Tokenizer

_TAKEN = {"model", "messages", "stream", "stream_options", "intact", "seed", "max_tokens", "max_completion_tokens"}
_OWN = {"method", "parameters", "n", "budget", "answer", "progress", "trace", "receipt", "priority", "deadline", "id"}
_OWN |= {"now"}
_SAMPLING = tuple(name for name, one in DEFINITIONS.items() if one.methods and one.http == "body")
_IDLE = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prediction"}
_IDLE |= {"prompt_cache_retention", "verbosity", "modalities", "parallel_tool_calls"}
_SAYS_NOTHING: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "repetition_penalty": (1,),
    "typical_p": (1,),
    "response_format": (ResponseFormat(type="text"),),
    "tool_choice": ("none", "auto"),
}
"""Values of a field that ask for no more than its absence does."""


def wanted(request: ChatRequest) -> bool:
    """Whether a method is asked for."""
    return request.intact.method is not None or methods.split(request.model)[1] is not None


@asynccontextmanager
async def _placed(
    service: Service, request: ChatRequest, client: str
) -> AsyncIterator[tuple[Served, Undertaking, Callable[[Tell | None], Solving], Ticket]]:
    """A model, what is to be undertaken, and a place at the gate."""
    name, suffix, n = methods.split(request.model)
    own = request.intact
    heed(own, _OWN, "by a reasoning method")
    if own.method is not None and suffix is not None and own.method.replace("-", "_") != suffix:
        raise ApiError(400, f"the model's name says {suffix}, intact.method says {own.method!r:.60}", "intact.method")
    method, parameters, budget = methods.chosen(own, own.method or suffix or "", n)
    if own.receipt and budget.seconds is not None:
        raise ApiError(400, "nobody can repeat a budget in seconds, so that it has no receipt", "intact.budget")
    turns = conversation(request.messages)
    undertaking = Undertaking(
        method,
        parameters,
        budget,
        methods.as_problem(turns, own, request.seed or 0),
        _sampling(request, service.settings),
        own.receipt,
        time_of(own) or DEFAULT_NOW,
    )
    async with service.models.lease(name) as served:
        model = served.loaded
        prompt = await apart(lambda: _prompt(model.tokenizer, turns, model.context, undertaking.now), "messages")
        try:
            model.engine.check(prompt)
        except IntactError as error:
            raise as_api_error(error, (), "messages") from error
        texts = _texts(undertaking)
        tokens = len(prompt) + min(budget.tokens or 0, texts * FORESEEN)
        named = {"gen_ai__workflow__name": method.name, "gen_ai__request__seed": request.seed or 0}
        with tracing.operation("invoke_workflow", served.name, served.fingerprint, **named):
            async with served.gate.enter(client, tokens, texts, own.priority) as ticket:

                def work(tell: Tell | None) -> Solving:
                    return Solving(undertaking, model, tell)

                yield served, undertaking, work, ticket


def _prompt(tokenizer: Tokenizer, turns: Sequence[dict[str, Any]], context: int, now: datetime) -> list[int]:
    """What a method's texts go on from: roles and contents.

    Raises
    ------
    ApiError
        400, if the model's template shows more of the conversation, such as calls of tools.
    """
    said = [{name: turn[name] for name in ("role", "content")} for turn in turns]
    more = [f"messages[{i}].{name}" for i, turn in enumerate(turns) for name in turn if name not in said[i]]
    prompt = Conversation(said, now=now).encode(tokenizer, context)
    if more and Conversation(turns, now=now).encode(tokenizer, context) != prompt:
        raise ApiError(400, f"{more[0]} cannot be combined with a reasoning method", more[0], "unsupported")
    return prompt


def _texts(undertaking: Undertaking) -> int:
    """Texts that a method is likely to write side by side."""
    defaults = {parameter.name: parameter.default for parameter in undertaking.method.parameters}
    n = undertaking.parameters.get("n", defaults.get("n", 1))
    return max(1, min(n if isinstance(n, int) else 1, 64))


def _sampling(request: ChatRequest, settings: Settings) -> dict[str, Any]:
    """What a request wishes of sampling; what a method cannot heed is refused.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    for name in sorted(request.model_fields_set - _TAKEN - _IDLE - set(_SAMPLING)):
        value = getattr(request, name)
        if value not in (None, False, [], {}, *_SAYS_NOTHING.get(name, ())):
            raise ApiError(400, f"{name} cannot be combined with a reasoning method", name, "unsupported")
    given = {name: value for name in _SAMPLING if (value := getattr(request, name)) is not None}
    if (limit := limit_of(request, settings)) is not None:
        given["max_tokens"] = limit
    try:
        SamplingParameters(**given, seed=request.seed or 0)
    except IntactError as error:
        raise as_api_error(error, [*_SAMPLING, "max_tokens", "seed"]) from error
    return given


def _finish(result: Result) -> str:
    return "length" if result.why == "spent" else "stop"


def _text(result: Result) -> str:
    return result.answer.answer or "" if result.answer.chosen is None else result.answer.chosen.text


def _usage(result: Result) -> dict[str, int]:
    read, written = result.cost.prefill, result.cost.tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def answer(service: Service, request: ChatRequest, client: str) -> dict[str, Any]:
    """The answer, once it is there."""
    async with _placed(service, request, client) as (served, undertaking, work, ticket):
        async with service.methods.at_work(work(None)) as future:
            result = methods.checked(await future)
        ticket.used = _usage(result)["total_tokens"]
        message = {"role": "assistant", "content": _text(result), "refusal": None}
        first = head(served, "chat.completion", request.model)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(result)}
        if undertaking.receipt:
            service.receipts.add(client, first["id"], [result])
        return {
            **first,
            "choices": [choice | methods.receipt_of(result, undertaking)],
            "usage": _usage(result),
            "intact": methods.described(result, undertaking, request.intact.trace),
        }


async def chunks(service: Service, request: ChatRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in pieces: with `intact.progress` what happens meanwhile, then the text as a whole."""
    async with _placed(service, request, client) as (served, undertaking, work, ticket):
        first = head(served, "chat.completion.chunk", request.model)

        def told(value: dict[str, Any]) -> dict[str, Any]:
            return {**first, "choices": [], "intact": value}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return {**first, "choices": [choice]}

        method = undertaking.method
        if request.intact.progress:
            start = {"method": method.name, "paper": method.paper, "parameters": dict(undertaking.parameters)}
            root = "/".join(map(str, undertaking.problem.root))
            yield told({"event": "start", **start, "budget": undertaking.budget.as_dict(), "root": root})
        async with aclosing(methods.events(service.methods, work, request.intact.progress)) as happening:
            async for value in happening:
                if not isinstance(value, Result):
                    yield told(value)
                    continue
                ticket.used = _usage(value)["total_tokens"]
                yield chunk({"role": "assistant", "content": _text(value), "refusal": None})
                last = chunk({}, _finish(value))
                last["choices"][0] |= methods.receipt_of(value, undertaking)
                if undertaking.receipt:
                    service.receipts.add(client, first["id"], [value])
                yield last
                yield told({"event": "result", **methods.described(value, undertaking, request.intact.trace)})
                if request.stream_options and request.stream_options.include_usage:
                    yield {**first, "choices": [], "usage": _usage(value)}
