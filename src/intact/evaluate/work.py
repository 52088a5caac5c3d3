"""Process the units of a plan, and yield their records in order of completion."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.evaluate.judging import Judge, ready
from intact.evaluate.likelihood import Likelihoods, likeliest
from intact.evaluate.plan import Plan, Unit
from intact.evaluate.results import AnswerTurn, ItemRecord, ItemSample, SampleStep, line, was_cut
from intact.evaluate.samples import Leaf, rewards_of, texts_of, turns_of, verdicts_of
from intact.reason.backends.base import Backend
from intact.reason.driving.driver import PARALLEL
from intact.reason.driving.journal import JournalFolder
from intact.reason.driving.services import MethodJob
from intact.reason.problem import CUT, Result
from intact.receipts.document import AnyReceipt
from intact.solving.run import solve_all, takes_conversations
from intact.tasks.choose import Chosen
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.score.judging import noting


class Done(NamedTuple):
    """A unit with its record, its trace as a line of JSON, and its receipt or the reason why there is none."""

    unit: Unit
    record: ItemRecord
    trace: str
    receipt: AnyReceipt | str | None = None


@dataclass(frozen=True)
class How:
    """Options of the work that do not change the result.

    Attributes
    ----------
    journal : Path, JournalFolder or None
        A folder with journals of completions and verdicts.
    parallel : int
        Maximum number of concurrent problems.
    progress : callable or None
        Called at intervals with the number of tokens generated so far.
    receipt : bool
        If true, make a receipt for every unit.
    """

    journal: Path | JournalFolder | None = None
    parallel: int = PARALLEL
    progress: Callable[[int], None] | None = None
    receipt: bool = False


@dataclass
class _Pending:
    """A result whose answers are being judged; `before` holds the answers after each completion's earlier steps."""

    unit: Unit
    result: Result
    leaves: list[Leaf]
    chosen: int | None
    answers: list[str | None] = field(default_factory=list)
    verdicts: list[Future[bool | None]] = field(default_factory=list)
    before: list[list[str | None]] = field(default_factory=list)
    turns: list[list[tuple[str | None, Future[bool | None]]]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """If true, all verdicts are available."""
        return all(verdict.done() for verdict in self.verdicts) and all(
            verdict.done() for draft in self.turns for _, verdict in draft
        )


def work(backends: Mapping[str, Backend], plan: Plan, units: Sequence[Unit], how: How) -> Generator[Done, None, None]:
    """Process units in the order given, many concurrently, and yield each as soon as it is judged."""
    backend = next(iter(backends.values()))
    if how.receipt:
        check_receipts(plan.tasks)
    with Judge(how.journal) as judge:
        for task in dict.fromkeys(unit.task for unit in units):
            own = [unit for unit in units if unit.task == task]
            if isinstance(plan.tasks[task].task, LikelihoodTask):
                yield from _compare(backend, plan, own, how)
            else:
                yield from _solve(backends, plan, own, how, judge=judge)


def check_receipts(tasks: Iterable[Chosen]) -> None:
    """Raise ParameterError if one of the tasks does not support receipts."""
    _check_written(tasks, "which have no receipts")


def check_mix(tasks: Iterable[Chosen]) -> None:
    """Raise ParameterError if one of the tasks samples no tokens, so that there is nothing to mix."""
    _check_written(tasks, "which belong to a single model: it does not support a mix")


def _check_written(tasks: Iterable[Chosen], why: str) -> None:
    """Raise ParameterError if one of the tasks compares likelihoods."""
    for task in tasks:
        if isinstance(task.task, LikelihoodTask):
            raise ParameterError(f"{task.label} compares likelihoods, {why}")


def _solve(
    backends: Mapping[str, Backend], plan: Plan, units: Sequence[Unit], how: How, judge: Judge
) -> Iterator[Done]:
    converses = takes_conversations(next(iter(backends.values())))
    jobs = (MethodJob(plan.method, plan.problem(unit, converses), plan.parameters) for unit in units)
    solving = solve_all(
        backends,
        jobs,
        sampling=plan.task_sampling(units[0].task, converses),
        budget=plan.budget,
        journal=how.journal,
        parallel=how.parallel,
        progress=how.progress,
        receipt=how.receipt,
    )
    pending: list[_Pending] = []
    with closing(solving) as results:
        for number, result in results:
            pending.append(_judged(plan, units[number], result, judge))
            judge.keep()
            for one in [one for one in pending if one.done]:
                pending.remove(one)
                yield _done(plan, one)
    for one in pending:
        yield _done(plan, one)


def _compare(backend: Backend, plan: Plan, units: Sequence[Unit], how: How) -> Iterator[Done]:
    """Find the likeliest choice of each item."""
    with closing(Likelihoods(backend, how.journal)) as likelihoods:
        for unit in units:
            task, item = plan.tasks[unit.task].task, plan.item(unit)
            assert isinstance(task, LikelihoodTask)
            choices = item.data["choices"]
            found = likelihoods.of(task.context(item), choices)
            best, by_length = likeliest(found), likeliest(found, choices)
            samples = tuple(
                ItemSample(
                    f"{item.id}/{place}", str(place), str(place) == item.answer, one.tokens, logprob=one.nats, why=""
                )
                for place, one in enumerate(found)
            )
            cost = {"tokens": 0, "prefill": sum(one.read for one in found)}
            correct, measures = str(best) == item.answer, {"acc_norm": float(str(by_length) == item.answer)}
            answer = item.answer, str(best), correct, best, None, "done", "", measures, cost, samples
            tree = line({"task": unit.task, "id": item.id, "nodes": []})
            yield Done(unit, ItemRecord(unit.task, 0, item.id, *answer, False, cluster=item.cluster), tree)


def _judged(plan: Plan, unit: Unit, result: Result, judge: Judge) -> _Pending:
    """Start judging a result's answer and its samples.

    A sample whose answer could not be read because algebra timed out is undecided, and so is the result's answer. A
    method that failed has no answer: the one in its `Result` is a vote over its samples, which the method itself never
    gave.
    """
    chosen, item = plan.tasks[unit.task], plan.item(unit)
    task = chosen.task
    found, place = texts_of(result)
    answers: list[str | None] = []
    before: list[list[str | None]] = []
    unread: list[bool] = []
    for leaf in found:
        with noting() as timeouts:
            answers.append(chosen.read(item, leaf.answer_part, leaf.why in CUT))
            before.append([chosen.read(item, end.answer_part, True) for end in leaf.ends[:-1]])
        unread.append(bool(timeouts))

    def verdict(answer: str | None, timed_out: bool = False) -> Future[bool | None]:
        return ready(None) if timed_out else judge.ask(task, item, answer)

    failed = result.why == "failed"
    own = ready(False) if failed else verdict(result.answer.answer, any(unread))
    verdicts = [own, *map(verdict, answers, unread)]
    noted = [] if failed else turns_of(result.answer.details)
    turns = [[(answer, verdict(answer)) for answer in draft] for draft in noted]
    return _Pending(unit, result, found, place, answers=answers, verdicts=verdicts, before=before, turns=turns)


def _done(plan: Plan, one: _Pending) -> Done:
    task, item, result = plan.tasks[one.unit.task].task, plan.item(one.unit), one.result
    correct, *verdicts = [verdict.result() for verdict in one.verdicts]
    nodes = result.trace["nodes"]
    rewards = rewards_of(nodes)
    single = verdicts_of(nodes, result.method, result.answer.details)

    def steps_of(leaf: Leaf, answers: Sequence[str | None]) -> tuple[SampleStep, ...]:
        pairs = zip(leaf.ends, answers, strict=True) if len(leaf.ends) > 1 else ()
        return tuple([SampleStep(end.tokens, answer, rewards.get(end.branch, {})) for end, answer in pairs])

    samples = tuple(
        ItemSample(
            leaf.branch,
            answer,
            verdict,
            leaf.tokens,
            logprob=leaf.logprob,
            why=leaf.why,
            measures=task.measure(item, leaf.answer_part or ""),
            cut=was_cut(leaf.why, leaf.other_prompt),
            other_prompt=leaf.other_prompt,
            rewards=rewards.get(leaf.branch, {}),
            verdicts=tuple(single.get(leaf.branch, ())),
            steps=steps_of(leaf, [*before, answer]),
        )
        for leaf, answer, verdict, before in zip(one.leaves, one.answers, verdicts, one.before, strict=True)
    )
    turns = tuple(tuple(AnswerTurn(answer, verdict.result()) for answer, verdict in draft) for draft in one.turns)
    failed, chosen = result.why == "failed", one.chosen
    answer, confidence = (None, None) if failed else (result.answer.answer, result.answer.confidence)
    seed = plan.seeds[one.unit.seed]
    measures = task.measure(item, "") if chosen is None else samples[chosen].measures  # an empty text has no answer
    record = ItemRecord(
        one.unit.task, seed, item.id, item.answer, answer=answer, correct=correct, chosen=chosen, confidence=confidence,
        why=result.why, error=result.error, measures=measures, cost=dict(result.trace["cost"]), samples=samples,
        independent=plan.method.independent, turns=turns, cluster=item.cluster,
    )  # fmt: skip
    receipt = result.receipt or result.error or " ".join(result.caveats) or None
    return Done(one.unit, record, line({"task": one.unit.task, **result.trace}), receipt)
