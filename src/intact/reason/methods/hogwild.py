"""Hogwild: several workers write one solution at the same time, and each sees the others' steps as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Final, TypeAlias

from intact.engine.shared_cache.request import SharedText
from intact.engine.shared_cache.rules import (
    DOUBT,
    FINISH,
    GOES_ON,
    LAYOUTS,
    NAMES,
    OTHERS,
    OWN,
    PAST,
    heading,
    introduction,
    is_over,
)
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled, Natural, TextLength, one_of, within
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.problem import Piece, Why
from intact.reason.requests import WriteTogether

CACHES: Final = ("text", "shared")
Workers: TypeAlias = Annotated[int, partial(within, 1, len(NAMES))]
Layout: TypeAlias = Annotated[str, partial(one_of, LAYOUTS)]
Cache: TypeAlias = Annotated[str, partial(one_of, CACHES)]

RULES: Final = """\
{team} solve a problem together and write at the same time. You are one of them: write your own step, a short \
paragraph. You see all finished steps, and what the others are writing now, which may go on where it says <...>

Share the work: say what you take on, use and check what the others find. If somebody does what you are doing, say so \
and do something else. Whoever is sure of the result writes it in \\boxed{}, which ends the work.

Problem: {question}"""


@dataclass(eq=False)
class _Worker:
    """A worker: its latest state, its steps, and the context it saw before its current step."""

    name: str
    state: State
    left: int
    finished: tuple[Piece, ...] = ()
    step: tuple[Piece, ...] = ()
    number: int = 0
    seen: tuple[Piece, ...] | None = None
    through: bool = False

    @property
    def prefix(self) -> str:
        """The heading before the worker's current step."""
        return heading(self.name, self.number)

    @property
    def written(self) -> str:
        """The text of the worker's current step, without the heading."""
        return "".join([piece.text for piece in self.step[1:]])

    def begin(self, text: str) -> None:
        """Begin the next step with text after the heading."""
        self.number, self.seen = self.number + 1, None
        self.step = (Piece(self.prefix + text, special=False),)


@cache
def _label(text: str) -> Piece:
    """Wrap text that no worker wrote in a piece."""
    return Piece(text, special=False)


def _grown(step: tuple[Piece, ...], new: Sequence[Piece]) -> tuple[Piece, ...]:
    """Append newly written pieces to a step; sampled tokens stay tokens, and become context that other workers read."""
    for piece in new:
        last = step[-1]
        if last.tokens and piece.tokens:
            both = last.text + piece.text, last.tokens + piece.tokens, last.logprobs + piece.logprobs
            step = (*step[:-1], Piece(*both, special=False))
        elif piece.tokens or piece.text:
            step = (*step, Piece(piece.text, piece.tokens, piece.logprobs, special=False))
    return step


def view(history: Sequence[Piece], workers: Sequence[_Worker], own: _Worker, layout: str) -> tuple[Piece, ...]:
    """Return the context before a worker's own step: finished steps and, in some layouts, the others' current steps."""
    if layout == "interleaved":
        return (_label(PAST), *history)
    if layout == "contiguous":
        whole = [piece for one in workers if one is not own for piece in (*one.finished, *one.step, _label(GOES_ON))]
        return (_label(OTHERS), *whole, _label(OWN), *own.finished)
    current = [piece for one in workers if one is not own for piece in (*one.step, _label(GOES_ON))]
    return (_label(PAST), *history, _label(OTHERS), *current, _label(OWN))


def _share(problem: Problem, request: WriteTogether) -> Steps:
    """Have workers write into one shared cache, and return the answer of the resulting text."""
    shared: SharedText = yield request
    why: Why = "budget" if shared.ended == "time" else "stop"
    branch, pieces = (*request.state.branch, 0), (Piece(shared.text, special=False),)
    text = replace(request.state, branch=branch, pieces=pieces, why=why)
    by = None if shared.by is None else NAMES[shared.by]
    finished = sum(1 for step in shared.steps if step.round)
    return take(problem, text, rounds=shared.rounds, steps=finished, by=by)


