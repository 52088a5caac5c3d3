"""`/v1/chat/completions` with a reasoning method: the answer with votes and costs, and progress events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from intact._base.errors import (
    ConstraintError,
    FormatError,
    IntactError,
    NotInstalledError,
    ParameterError,
    SandboxError,
)
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.text_mix import TextMix
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Problem, Prompt, Result, path, without_infinities
from intact.reason.registry import Method
from intact.serve import methods, telemetry
from intact.serve.admission import Admission
from intact.serve.errors import ApiError, as_api_error
from intact.serve.generation import EXPECTED, FINISH
from intact.serve.mixes import method_mix
from intact.serve.models import Served
from intact.serve.replies import head
from intact.serve.requests import SHADOW, ChatRequest, CheckedChat, Extension, ResponseFormat
from intact.serve.service import CancellableWork, Service, in_thread, receipt_document, text_length
from intact.solving.receipts.record import RecordingBackend, recording_driver
from intact.tasks.score.answers import KINDS, READERS
from intact.tasks.score.available import check_method
from intact.text.template import DEFAULT_NOW
from intact.text.thinking import answer_part

REFUSED = {ParameterError.__name__, ConstraintError.__name__, FormatError.__name__}
"""Errors of a method that are caused by the request."""
TAIL = 400
"""Number of trailing characters of an unfinished completion in an event; finished ones are sent in full."""
UNREAD = 64
"""Number of events buffered for a slow reader before events about unfinished completions are dropped."""
INTERVAL = 0.2
"""Seconds between progress events for unfinished completions."""
_TAKEN = {"model", "messages", "stream", "stream_options", "intact", "seed", "max_tokens", "max_completion_tokens"}
_OWN = Extension.model_fields.keys() - {"regex", "grammar", "stop_below"}
_SAMPLING = tuple(name for name, one in DEFINITIONS.items() if one.methods and one.http == "body")
_OWN_SAMPLING = tuple(name for name, one in DEFINITIONS.items() if one.methods and one.http == "intact")
_NO_EFFECT = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prediction"}
_NO_EFFECT |= {"prompt_cache_retention", "verbosity", "modalities", "parallel_tool_calls"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "repetition_penalty": (1,),
    "typical_p": (1,),
    "response_format": (ResponseFormat(type="text"),),
    "tool_choice": ("none", "auto"),
}
"""Values of a field that are equivalent to leaving it out."""

Notify = Callable[[dict[str, Any]], None]


class ReplyText(NamedTuple):
    """The text of a reply.

    Attributes
    ----------
    why : str
        Stop reason, as in `State.why`; empty for an answer that no completion contains.
    unread : bool
        If true, there is no answer because none could be parsed from a completion.
    """

    text: str
    why: str = ""
    unread: bool = False


@dataclass(frozen=True)
class MethodRequest:
    """A method with everything it needs except a model."""

    method: Method
    parameters: Mapping[str, Any]
    budget: Budget
    problem: Problem
    sampling: Mapping[str, Any]
    own: Extension

    @property
    def texts(self) -> int:
        """The expected number of sequences that the method generates concurrently."""
        defaults = {parameter.name: parameter.default for parameter in self.method.parameters}
        n = self.parameters.get("n", defaults.get("n", 1))
        return max(1, min(n if isinstance(n, int) else 1, 64))

    def settings(self, backend: NativeBackend) -> dict[str, Any]:
        """Return the settings that an answer depends on, other than its question, in the form used by result files."""
        from intact.evaluate.manifest import run_settings  # imported only by servers that calibrate

        caps = self.budget
        if caps.tokens == methods.MOST_TOKENS:  # the server's own cap: an answer that it ends is "spent"
            caps = replace(caps, tokens=None)
        prompt = self.problem.prompt
        system = prompt[0][1] if not isinstance(prompt, str) and prompt and prompt[0][0] == "system" else None
        return run_settings(
            self.method, self.parameters, self.sampling, caps, backends={"main": backend}, system=system
        )

    def receipt(self, result: Result) -> dict[str, Any]:
        """Return the receipt field of a choice, if a receipt is requested."""
        return {"receipt": receipt_document(result)} if self.own.receipt else {}

    def reply_text(self, result: Result) -> ReplyText:
        """Return the reply's text: the chosen completion, or the answer; if none was parsed, the first finished one."""
        answer = result.answer
        if answer.chosen is not None:
            return ReplyText(answer.chosen.text, answer.chosen.why, unread=answer.answer is None)
        if answer.answer is not None:
            return ReplyText(answer.answer)
        from intact.evaluate.samples import leaves  # imported late to start faster

        texts = [leaf for leaf in leaves(result.trace["nodes"]) if not leaf.other_prompt]
        parts = [leaf.answer_part for leaf in texts]
        # the method accepted none of the answers that could be parsed
        if any(part is not None and self.problem.read(part) is not None for part in parts):
            return ReplyText("")
        ended = [leaf for leaf in texts if leaf.why in ("end", "closed")]
        return next((ReplyText(leaf.text, leaf.why, unread=True) for leaf in ended + texts), ReplyText("", unread=True))

    def describe(self, result: Result, reply: ReplyText) -> dict[str, Any]:
        """Return a result as the response's field `intact`, without seconds, which differ from run to run."""
        answer, caveats = result.answer, list(result.caveats)
        if reply.unread and self.own.answer in KINDS:
            what = f"no answer could be read as {KINDS[self.own.answer]}, so the message is a text as it is"
            caveats.append(f'{what}; "answer": "text" in the field intact takes whole texts as answers')
        value: dict[str, Any] = {
            "method": result.method,
            "parameters": dict(self.parameters),
            "budget": self.budget.as_dict(),
            "seed": self.problem.seed,
            "problem": result.id,
            "answer": answer.answer,
            "votes": dict(answer.votes),
            "confidence": answer.confidence,
            "details": without_infinities(dict(answer.details)),
            "chosen": None if answer.chosen is None else path(answer.chosen.branch),
            "why": result.why,
            "error": result.error,
            "cost": {name: value for name, value in result.cost.as_dict().items() if name != "seconds"},
            "caveats": caveats,
        }
        return value | ({"trace": dict(result.trace)} if self.own.trace else {})


