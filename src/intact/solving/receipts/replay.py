"""Rerunning a method on the contents of its receipt: it must make the same requests and reach the same result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

from intact._base.errors import FormatError, ParameterError
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.library import Model
from intact.reason.backends.base import Generation, Written
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.text_mix import TextMix
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Root
from intact.reason.problem import Hidden, Piece, Prompt, Result, path
from intact.reason.requests import RunProgram
from intact.reason.scorer import Scorer
from intact.reason.tool import MethodTool, RecordedTool, ToolResult, ToolUse
from intact.reason.tools import TOOLS, find_tool
from intact.receipts.canonical import SIZE, HashName
from intact.receipts.decoding import Decoding
from intact.receipts.document import Header, Receipt, first_link, next_link
from intact.receipts.likeliest import PAIR, unpack
from intact.receipts.request import AnswerRequest
from intact.receipts.spreads import unpack as unpack_spreads
from intact.receipts.verify import partner_number
from intact.solving.receipts.claims import Claims, RequestedText
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import ScoreEntry, TextEntry, ToolEntry, call_digest, program_digest, shared_digest
from intact.solving.receipts.header import FIRST
from intact.solving.receipts.mixes import RunModel
from intact.solving.receipts.packages import method_of
from intact.solving.receipts.problems import problem_of
from intact.solving.receipts.sealed import LONGEST_RUN, SealedServices, entries_of, outcome_of
from intact.solving.receipts.verdict import DecidedError, RunVerdict, false
from intact.tasks.score.scorers import find_scorer
from intact.tasks.score.scorers.value import ValueScorer
from intact.text.template import DEFAULT_NOW
from intact.tools.sandbox import Outcome


class ReplayBackend(NativeBackend):
    """A back end that answers only from a receipt."""

    def __init__(self, model: Model, name: str, claims: Claims) -> None:
        header = claims.run.header
        (own,) = (one for one in header.models if one.name == name)
        mix = text_mix_of(own, model, header.hash)
        super().__init__(model, header.now or DEFAULT_NOW, mix, header.thinking)
        self._claims, self._name, self._own = claims, name, own

    def count(self, part: Prompt | Piece) -> int:
        """Count the tokens of a prompt or piece, provided that the chat template stays within its limits here."""
        try:
            return super().count(part)
        except FormatError as error:
            raise DecidedError(RunVerdict("unverifiable", "template", detail=str(error))) from error

    def start(self, generations: Sequence[Generation]) -> None:
        """Answer the requests immediately."""
        for generation in generations:
            generation.written = self.find(generation)
            self._ended.append(generation)
        if generations[0].heat is not None:
            self._judge_race(generations)

    def find(self, generation: Generation) -> Written:
        """Return a completion as recorded in the receipt."""
        claims, place = self._claims, path(generation.branch)
        claims.check()
        index = claims.unread.pop(place, None)
        if index is None:
            raise false("missing", None, f"the method requests the text {place:.80}, which has no entry")
        entry = claims.run.entries[index]
        assert isinstance(entry, TextEntry)
        if entry.branch != generation.branch:
            raise false(
                "request", index, f"its branch is {entry.branch!r:.80}; the method requests {generation.branch!r:.80}"
            )
        claims.constrained |= generation.parameters.constraint is not None
        self._check_header(generation, entry, index)
        self._check_requested(generation, entry, index)
        claims.texts[place] = entry
        claims.requested[index] = RequestedText(
            self._name,
            generation.branch,
            lambda: Receipt(self.header(generation), entry.output, entry.chain),
        )
        return self.written_of(generation, entry)

    def _check_header(self, generation: Generation, entry: TextEntry, index: int) -> None:
        """Raise DecidedError unless an entry's header matches the completion that the method requests."""
        if self.header(generation).digest != entry.header:
            place = path(generation.branch)
            raise false("request", index, f"the method asks for the text {place:.80} in another way")

    def header(self, generation: Generation) -> Header:
        """Return the header that the receipt of a completion must have."""
        parameters, run = generation.parameters, self._claims.run.header
        compiler = None if parameters.constraint is None else run.compiler
        prompt = tuple(self.tokens_of(generation.state))
        request = AnswerRequest(prompt, parameters, generation.branch, compiler, decoding=self._decoding(generation))
        return Header(self._own.digests, self._own.numerics, request, run.hash)

    def _decoding(self, generation: Generation) -> Decoding | None:
        """Return the mix from which a completion must have been sampled."""
        if self.mix is None or self._own.mix is None:
            return None
        try:
            mixing = self._mixing(self.mix, generation.state, self.tokens_of(generation.state))
        except FormatError as error:
            raise DecidedError(RunVerdict("unverifiable", "template", detail=str(error))) from error
        return self._own.mix.decoding(mixing)

    def written_of(self, generation: Generation, entry: TextEntry) -> Written:
        """Return a completion in the form that methods see."""
        output = entry.output
        written = self.to_written(generation.state, output.tokens, output.logprobs or (), output.finish)
        top = [] if output.top is None else unpack(output.top, len(output.tokens))
        hidden = None if entry.state is None else Hidden(self.identity, entry.state.hex())
        spread = () if output.spread is None else unpack_spreads(output.spread)
        return written._replace(top=self.likeliest(top), hidden=hidden, spread=spread)

    def _check_requested(self, generation: Generation, entry: TextEntry, index: int) -> None:
        """Raise DecidedError unless an entry contains exactly what was requested."""
        output = entry.output
        count, likeliest = len(output.tokens), generation.parameters.top_logprobs
        if len(output.top or b"") != PAIR * likeliest * count:
            raise false("likeliest", index, f"the method requests the {likeliest} likeliest tokens at each position")
        if (output.spread is not None) != generation.spread:
            raise false("spread", index, "the spread of the distributions is missing, or was not requested")
        if (entry.state is not None) != generation.hidden:
            raise false("hidden state", index, "the input of the head is missing, or was not requested", count - 1)
        if entry.state is not None:
            name = self._claims.run.header.hash
            before = entry.chain[SIZE * (count - 2) : SIZE * (count - 1)] if count > 1 else None
            before = before or first_link(name, entry.header)
            if next_link(name, before, output.tokens[-1], entry.state) != entry.chain[-SIZE:]:
                raise false("hidden state", index, "its chain does not end with its state", count - 1)
        if output.finish == "cancelled" and generation.heat is None:
            raise false("race", index, "it was cancelled, but is not part of a race", count)

    def _judge_race(self, generations: Sequence[Generation]) -> None:
        """Raise DecidedError unless the losers ended exactly where the last winner ended the race."""
        heat = generations[0].heat
        assert heat is not None
        outputs = [self._claims.texts[path(generation.branch)].output for generation in generations]
        for generation, output in zip(generations, outputs, strict=True):
            heat.counts[generation.runner] = len(output.tokens)
            heat.leave(generation.runner, output.finish == "stop")
        for generation, output in zip(generations, outputs, strict=True):
            count, limit = len(output.tokens), heat.limit
            late = limit is not None and count > limit
            if late or (output.finish == "cancelled" and count != limit):
                entries = self._claims.run.entries
                index = next(i for i, e in enumerate(entries) if getattr(e, "branch", None) == generation.branch)
                over = "no text has won the race" if limit is None else f"the race ended at {limit} tokens"
                raise false("race", index, f"it has {count} tokens, but {over}", count)

    def step(self) -> list[Generation]:
        """Return the generations that were answered."""
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, generations: Sequence[Generation]) -> None:
        """Do nothing: no generation is ever in progress."""


