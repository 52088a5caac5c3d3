"""Send the prompts in every situation of a plan, and compare the answers with references."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from intact._base.errors import EndpointError, SpentError
from intact.measure.meter.answers import EndpointAnswer, compare
from intact.measure.meter.apis.base import Setting
from intact.measure.meter.client import MeteredEndpoint, MeterExchange
from intact.measure.meter.conditions import Asker, Paired
from intact.measure.meter.journal import MeterJournal, MeterTrial
from intact.measure.meter.plan import MeterPlan, PlannedStep
from intact.measure.meter.questions import Questions
from intact.measure.meter.summary import decided

_EXCERPT = 80
"""Number of characters of a prompt to store."""


class MeterSettings(NamedTuple):
    """Prompts, lengths and limits of a run.

    Attributes
    ----------
    prompts
        The prompts to choose from.
    tokens
        Maximum number of tokens per answer.
    seed
        Seed for choosing prompts and other requests.
    wait
        Seconds to wait for the endpoint.
    stop_at
        If given, stop as soon as it is decided whether the share of changed answers is above or below this tolerance.
    """

    prompts: Sequence[str]
    tokens: int = 64
    seed: int = 0
    wait: float = 60.0
    stop_at: float | None = None


class MeterOutcome(NamedTuple):
    """The part of a run's result that is not in the journal.

    Attributes
    ----------
    unmeasured
        Steps that were not measured, with reasons.
    exchanges
        The references of this session, for comparison with a model.
    """

    unmeasured: list[tuple[str, str]]
    exchanges: list[MeterExchange]


async def measure(
    endpoint: MeteredEndpoint,
    plan: MeterPlan,
    journal: MeterJournal,
    settings: MeterSettings,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> MeterOutcome:
    """Measure the steps of a plan that the journal lacks.

    Parameters
    ----------
    endpoint : MeteredEndpoint
        Connected, with API and model found.
    progress : callable
        Called with the step's name, and the numbers of requests sent and planned.
    """
    done = [key for key, failure in journal.done.items() if not failure]
    chosen, left_out = plan.fit(endpoint.spending.caps.requests - endpoint.spending.requests, done)
    run = f"{secrets.token_hex(4)}-{journal.sessions}"
    asker = Asker(endpoint, Questions(run, settings.prompts, settings.tokens, settings.seed), settings.wait)
    total = endpoint.spending.requests + sum(step.condition.requests(plan.probes, step.setting) for step in chosen)
    session = _Session(asker, plan, journal, lambda what: progress(what, endpoint.spending.requests, total))
    ended = ""
    for (part, setting), steps in groupby(chosen, key=lambda step: (step.round, step.setting)):
        try:
            await session.open(part, setting)
            for step in steps:
                await session.take(step)
                if settings.stop_at is not None and decided(journal.trials, settings.stop_at):
                    raise SpentError(f"it is decided whether more than {settings.stop_at:g} of the answers change")
        except SpentError as error:
            ended = str(error)
            break
    missed = [(step.key, ended or "its reference failed") for step in chosen if step.key not in journal.done]
    unfit = [
        (step.key, f"needs {size} requests, more than --max-requests {endpoint.spending.caps.requests} leaves")
        for step, size in left_out
    ]
    failed = [(key, failure) for key, failure in journal.done.items() if failure]
    return MeterOutcome([*failed, *missed, *unfit], session.exchanges)


class _Session:
    """The state of a run: the references of the current round and setting."""

    def __init__(self, asker: Asker, plan: MeterPlan, journal: MeterJournal, progress: Callable[[str], None]) -> None:
        self._asker, self._plan, self._journal, self._progress = asker, plan, journal, progress
        self.exchanges: list[MeterExchange] = []
        self._references: list[EndpointAnswer] = []
        self._problem = ""

    async def open(self, part: int, setting: Setting) -> None:
        """Request the references, one at a time with no other requests."""
        self._probes = self._asker.questions.probes(part, self._plan.probes, setting)
        self._references, self._problem = [], ""
        for probe in self._probes:
            self._progress(f"{setting}, alone")
            try:
                exchange = await self._asker.endpoint.ask(probe)
            except EndpointError as error:
                self._problem = str(error)
                return
            self.exchanges.append(exchange)
            self._references.append(exchange.answers[0])

    async def take(self, step: PlannedStep) -> None:
        """Measure one step, and store its trials or the reason why it failed."""
        self._progress(f"{step.setting}, {step.condition.name}")
        failure = self._problem or step.condition.obstacle(self._asker.endpoint.api) or ""
        pairs: list[Paired] = []
        if not failure:
            try:
                pairs = await step.condition.ask(self._asker, self._probes)
            except* SpentError as group:
                raise _first(group) from None
            except* EndpointError as group:
                failure = str(_first(group))
        trials = [
            MeterTrial(
                step.key,
                step.condition.name,
                str(step.setting),
                step.condition.others,
                prompt=self._probes[pair.probe].user[:_EXCERPT],
                comparison=compare(pair.reference or self._references[pair.probe], pair.answer),
            )
            for pair in pairs
        ]
        self._journal.add(step.key, trials, self._asker.endpoint.spending, failure)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in nested exception groups."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