def method_request(chat: CheckedChat, chosen: methods.MethodChoice) -> MethodRequest:
    """Validate a request that chooses a method.

    Raises
    ------
    ApiError
        400, naming the field; 501, if the server lacks something that the method needs.
    """
    request, own = chat.request, chat.request.intact
    method, parameters, budget = methods.validate_choice(own, chosen.method, chosen.n)
    if own.receipt and budget.seconds is not None:
        raise ApiError(
            400, "a budget in seconds is not reproducible, so the run cannot have a receipt", "intact.budget"
        )
    problem = _problem(chat.turns, own, request.seed or 0)
    try:
        check_method(method, parameters, untrusted=True)
    except (NotInstalledError, SandboxError) as error:
        raise ApiError(501, f"this server does not support that: {error}", "intact.method", "unavailable") from error
    return MethodRequest(method, parameters, budget, problem, sampling=_sampling(request, chat.limit), own=own)


def _problem(turns: Sequence[Mapping[str, Any]], own: Extension, seed: int) -> Problem:
    """Return a conversation as a problem; a single question gets the same name as with `intact solve`."""
    prompt: Prompt = tuple((turn["role"], turn["content"]) for turn in turns)
    alone = len(turns) == 1 and turns[0]["role"] == "user"
    text = turns[0]["content"] if alone else json.dumps(prompt)
    name = own.id or hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return Problem(name, prompt, READERS[own.answer], seed=seed)