def text_mix_of(own: RunModel, model: Model, hash: HashName) -> TextMix | None:  # noqa: A002
    """Return the mix of a run's model in the form used by back ends.

    Raises
    ------
    LookupError
        If the mix, or a model that it needs, is not available.
    ParameterError
        If the mix does not take these parameters, shadow or partners.
    """
    if own.mix is None:
        return None
    chosen = own.mix.chosen
    numbers = [partner_number(model, partner, own.numerics, hash) for partner in own.mix.partners]
    return TextMix(chosen, own.mix.shadow, tuple(numbers))


class Replayer(SealedServices):
    """Services that have only the contents of a receipt."""

    fatal = (*SealedServices.fatal, DecidedError)

    def __init__(self, claims: Claims, first: NativeBackend) -> None:
        super().__init__(find_scorer)
        self._claims, self._first = claims, first

    def content(self, file: str) -> str:
        """Return the content of a file from the receipt."""
        for name, text in self._claims.run.header.files:
            if name == file:
                return text
        raise self._claims.end(false("missing", None, f"the method reads the file {file:.80}, which is missing"))

    def scorer(self, root: Root, name: str) -> Scorer:
        """Find a scorer; a value head must have been trained on exactly this model file."""
        self._claims.check()
        scorer = super().scorer(root, name)
        if isinstance(scorer, ValueScorer) and scorer.head.model != self._first.identity:
            detail = f"its value head was learnt on {scorer.head.model:.120}; here is {self._first.identity}"
            raise self._claims.end(DecidedError(RunVerdict("unverifiable", "model", detail=detail)))
        return scorer

    def known_outcome(self, request: RunProgram) -> Outcome | None:
        """Return the outcome of a program from the receipt."""
        if request.seconds > LONGEST_RUN:
            return None
        key = program_digest(self._claims.run.header.hash, request.code, request.stdin, request.seconds)
        entry = self._claims.ran.get(key)
        if entry is None:
            raise self._claims.end(false("missing", None, "the method runs a program that has no entry"))
        self._claims.programs[key] = request
        return Outcome(entry.stdout, "", entry.status, entry.ended, seconds=0.0)

    def known_shared(self, model: str, request: SharedRequest) -> SharedText:
        """Return the completion of workers from the receipt."""
        key = shared_digest(self._claims.run.header.hash, request.to_document())
        entry = self._claims.together.get(key)
        if entry is None:
            raise self._claims.end(false("missing", None, "the method requests a text by workers that has no entry"))
        self._claims.shared[key] = (model or self._claims.run.header.models[0].name, request)
        return entry.text

    def tool(self, name: str) -> MethodTool:
        """Find a tool of this package; for any other tool, the receipt has the results."""
        return find_tool(name) if name in TOOLS.own else RecordedTool(name)

    def known_result(self, call: ToolUse) -> ToolResult | None:
        """Return the result of a tool from the receipt."""
        if call.tool.replayable and call.values.get("seconds", 0) > LONGEST_RUN:
            return None
        key = call_digest(self._claims.run.header.hash, call.tool.name, call.values, call.place)
        entry = self._claims.used.get(key)
        if entry is None:
            raise self._claims.end(false("missing", None, "the method makes a tool call that has no entry"))
        self._claims.calls[key] = call
        return ToolResult(entry.text, entry.ended)


