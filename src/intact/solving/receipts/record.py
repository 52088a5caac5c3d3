"""Making the receipts of runs: each completion gets an ordinary receipt, and the run's receipt is built from these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from threading import Event, Lock
from typing import Any

from intact._base.errors import ParameterError, ReceiptError
from intact.engine.completion import Completion, Job
from intact.engine.request import Mixing
from intact.engine.sampling import constraints
from intact.reason.backends.base import Backend, Generation
from intact.reason.backends.native import NativeBackend, Watcher
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Root, read_text
from intact.reason.problem import Result, path
from intact.reason.requests import RunProgram
from intact.reason.scorer import Scorer
from intact.reason.tool import MethodTool, ToolResult, ToolUse
from intact.receipts.document import Header, Output
from intact.receipts.identity import digests_of, numerics_of
from intact.receipts.likeliest import pack
from intact.receipts.make import ChainRecorder, header_of
from intact.receipts.spreads import pack as pack_spreads
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import RunEntry, TextEntry, call_digest, program_digest
from intact.solving.receipts.header import FIRST, RunHeader
from intact.solving.receipts.mixes import RunMix, RunModel
from intact.solving.receipts.packages import package_of
from intact.solving.receipts.problems import NotingData, reader_of, replayable
from intact.solving.receipts.programs import here
from intact.solving.receipts.prompts import needed_prompt
from intact.solving.receipts.sealed import SealedServices, entries_of, outcome_of, source
from intact.solving.receipts.values import unbounded, unwritten
from intact.tasks.score.judging import noting
from intact.tools.sandbox import Outcome


class TextRecorder(ChainRecorder):
    """A recorder that keeps a chain for each sample of a request, however the sample ends."""

    def receipt(self, sample: int, completion: Completion) -> None:
        """Do nothing: single completions get no receipt of their own."""

    def head(self, sample: int) -> bytes | None:
        """Return the input of the head before the sample's newest token."""
        chain = self.chains.get(sample)
        return None if chain is None else chain.head


class RecordingBackend(NativeBackend):
    """A back end for intact's engine that keeps an entry for each completion."""

    @cached_property
    def entries(self) -> dict[Generation, TextEntry]:
        """The entries of finished completions that have not been collected."""
        return {}

    @cached_property
    def run_mix(self) -> RunMix | None:
        """The mix in the form used by receipts."""
        return None if self.mix is None else RunMix.of(self.mix, self.model)

    def _recorder(self, group: Sequence[Generation], prompt: tuple[int, ...], mixing: Mixing | None) -> TextRecorder:
        decoding = None if self.run_mix is None or mixing is None else self.run_mix.decoding(mixing)

        def header(sample: int) -> Header:
            generation = group[sample]
            return header_of(self.model, prompt, generation.parameters, generation.branch, decoding=decoding)

        return TextRecorder(header)

    def _finish(self, generation: Generation, job: Job, sample: int, recorder: Watcher | None) -> None:
        assert isinstance(recorder, TextRecorder)
        completion, chain = job.completion(sample, True), recorder.chains.get(sample)
        if chain is not None and completion.finish != "error":
            top = None if completion.top is None else pack(completion.top)
            spread = pack_spreads(job.writer(sample).spreads) if generation.spread else None
            output = Output(
                completion.tokens, completion.finish, completion.text, tuple(chain.logprobs), top=top, spread=spread
            )
            state = chain.head if generation.hidden else None
            branch, header = generation.branch, chain.header.digest
            self.entries[generation] = TextEntry(branch, header, output, chain.links, state=state)
        super()._finish(generation, job, sample, recorder)


class NotingReader:
    """A wrapper around an answer reader that records expressions on which computer algebra reaches a limit.

    Attributes
    ----------
    abandoned : list of str
        The recorded expressions.
    """

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self.read = read
        self.abandoned: list[str] = []

    def __call__(self, text: str) -> str | None:
        """Return the answer in a completion."""
        with noting() as abandoned:
            answer = self.read(text)
        self.abandoned += abandoned
        return answer