@method(
    "Rodionov et al. 2025, arXiv 2504.06261",
    version=2,
    group="plans, roles and layers of models",
    temperature=0.6,
    top_p=0.95,
)
def hogwild(
    problem: Problem,
    *,
    n: Workers = 2,
    tokens: TextLength = 512,
    burst: Count = 16,
    layout: Layout = "combined",
    cache: Cache = "text",
    doubt: Natural = 256,
    conclude: Count = 16,
    mark: Filled = "\\boxed{",
    delimiter: Filled = "\n\n",
    ends: str = ".?!…。؟।",
    rules: Filled = RULES,
    finish: str = FINISH,
) -> Steps:
    """Have several workers write one solution at the same time, each seeing what the others have just written.

    Parameters
    ----------
    n : int
        Number of workers, at most 8.
    tokens : int
        Maximum number of tokens per worker; the user's `max_tokens` takes precedence over the default.
    burst : int
        Number of tokens that all workers write in parallel before they see each other's text.
    layout : str
        Context of a worker: combined shows finished steps in order, then the other workers' current steps; interleaved
        shows only finished steps; contiguous shows all steps of each other worker, then the worker's own.
    cache : str
        Cache mode: text treats each worker's context as ordinary text and prefills the changed part again; with shared,
        workers write into one cache, whose keys and values are kept as computed, token by token (`burst` has no
        effect). shared needs a model that runs locally, and any step that contains `mark` ends the work.
    doubt : int
        Total number of tokens after which a worker that begins a step is asked whether its work is redundant; 0 for
        never.
    conclude : int
        Maximum number of tokens of the final answer if no worker has given one.
    mark : str
        String in a step that ends the work, if an answer can be read from the step.
    delimiter : str
        String that ends a step when it follows the end of a sentence.
    ends : str
        Characters that end a sentence; if empty, any delimiter ends a step.
    rules : str
        Prompt template for all workers, with {question} and {team}.
    finish : str
        Text appended before the final answer is requested, if no worker has given one.
    """
    names = NAMES[:n]
    team = names[0] if n == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    start = problem.ask(make_prompt(problem, rules, team=team))
    if cache == "shared":
        request = WriteTogether(
            start,
            n=n,
            tokens=tokens,
            layout=layout,
            doubt=doubt,
            conclude=conclude,
            mark=mark,
            delimiter=delimiter,
            ends=ends,
            finish=finish,
        )
        return (yield from _share(problem, request))
    workers = [_Worker(name, start, tokens) for name in names]
    for worker in workers:
        worker.begin(introduction(worker.name, worker is workers[0]))
    history, since, rounds, steps, text = list[Piece](), 0, 0, 0, start
    with until_spent() as spent:
        while live := [worker for worker in workers if not worker.through and worker.left]:
            rounds += 1
            texts = []
            for worker in live:
                seen = view(history, workers, worker, layout)
                if seen != worker.seen:  # otherwise its last text is continued
                    worker.state = State(start.prompt, worker.state.branch, (*seen, *worker.step))
                worker.seen = seen
                texts.append(worker.state)
            requests = [
                Extend(state, stop=(delimiter,), max_tokens=min(burst, worker.left))
                for state, worker in zip(texts, live, strict=True)
            ]
            for worker, before, state in zip(live, texts, (yield requests), strict=True):
                new = () if state.why == "error" else state.pieces[len(before.pieces) :]  # a failed text is not shown
                drawn = sum([len(piece.tokens) for piece in new])
                worker.state, worker.left, since = state, worker.left - drawn, since + drawn
                closed = state.why in ("end", "closed")  # an end token takes the worker to its next step
                idle = not (worker.written + "".join([piece.text for piece in new])).strip()
                if closed:
                    new = state.append(delimiter).pieces[len(before.pieces) :]
                worker.step = _grown(worker.step, new)
                worker.through = state.ended and (idle or not closed)
                written = worker.written
                if worker.through or not (closed or is_over(written, delimiter, ends)):
                    continue
                history, steps = [*history, *worker.step], steps + 1
                worker.finished += worker.step
                if mark in written and problem.read(written) is not None:
                    return take(problem, state, rounds=rounds, steps=steps, by=worker.name)
                doubted = 0 < doubt < since
                since = 0 if doubted else since
                worker.begin(DOUBT if doubted else "")
            text = live[0].state
        current = [piece for worker in workers for piece in (*worker.step, _label(GOES_ON))]
        end = Piece(finish, special=False)
        last = replace(start, pieces=(_label(PAST), *history, _label(OTHERS), *current, end))
        text = yield Extend(last, temperature=0.0, max_tokens=conclude)
    return or_spent(take(problem, text, rounds=rounds, steps=steps, by=None), spent)
