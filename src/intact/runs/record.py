"""Making the receipt of a run: every text is written with an ordinary receipt, and the run's is made of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from intact.engine.job import Job, Recorder
from intact.errors import ParameterError
from intact.library import Model
from intact.reason.answer import Result
from intact.reason.backends.base import Generation
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driver import Task
from intact.reason.trace import path
from intact.receipts.document import Header
from intact.receipts.identity import digests_of, numerics_of
from intact.receipts.make import ChainRecorder, header_of
from intact.runs.document import RunHeader, RunReceipt, TextEntry
from intact.runs.sealed import SealedDriver, check_generations, entries_of, outcome_of, sealed_scorer, source_of
from intact.score.answers import read_answer


class RecordingBackend(NativeBackend):
    """Our engine, which keeps an entry for each text.

    Attributes
    ----------
    texts : dict of str to TextEntry
        By their places in the tree.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.texts: dict[str, TextEntry] = {}

    def start(self, generations: Sequence[Generation]) -> None:
        """Queue texts to extend, if a receipt can hold them."""
        check_generations(generations)
        super().start(generations)

    def _recorder(self, group: Sequence[Generation], prompt: tuple[int, ...]) -> Recorder:
        def header(sample: int) -> Header:
            generation = group[sample]
            return header_of(self.model, prompt, generation.parameters, generation.branch)

        return ChainRecorder(header, logprobs=True)

    def _finish(self, generation: Generation, job: Job, sample: int, recorder: Recorder | None) -> None:
        if recorder is not None:
            receipt = recorder.receipt(sample, job.completion(sample, True))
            if receipt is not None:
                branch = generation.branch
                entry = TextEntry(branch, receipt.header.digest, receipt.output, receipt.chain)
                self.texts[path(branch)] = entry
        super()._finish(generation, job, sample, recorder)


def solve_with_receipt(model: Model, task: Task, budget: Budget | None, sampling: Mapping[str, Any] | None) -> Result:
    """Work on a task; the result has a receipt.

    Raises
    ------
    ParameterError
        If no receipt can be made of this run: what of it a receipt cannot hold.
    """
    method, problem, parameters = task
    if problem.read is not read_answer or problem.data or problem.branch:
        raise ParameterError("a run with a receipt needs a question as a text: a verifier reads answers as those are")
    if budget is not None and budget.seconds is not None:
        raise ParameterError("a run with a receipt cannot have a budget in seconds: nobody can repeat it exactly")
    source, backend = source_of(method), RecordingBackend(model)
    driver = SealedDriver({"main": backend}, budget=budget, sampling=sampling, scorer=sealed_scorer)
    ((_, result),) = driver.solve([task])
    if result.why == "failed":
        return result
    header = RunHeader(
        digests_of(model),
        numerics_of(model),
        method.name,
        source,
        dict(parameters),
        problem.id,
        problem.prompt,
        problem.seed,
        {name: list(value) if isinstance(value, tuple) else value for name, value in (sampling or {}).items()},
        (budget or Budget()).as_dict(),
    )
    receipt = RunReceipt.make(header, entries_of(result.trace, backend.texts), outcome_of(result))
    receipt.encode()  # a receipt that could not be read is none
    return replace(result, receipt=receipt)