def run_again(driver: Driver, claims: Claims) -> Result:
    """Run a method on the recorded claims.

    Raises
    ------
    DecidedError
        If the method requests something else.
    Exception
        Any exception raised by `between`.
    """
    header = claims.run.header
    problem = problem_of(header, claims.data)
    problem = replace(problem, read=partial(claims.read, problem.read))
    ((_, result),) = driver.solve([MethodJob(method_of(header.method, header.package), problem, header.parameters)])
    if claims.ended is not None:
        raise claims.ended
    return result


def driver_of(
    models: Mapping[str, Model],
    claims: Claims,
    kind: type[ReplayBackend] = ReplayBackend,
) -> tuple[Driver, Replayer]:
    """Return the driver for a receipt's run, and its services.

    Raises
    ------
    ParameterError
        If the receipt's budget is invalid.
    """
    header = claims.run.header
    try:
        caps = Budget(**header.budget)
    except TypeError as error:
        raise ParameterError(f"its budget is invalid: {error}") from None
    if caps.seconds is not None:
        raise ParameterError("its budget is in seconds, which cannot be repeated exactly")
    sampling = {name: tuple(value) if isinstance(value, list) else value for name, value in header.sampling.items()}
    backends = {one.name: kind(models[one.name], one.name, claims) for one in header.models}
    services = Replayer(claims, next(iter(backends.values())))
    driver = Driver(backends, services=services, budget=caps, sampling=sampling, progress=lambda _: claims.check())
    return driver, services


