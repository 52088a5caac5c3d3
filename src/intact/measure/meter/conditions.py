"""Situations in which a prompt is sent again: alone, under load, streamed, after a pause, after a restart."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from intact._base.errors import EndpointError
from intact._base.system import end_group
from intact.measure.meter.answers import EndpointAnswer
from intact.measure.meter.apis.base import Api, Question, Setting

if TYPE_CHECKING:
    from intact.measure.meter.client import MeteredEndpoint
    from intact.measure.meter.questions import Questions

RESTART_SECONDS = 120.0
"""Timeout of the command that restarts the endpoint."""


class Paired(NamedTuple):
    """An answer to a probe, and the answer that it must equal; None for the round's reference, requested alone."""

    probe: int
    answer: EndpointAnswer
    reference: EndpointAnswer | None = None


class Asker(NamedTuple):
    """The resources of a condition: the endpoint, the other requests, and the time to wait for the endpoint."""

    endpoint: MeteredEndpoint
    questions: Questions
    wait: float

    async def answer(self, question: Question) -> EndpointAnswer:
        """Return the single answer to a question."""
        return (await self.endpoint.ask(question)).answers[0]

    async def together(self, questions: Sequence[Question]) -> list[EndpointAnswer]:
        """Send questions concurrently; the first failure cancels the rest."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.answer(question)) for question in questions]
        return [task.result() for task in tasks]


class Condition(ABC):
    """One situation.

    Parameters
    ----------
    name : str
        A short name, unique among the conditions of a run.
    line : str
        Description for reports.
    others : int, optional
        Number of concurrent other requests; None if the condition does not concern load.
    """

    late: ClassVar[bool] = False
    """If true, it comes last in its round, because it changes the endpoint."""

    def __init__(self, name: str, line: str, others: int | None = None) -> None:
        self.name, self.line, self.others = name, line, others

    @abstractmethod
    def requests(self, probes: int, setting: Setting) -> int:
        """Return the number of requests, excluding retries."""

    def obstacle(self, api: Api) -> str | None:
        """Return the reason why an API does not support this condition, or None."""
        return None

    @abstractmethod
    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Send the probes in this situation."""


class Alone(Condition):
    """Send one after another, with no other requests."""

    def requests(self, probes: int, setting: Setting) -> int:
        """Return one per probe."""
        return probes

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Send one after another."""
        return [Paired(index, await asker.answer(probe)) for index, probe in enumerate(probes)]


class Again(Alone):
    """Send again."""

    def __init__(self) -> None:
        super().__init__("again", "alone again: the prompt is in the cache", 0)


class Streamed(Alone):
    """Request a stream of events."""

    def __init__(self) -> None:
        super().__init__("streamed", "alone, as a stream of events")

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Send one after another."""
        return await super().ask(asker, [probe._replace(stream=True) for probe in probes])


class Company(Condition):
    """Send among a number of other requests."""

    def __init__(self, size: int) -> None:
        super().__init__(f"among {size}", f"at the same time as {size} other requests", size)
        self._batch = size + 1

    def requests(self, probes: int, setting: Setting) -> int:
        """Return the number of requests in full batches: probes are load for each other, others fill the rest."""
        return -(-probes // self._batch) * self._batch

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Send batches of one request more than the size; other requests surround the probes."""
        found = []
        for start in range(0, len(probes), self._batch):
            some = probes[start : start + self._batch]
            fillers = asker.questions.company(self._batch - len(some), probes[0].setting)
            before = len(fillers) // 2
            answers = await asker.together([*fillers[:before], *some, *fillers[before:]])
            found += [Paired(start + i, answers[before + i]) for i in range(len(some))]
        return found


class LongPrompt(Condition):
    """Send while a long prompt is being processed."""

    def __init__(self) -> None:
        super().__init__("long prompt", "while the endpoint reads a long prompt of another request")

    def requests(self, probes: int, setting: Setting) -> int:
        """Return two per probe."""
        return 2 * probes

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Send each probe right after a long prompt."""
        found = []
        for index, probe in enumerate(probes):
            _, answer = await asker.together([asker.questions.long(probe.setting), probe])
            found.append(Paired(index, answer))
        return found


class Several(Condition):
    """Request several answers at once."""

    def __init__(self, n: int = 4) -> None:
        super().__init__(f"n={n}", f"{n} answers in one request (at temperature 0 all equal; else twice the same {n})")
        self._n = n

    def requests(self, probes: int, setting: Setting) -> int:
        """Return one per probe at temperature 0, else two."""
        return probes if setting.greedy else 2 * probes

    def obstacle(self, api: Api) -> str | None:
        """Report APIs that give one answer per request."""
        return None if api.several else f"the API {api.name} gives one answer per request"

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Compare greedy choices with the reference, and sampled ones with those of an earlier identical request."""
        found = []
        for index, probe in enumerate(probes):
            several = probe._replace(n=self._n)
            first = (await asker.endpoint.ask(several)).answers
            if len(first) != self._n:
                raise EndpointError(f"n={self._n} was requested, but {len(first)} answers came")
            if probe.setting.greedy:
                found += [Paired(index, answer) for answer in first]
            else:
                second = (await asker.endpoint.ask(several)).answers
                found += [Paired(index, *pair) for pair in zip(second, first, strict=False)]
        return found


class AfterPause(Alone):
    """Send again after a pause."""

    late = True

    def __init__(self, seconds: float) -> None:
        super().__init__(f"pause {seconds:g} s", f"alone, after {seconds:g} s without a request")
        self._seconds = seconds

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Wait, then send."""
        await asyncio.sleep(least(self._seconds, asker.endpoint.spending.left()))
        return await super().ask(asker, probes)


class AfterRestart(Alone):
    """Send again after the endpoint was restarted."""

    late = True

    def __init__(self, command: str) -> None:
        super().__init__("restart", "alone, after a restart of the endpoint")
        self._command = command

    async def ask(self, asker: Asker, probes: Sequence[Question]) -> list[Paired]:
        """Run the command, wait for the endpoint, then send."""
        spending = asker.endpoint.spending
        seconds = least(RESTART_SECONDS, spending.left())
        process = await asyncio.create_subprocess_shell(
            self._command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            status = await asyncio.wait_for(process.wait(), seconds)
        except BaseException as error:
            end_group(process.pid)
            if isinstance(error, TimeoutError):
                raise EndpointError(f"--restart has not ended within {seconds:.3g} s") from None
            raise
        if status:
            raise EndpointError(f"--restart ended with status {status}")
        await asker.endpoint.find(least(asker.wait, spending.left()))
        return await super().ask(asker, probes)


def least(seconds: float, left: float | None) -> float:
    """Return a duration, shortened to the time that is left; None is no limit."""
    return seconds if left is None else min(seconds, left)