def _sampling(request: ChatRequest, limit: int | None) -> dict[str, Any]:
    """Return the sampling parameters of a request; reject fields that have no effect on a method."""
    for name in sorted(request.model_fields_set - _TAKEN - _NO_EFFECT - set(_SAMPLING)):
        value = getattr(request, name)
        if value not in (None, False, [], {}, *_NEUTRAL.get(name, ())):
            raise ApiError(400, f"{name} cannot be combined with a reasoning method", name, "unsupported")
    given = {name: value for name in _SAMPLING if (value := getattr(request, name)) is not None}
    given |= {name: value for name in _OWN_SAMPLING if (value := getattr(request.intact, name)) is not None}
    if limit is not None:
        given["max_tokens"] = limit
    try:
        SamplingParameters(**given, seed=request.seed or 0)
    except IntactError as error:
        raise as_api_error(error, [*_SAMPLING, *_OWN_SAMPLING, "max_tokens", "seed"]) from error
    return given


class AnswerReader:
    """Reads the answers of completed texts while a method runs, so that clients can follow a vote.

    The method decides by its own rules, so its final votes may differ.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._texts: dict[str, str | None] = {path(problem.root): ""}

    def read(self, node: Mapping[str, Any]) -> str | None:
        """Return the answer in a text to the problem's own prompt that an entry of the trace completes, else None."""
        if node["kind"] != "extend":
            return None
        before = None if node.get("other_prompt") else self._texts.get(node["parent"])
        whole = None if before is None else before + node.get("appended", "") + node["text"]
        self._texts[node["branch"]] = whole
        if whole is None or node["why"] not in ("end", "closed"):
            return None
        part = answer_part(whole, node.get("thinking", ""))
        return None if part is None else self._problem.read(part)


class MethodWork(CancellableWork[Result]):
    """A method running in a thread.

    Parameters
    ----------
    backend : NativeBackend
        Not shared with any other work.
    notify : callable, optional
        Called with events while the method runs.
    """

    def __init__(self, request: MethodRequest, backend: NativeBackend, notify: Notify | None = None) -> None:
        super().__init__(f"method {request.method.name}")
        self._request, self._backend, self._notify = request, backend, notify
        self._notified, self._answers = time.monotonic(), AnswerReader(request.problem)

    def cancel(self) -> None:
        """Stop the work after the engine's current step."""
        super().cancel()
        self._backend.interrupted = True

    def run(self) -> Result:
        """Solve the problem."""
        request = self._request
        backends, scorer = {"main": self._backend}, methods.find_served_scorer
        options: dict[str, Any] = {"budget": request.budget, "sampling": request.sampling}
        options |= {"progress": self._progress, "watch": self._watch}
        if request.own.receipt:
            driver = recording_driver(backends, scorer=scorer, untrusted=True, **options)
        else:
            driver = Driver(backends, services=Services(scorer, untrusted=True), **options)
        with closing(driver.solve([MethodJob(request.method, request.problem, request.parameters)])) as results:
            try:
                return next(results)[1]
            except ParameterError as error:
                raise ApiError(400, f"{request.method.name} cannot start: {error}", "intact.method") from error

    def _progress(self, tokens: int) -> None:
        """Stop if cancelled; occasionally report unfinished completions. Called after each round."""
        self.check()
        now = time.monotonic()
        if self._notify is None or now - self._notified < INTERVAL:
            return
        self._notified = now
        texts: list[dict[str, Any]] = [
            {
                "branch": path(generation.branch),
                "tokens": count,
                "at": max(0, len(text) - TAIL),
                "text": text[-TAIL:],
            }
            for generation, count, text in self._backend.under_way()
        ]
        written = tokens + sum(text["tokens"] for text in texts)
        self._notify({"event": "writing", "tokens": written, "texts": texts})

    def _watch(self, event: str, node: Mapping[str, Any]) -> None:
        if self._notify is None:
            return
        if event == "begin":
            self._notify({"event": "begin", **node})
        else:  # the nodes of a called method had events of their own
            self._notify({"event": "node", "node": {name: value for name, value in node.items() if name != "nodes"}})
            if (answer := self._answers.read(node)) is not None:
                self._notify({"event": "answer", "branch": node["branch"], "answer": answer[:TAIL]})