def replay(models: Mapping[str, Model], run: RunReceipt, between: Callable[[], None] | None = None) -> Claims:
    """Run the method of a receipt on its entries, and compare the entries and the result with the outcome.

    `between` is called before each completion, score and reading of an answer; an exception raised in it ends the
    replay.

    Raises
    ------
    DecidedError
        If anything differs.
    IntactError
        If such a run is impossible.
    """
    claims = Claims(run, between)
    driver, services = driver_of(models, claims)
    result = run_again(driver, claims)
    if result.why == "failed":
        raise false("method", None, f"the method fails: {result.error}")
    _compare(run, claims, services, result)
    return claims


def _compare(run: RunReceipt, claims: Claims, services: Replayer, result: Result) -> None:
    """Compare the entries and the result with the replay's."""
    if claims.unread:
        where, index = min(claims.unread.items(), key=itemgetter(1))
        raise false("extra", index, f"the method never requests the text {where:.80}")
    entries = entries_of(result.trace, claims.texts, run.header.hash)
    for index, (claimed, own) in enumerate(zip(run.entries, entries, strict=False)):
        if isinstance(claimed, ToolEntry) and isinstance(own, ToolEntry):
            own = replace(own, version=claimed.version)  # compared later, when the tool is used again
        if claimed is not own and claimed.to_document() != own.to_document():  # as written: -0.0 is not 0.0
            if isinstance(claimed, ScoreEntry) and isinstance(own, ScoreEntry):
                raise false("score", index, f"{own.scorer} gives these texts different scores")
            raise false("order", index, "the method makes a different entry here")
    if len(run.entries) != len(entries):
        more = len(run.entries) > len(entries)
        what, detail = ("extra", "the method never asks for it") if more else ("missing", "the method asks for more")
        raise false(what, min(len(run.entries), len(entries)), detail)
    header = run.header
    named = set().union(*services.named.values())
    for place, one in enumerate(header.models):
        if one.name not in named and (place or one.name != FIRST):
            raise false("extra", None, f"it contains a model {one.name!r:.80}, but nothing uses this name")
    wrote = {requested.model for requested in claims.requested.values()}
    for one in header.models:
        if one.mix is not None and one.name not in wrote:
            raise false("extra", None, f"it contains a mix of the model {one.name!r:.80}, which generated no text")
    for name in claims.data.unread:
        raise false("extra", None, f"it contains {name!r:.80} of the problem's data, which nothing reads")
    if dict(header.files) != {name: text for files in services.files.values() for name, text in files.items()}:
        raise false("extra", None, "it contains a file that the method does not read")
    now = None if header.now is None else header.now.isoformat()
    if now != result.trace["now"]:
        raise false("time", None, f"its now is {now}, but the chat templates got {result.trace['now']}")
    thinking = None if header.thinking is None else str(header.thinking)
    if thinking != result.trace.get("thinking"):
        raise false("extra", None, f"it states thinking={thinking}, but the run has {result.trace.get('thinking')}")
    if (header.compiler is None) == claims.constrained or (header.sandbox is None) != (not claims.programs):
        raise false("extra", None, "it names a compiler or sandbox that it does not need, or lacks one that it needs")
    claimed_end, found = run.result, outcome_of(result)
    documented, made = claimed_end.to_document(), found.to_document()
    for name in made:
        if documented[name] != made[name] and name != "cost":
            claim, own = getattr(claimed_end, name), getattr(found, name)
            detail = f"its {name} is {claim!r:.80}; from the texts, the method gets {own!r:.80}"
            raise false("vote", None, detail)
    if documented["cost"] != made["cost"]:
        raise false("cost", None, "the cost of its texts is different")