def recording_driver(
    backends: Mapping[str, Backend],
    *,
    scorer: Callable[[str], Scorer],
    untrusted: bool = False,
    tools: Mapping[str, MethodTool] | None = None,
    budget: Budget | None = None,
    sampling: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    **options: Any,
) -> Driver:
    """Return a driver whose results have receipts.

    Parameters
    ----------
    backends : mapping of str to Backend
        The models by name, which must run on this machine.
    scorer, untrusted, tools
        As for `Services`.
    budget, sampling, seconds, **options
        As for `Driver`; caps in seconds are not allowed.

    Raises
    ------
    ParameterError
        If receipts cannot be made for these runs; the message names the reason.
    """
    writers: dict[str, RecordingBackend] = {}
    for name, backend in backends.items():
        if not isinstance(backend, NativeBackend):
            raise ParameterError(f"a run with a receipt needs local models, but {name!r:.80} is an endpoint")
        if not isinstance(backend, RecordingBackend):
            backend = RecordingBackend(backend.model, backend.now, backend.mix, backend.thinking)
        writers[name] = backend
    if seconds is not None or (budget is not None and budget.seconds is not None):
        raise ParameterError(
            "a run with a receipt cannot have a budget in seconds, because it could not be repeated exactly"
        )
    recorder = RunRecorder(writers, budget or Budget(), sampling or {}, scorer, untrusted=untrusted, tools=tools)
    return Driver(writers, services=recorder, budget=budget, sampling=sampling, **options)