def _checked(result: Result) -> Result:
    """Return a result if it is an answer.

    Raises
    ------
    ApiError
        If the method failed: 400 if the request is the cause, 501 if the server lacks a package.
    """
    cost = result.cost
    usage = {"gen_ai__usage__input_tokens": cost.prefill, "gen_ai__usage__output_tokens": cost.tokens}
    telemetry.current().note(**usage, intact__why=result.why)
    kind, _, message = result.error.partition(": ")
    if result.why == "failed":
        lacks = kind == NotInstalledError.__name__
        status = 501 if lacks else 400 if kind in REFUSED else 500
        code = "unavailable" if lacks else None
        raise ApiError(status, f"{result.method} failed: {message or kind}", "intact.method", code)
    return result


@asynccontextmanager
async def _admitted(
    service: Service, request: ChatRequest, client: str, chosen: methods.MethodChoice
) -> AsyncIterator[tuple[Served, MethodRequest, NativeBackend, Admission]]:
    """Validate a request, lease its model, and wait for admission."""
    chat = request.checked(service.settings, _OWN, "with a reasoning method")
    if not service.calibrations:
        request.intact.accept_only(Extension.model_fields.keys() - {"level"}, "on a server without --calibration")
    wanted, turns, mix = method_request(chat, chosen), chat.turns, method_mix(chat.mix, request.intact)
    async with service.models.lease(chosen.model) as leased:
        served, now = leased.mixing(chat.mix), chat.now or DEFAULT_NOW
        backend = (RecordingBackend if wanted.own.receipt else NativeBackend)(served.loaded, now, mix)
        read = partial(_prompt_tokens, backend, wanted.problem.prompt, turns)
        prompt = await in_thread(read, "messages", text_length(turns))
        reserved = prompt + min(wanted.budget.tokens or 0, wanted.texts * EXPECTED)
        if mix is not None and mix.shadow is not None:
            await in_thread(partial(_check_shadow, backend, mix, wanted.problem.prompt), SHADOW, text_length(turns))
            reserved *= 2
        named = {"gen_ai__workflow__name": wanted.method.name, "gen_ai__request__seed": wanted.problem.seed}
        with telemetry.operation("invoke_workflow", served.name, served.fingerprint, **named):
            async with served.admission.admit(client, reserved, wanted.texts, wanted.own.priority) as admission:
                yield served, wanted, backend, admission


def _prompt_tokens(backend: NativeBackend, prompt: Prompt, turns: Sequence[dict[str, Any]]) -> int:
    """Return the number of tokens in a prompt that consists only of roles and contents.

    Raises
    ------
    ApiError
        400, if the model's template also shows other parts of the conversation, such as tool calls.
    IntactError
        If the prompt does not fit.
    """
    tokens = backend.count(prompt)
    backend.model.engine.check(range(tokens))  # only the length matters
    more = [f"messages[{i}].{name}" for i, turn in enumerate(turns) for name in turn if name not in ("role", "content")]
    if more and backend.model.tokenizer.render_chat(turns, now=backend.now) != backend.render(prompt):
        raise ApiError(400, f"{more[0]} cannot be combined with a reasoning method", more[0], "unsupported")
    return tokens


def _check_shadow(backend: NativeBackend, mix: TextMix, prompt: Prompt) -> None:
    """Raise IntactError if the shadow of a prompt cannot be used."""
    backend.model.engine.check(range(backend.count(mix.shadow_of(prompt))))


def _message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "refusal": None}


async def _described(
    service: Service, wanted: MethodRequest, backend: NativeBackend, result: Result, reply: ReplyText
) -> dict[str, Any]:
    """Return the response's field `intact`, including what the server's calibration runs say about the answer."""
    value = wanted.describe(result, reply)
    if service.calibrations:
        from intact.evaluate.calibrated import calibrated

        value["calibrated"] = await in_thread(
            lambda: calibrated(
                service.calibrations, wanted.settings(backend), result, wanted.problem.read, level=wanted.own.level
            )
        )
    return value


def _choice(result: Result, reply: ReplyText, field: str, value: dict[str, Any]) -> dict[str, Any]:
    finish = "length" if result.why == "spent" else FINISH.get(reply.why, "stop")
    return {"index": 0, field: value, "logprobs": None, "finish_reason": finish}


def _usage(result: Result) -> dict[str, int]:
    read, written = result.cost.prefill, result.cost.tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def answer(service: Service, request: ChatRequest, client: str, chosen: methods.MethodChoice) -> dict[str, Any]:
    """Return the complete response."""
    async with _admitted(service, request, client, chosen) as (served, wanted, backend, admission):
        async with service.methods.running(MethodWork(wanted, backend)) as future:
            result = _checked(await future)
        first, usage = head("chat.completion", request.model, served.fingerprint, wanted.problem.seed), _usage(result)
        admission.used = usage["total_tokens"]
        if wanted.own.receipt:
            service.receipts.add(client, first["id"], [result])
        reply = await in_thread(lambda: wanted.reply_text(result))
        choice = _choice(result, reply, "message", _message(reply.text)) | wanted.receipt(result)
        own = await _described(service, wanted, backend, result, reply=reply)
        return {**first, "choices": [choice], "usage": usage, "intact": own}


async def chunks(
    service: Service, request: ChatRequest, client: str, chosen: methods.MethodChoice
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answer in chunks: `intact.progress` events while the method runs, then the whole completion."""
    async with _admitted(service, request, client, chosen) as (served, wanted, backend, admission):
        first = head("chat.completion.chunk", request.model, served.fingerprint, wanted.problem.seed)
        if wanted.own.progress:
            start = {"method": wanted.method.name, "paper": wanted.method.paper, "parameters": dict(wanted.parameters)}
            start |= {"budget": wanted.budget.as_dict(), "root": path(wanted.problem.root)}
            yield {**first, "choices": [], "intact": {"event": "start", **start}}
        async with aclosing(_events(service, wanted, backend)) as happening:
            async for value in happening:
                if not isinstance(value, Result):
                    yield {**first, "choices": [], "intact": value}
                    continue
                usage = _usage(value)
                admission.used = usage["total_tokens"]
                reply = await in_thread(partial(wanted.reply_text, value))
                text = _choice(value, reply, "delta", _message(reply.text)) | {"finish_reason": None}
                yield {**first, "choices": [text]}
                if wanted.own.receipt:
                    service.receipts.add(client, first["id"], [value])
                yield {**first, "choices": [_choice(value, reply, "delta", {}) | wanted.receipt(value)]}
                own = await _described(service, wanted, backend, value, reply=reply)
                yield {**first, "choices": [], "intact": {"event": "result", **own}}
                if request.usage_wanted:
                    yield {**first, "choices": [], "usage": usage}


async def _events(service: Service, wanted: MethodRequest, backend: NativeBackend) -> AsyncGenerator[Any, None]:
    """Yield the events of a method, if requested, and finally its result."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def notify(value: dict[str, Any]) -> None:
        if value["event"] != "writing" or queue.qsize() < UNREAD:
            loop.call_soon_threadsafe(queue.put_nowait, value)

    async with service.methods.running(MethodWork(wanted, backend, notify if wanted.own.progress else None)) as future:
        future.add_done_callback(lambda _: queue.put_nowait(None))
        while (value := await queue.get()) is not None:
            yield value
        yield _checked(future.result())