class RunRecorder(SealedServices):
    """Services that record everything generated, read and run, and make receipts from it.

    Parameters
    ----------
    writers : mapping of str to RecordingBackend
        The models by name.
    budget, sampling
        The driver's budget and sampling parameters, which receipts contain.
    scorer, untrusted, tools
        As for `Services`.
    """

    def __init__(
        self,
        writers: Mapping[str, RecordingBackend],
        budget: Budget,
        sampling: Mapping[str, Any],
        scorer: Callable[[str], Scorer],
        *,
        untrusted: bool = False,
        tools: Mapping[str, MethodTool] | None = None,
    ) -> None:
        super().__init__(scorer, untrusted=untrusted, tools=tools)
        self._writers, self._budget, self._sampling = writers, budget, sampling
        self._texts: dict[Root, dict[str, TextEntry]] = defaultdict(dict)
        self._wrote: dict[Root, set[RecordingBackend]] = defaultdict(set)
        self._constrained: set[Root] = set()
        self._contents: dict[str, str] = {}
        self._outcomes: dict[bytes, Outcome] = {}
        self._results: dict[bytes, ToolResult] = {}
        self._locks: dict[bytes, Lock] = {}

    def begin_texts(self, root: Root, generations: Sequence[Generation]) -> None:
        """Record whether any completion of a problem is constrained."""
        if any(generation.parameters.constraint is not None for generation in generations):
            self._constrained.add(root)

    def end_text(self, root: Root, backend: Backend, generation: Generation) -> None:
        """Store the entry of a completion with its problem."""
        assert isinstance(backend, RecordingBackend)
        entry = backend.entries.pop(generation, None)
        if entry is not None:
            self._texts[root][path(generation.branch)] = entry
            self._wrote[root].add(backend)

    def content(self, file: str) -> str:
        """Return the content of a file as it was first read."""
        if file not in self._contents:
            self._contents[file] = read_text(file)
        return self._contents[file]

    def run(self, request: RunProgram, stop: Event) -> Outcome:
        """Run a program, or return its earlier outcome if it has already been run."""
        key = program_digest("sha256", request.code, request.stdin, request.seconds)
        with self._locks.setdefault(key, Lock()):
            if key not in self._outcomes:
                self._outcomes[key] = super().run(request, stop)
            return self._outcomes[key]

    def use(self, call: ToolUse, stop: Event) -> ToolResult:
        """Call a tool, or return the earlier result of the same call."""
        key = call_digest("sha256", call.tool.name, call.values, call.place)
        with self._locks.setdefault(key, Lock()):
            if key not in self._results:
                self._results[key] = super().use(call, stop)
            return self._results[key]

    def admit(self, job: MethodJob) -> MethodJob:
        """Return the job, with a problem that records which of its data and answers are read."""
        package_of(job.method)
        if job.problem.branch:
            raise ParameterError("a run with a receipt needs a whole problem, not part of another problem")
        if job.problem.read_cut is not None:
            raise ParameterError("receipts do not support reading truncated texts differently (cut=stated)")
        wrong = unbounded(job.parameters)
        if wrong is not None:
            raise ParameterError(f"a receipt cannot represent the parameter {wrong} = {job.parameters[wrong]!r:.80}")
        data = _plain(job.problem.data)
        wrong = unwritten(data)
        if wrong is not None:
            raise ParameterError(f"a receipt cannot represent {wrong} of the problem's data: {data[wrong]!r:.80}")
        problem = replayable(replace(job.problem, data=data))
        return job._replace(problem=replace(problem, read=NotingReader(problem.read)))

    def finish(self, root: Root, job: MethodJob, result: Result) -> Result:
        """Return the result with a receipt, or with a caveat that explains why there is none."""
        if result.why == "failed":
            return result
        try:
            return replace(result, receipt=self._receipt(root, job, result))
        except ReceiptError as error:
            return replace(result, caveats=(*result.caveats, f"no receipt can be made of this run: {error}"))

    def _models(self, named: AbstractSet[str], wrote: AbstractSet[RecordingBackend]) -> tuple[RunModel, ...]:
        """Return the first model and the named ones; models that generated completions include their mixes."""
        (first, writer), *others = self._writers.items()
        called = sorted([one for one in others if one[0] in named], key=itemgetter(0))
        models = [(first if first in named else FIRST, writer), *called]
        return tuple(
            [
                RunModel(name, digests_of(one.model), numerics_of(one.model), one.run_mix if one in wrote else None)
                for name, one in models
            ]
        )

    def _receipt(self, root: Root, job: MethodJob, result: Result) -> RunReceipt:
        method, problem, parameters = job
        read, data = problem.read, problem.data
        assert isinstance(read, NotingReader)
        assert isinstance(data, NotingData)
        if read.abandoned:
            raise ReceiptError(f"algebra reached a limit on {read.abandoned[0]!r:.80}, which may not happen elsewhere")
        entries = entries_of(result.trace, self._texts.pop(root, {}), "sha256")
        reader = reader_of(replace(problem, read=read.read))
        ran = any(isinstance(entry, RunEntry) for entry in entries)
        header = RunHeader(
            self._models(self.named.pop(root, set()), self._wrote.pop(root, set())),
            method.name,
            source(),
            dict(parameters),
            id=problem.id,
            prompt=problem.prompt,
            seed=problem.seed,
            reader=reader,
            data=data.read,
            sampling=_plain(self._sampling),
            budget=self._budget.as_dict(),
            files=tuple(sorted(self.files.pop(root, {}).items())),
            compiler=constraints.compiler() if root in self._constrained else None,
            sandbox=here() if ran else None,
            now=root.now,
            thinking=root.thinking,
            package=package_of(method),
        )
        receipt = RunReceipt.make(header, entries, outcome_of(result))
        first = next(iter(self._writers))
        models = {one.name: self._writers[one.name or first].model for one in header.models}
        if (needed := needed_prompt(models, receipt)) != header.prompt:
            receipt = RunReceipt.make(replace(header, prompt=needed), entries, receipt.result)
        RunReceipt.parse(receipt.encode())  # a receipt must be readable
        return receipt


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in the form in which JSON reads them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
