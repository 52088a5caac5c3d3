"""Solve questions with methods: `intact.solve`, and the same for batches of problems."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.engine.sampling.definitions import flag
from intact.engine.sampling.parameters import SamplingParameters
from intact.library import Model, load
from intact.reason.backends.base import Backend, Rendering
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.openai_key import KEY, variables
from intact.reason.backends.text_mix import TextMix
from intact.reason.budget import Budget
from intact.reason.driving.driver import PARALLEL, Driver
from intact.reason.driving.journal import Journal, JournalFolder
from intact.reason.driving.services import MethodJob, Services, check_tools
from intact.reason.parts.prompting import with_system
from intact.reason.problem import Problem, Result, as_prompt
from intact.reason.registry import Method, find
from intact.reason.thinking import ThinkingMode
from intact.reason.tool import MethodTool
from intact.tasks.choose import Chosen
from intact.tasks.score.answers import read_answer as read_answer
from intact.tasks.score.available import check_data, check_method, check_parts, check_reader
from intact.tasks.score.scorers import find_scorer
from intact.tasks.task import Item, Style, Task
from intact.text.template import DEFAULT_NOW, read_time

Solver: TypeAlias = Model | Backend | str | os.PathLike[str]
JOURNAL = "journal.sqlite"


class Graded(NamedTuple):
    """An item of a task, its result, and its grade: None if undecided, false if the method failed."""

    item: Item
    result: Result
    correct: bool | None


def backend_of(
    model: Solver,
    continues: str = "no",
    key: str = KEY,
    now: datetime | str | None = None,
    mix: TextMix | None = None,
    thinking: ThinkingMode | None = None,
) -> Backend:
    """Return the back end for a model, a name, a path, or an endpoint such as ``http://127.0.0.1:8000/v1#qwen``.

    Parameters
    ----------
    continues : {'no', 'vllm', 'prefill'}
        The way in which an endpoint continues a partial answer (docs/backends.md).
    key : str
        Environment variable that contains an endpoint's key.
    now : datetime or str, optional
        The time passed to the chat template of a model that runs locally, such as "2026-11-20T17:45:00"; by default
        `intact.text.template.DEFAULT_NOW`. Endpoints apply their templates themselves.
    mix : TextMix, optional
        The mix from which completions are sampled, for a model that runs locally.
    thinking : ThinkingMode, optional
        The thinking mode of a model that runs locally: on, off, or a token limit.

    Raises
    ------
    ParameterError
        If `continues` is unknown; if the given back end was made with a different `now` or `thinking`; if a mix or
        `thinking` is requested for an endpoint; if a mix is requested for an existing back end; or if the model does
        not support this thinking mode.
    """
    if thinking is not None and is_address(model):
        raise ParameterError(f"thinking={thinking} needs a local model; endpoints apply their own chat templates")
    time = None if now is None else read_time(now)
    if mix is not None and (is_address(model) or not isinstance(model, str | os.PathLike | Model)):
        raise ParameterError(f"a mix needs a local model, got {model!r:.80}")
    if is_address(model):
        from intact.reason.backends.openai import OpenAIBackend
        from intact.reason.backends.openai_wire import as_continues

        url, _, name = model.partition("#")
        return OpenAIBackend(url, name, continues=as_continues(continues), key=key)
    if isinstance(model, str | os.PathLike):
        model = load(model)
    if isinstance(model, Model):
        return NativeBackend(model, time or DEFAULT_NOW, mix, thinking)
    if not hasattr(model, "caveats"):
        raise ParameterError(f"model must be a model, a name, a path, an address or a Backend, got {model!r:.60}")
    if time is not None and isinstance(model, Rendering) and model.now != time:
        raise ParameterError(f"now is {time.isoformat()}, but the back end was made with {model.now.isoformat()}")
    if thinking is not None and thinking != (own := getattr(model, "thinking", None)):
        raise ParameterError(f"thinking is {thinking}, but the back end was made with {own}")
    return model


def is_address(model: Any) -> TypeGuard[str]:
    """Return true if a model is specified as the address of an endpoint."""
    return isinstance(model, str) and model.startswith(("http://", "https://"))


def backends_of(
    model: Solver | Mapping[str, Solver],
    continues: str = "no",
    now: datetime | str | None = None,
    mix: TextMix | None = None,
    thinking: ThinkingMode | None = None,
) -> dict[str, Backend]:
    """Return back ends by name; a single model is named 'main'.

    A mix applies to the first model. Other parameters are as for `backend_of`. The key of an endpoint is sent only to
    its host (docs/backends.md).
    """
    several = _named(model)
    if not several:
        raise ParameterError("models is empty: give at least one")
    addresses = {name: one for name, one in several.items() if is_address(one)}
    keys = variables(addresses) if addresses else {}
    if continues != "no" and not keys:
        raise ParameterError(f"continues={continues!r} applies to endpoints given by their address, but none is given")
    made = {
        name: (
            backend_of(one, continues, keys[name], mix=own, thinking=thinking)
            if name in keys
            else backend_of(one, now=now, mix=own, thinking=thinking)
        )
        for (name, one), own in zip(several.items(), chain([mix], repeat(None)), strict=False)
    }
    if now is not None and not any(isinstance(one, Rendering) for one in made.values()):
        raise ParameterError("now needs a local model; endpoints apply their own chat templates")
    return made


def _named(model: Solver | Mapping[str, Solver]) -> Mapping[str, Solver]:
    return model if isinstance(model, Mapping) else {"main": model}


@contextmanager
def opened(
    model: Solver | Mapping[str, Solver],
    continues: str = "no",
    now: datetime | str | None = None,
    mix: TextMix | None = None,
    thinking: ThinkingMode | None = None,
) -> Iterator[dict[str, Backend]]:
    """Yield `backends_of` a model for a `with` block, and close the connections opened for it at the end."""
    backends = backends_of(model, continues, now, mix, thinking=thinking)
    try:
        yield backends
    finally:
        for name, given in _named(model).items():
            close = getattr(backends[name], "close", None)
            if close is not None and backends[name] is not given:
                close()


def as_problem(
    question: str,
    backend: Backend,
    read: Callable[[str], str | None] = read_answer,
    seed: int = 0,
    system: str | None = None,
) -> Problem:
    """Return a question as a problem named by a digest of its text.

    The problem is a conversation if the model accepts conversations.
    """
    name = hashlib.sha256(question.encode()).hexdigest()[:16]
    prompt = (("user", question),) if takes_conversations(backend) else question
    return with_system(Problem(name, prompt, read, seed=seed), system)


def check_system(system: str | None, backends: Iterable[Backend]) -> None:
    """Raise ParameterError if a system message is given that a model's chat template does not support."""
    if system is None:
        return
    if not system.strip():
        raise ParameterError("the system message is empty; leave it out")
    for backend in backends:
        tokenizer = getattr(backend, "tokenizer", None)  # an endpoint keeps its own
        if tokenizer is not None and (tokenizer.chat_template is None or not tokenizer.chat_template.takes_system):
            raise ParameterError("the model's chat template does not accept a system message; put it into the question")


def solve(
    model: Solver | Mapping[str, Solver],
    method: str | Method,
    question: str | Problem,
    *,
    seed: int = 0,
    budget: Budget | str | None = None,
    journal: str | os.PathLike[str] | None = None,
    receipt: bool = False,
    now: datetime | str | None = None,
    tools: Mapping[str, MethodTool] | None = None,
    mix: str | Mapping[str, Any] | None = None,
    shadow: str | None = None,
    system: str | None = None,
    thinking: str | int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    stop: str | Sequence[str] | None = None,
    stop_mean_below: float | None = None,
    stop_window: int | None = None,
    regex: str | None = None,
    grammar: str | None = None,
    **parameters: Any,
) -> Result:
    """Answer a question with a method.

    Parameters
    ----------
    model : Model, Backend, str, path, or a mapping of these
        A model, anything that `load` takes, or the address of an endpoint (docs/backends.md). If several are given by
        name, methods use the first unless they name a different one.
    method : str or Method
        A name (`intact methods` lists them), or ``file.py:name``.
    question : str or Problem
        Plain text, whose answer is read by `read_answer`, or a problem, which has its own reader.
    seed : int
        Seed of the random draws. A `Problem` has its own seed.
    budget : Budget or str, optional
        Hard caps, such as "tokens=20k".
    journal : path, optional
        Folder in which results are stored; stored results are not recomputed.
    receipt : bool
        If true, the result includes a receipt of the whole run (docs/spec/receipts.md).
    now : datetime or str, optional
        The time passed to chat templates that include the date, such as "2026-11-20T17:45:00"; by default
        2024-07-26T00:00:00, so the same question gets the same answer on any day.
    tools : mapping of str to MethodTool, optional
        Your own tools by name, such as those of an MCP server (docs/tools.md).
    mix : str or mapping, optional
        The mix from which all completions of the first model are sampled, as in `Model.generate`; its partners are the
        ones that the model was loaded with.
    shadow : str, optional
        The text that replaces the last message of each prompt in the mix's shadow stream, if the mix has one.
    system : str, optional
        The system message before a plain-text question.
    thinking : str or int, optional
        The thinking mode of models that run locally: "on", "off", or the maximum number of thinking tokens per
        completion (docs/reasoning.md, Thoughts). By default, chat templates decide. If the method has a parameter of
        this name, as budget_forcing does, the value goes to the method.
    max_tokens, temperature, top_p, top_k, min_p, stop, stop_mean_below, stop_window, regex, grammar : optional
        Sampling parameters, as in `Model.generate`; by default, the method's preferred values. If the method has a
        parameter of the same name, the value goes to the method.
    **parameters
        The method's own parameters (`intact methods` lists them). They are validated before any work is done.

    Returns
    -------
    Result
        The answer, with votes, cost and trace.

    Raises
    ------
    ParameterError
        If a parameter is invalid. Errors during the run are reported in the result.
    """
    if not isinstance(method, str | Method):
        hint = ": decorate the function with @method(PAPER)" if callable(method) else ""
        raise ParameterError(f"method must be a name or a Method, got {method!r:.60}{hint}")
    if not isinstance(question, str | Problem):
        raise ParameterError(f"question must be a string or a Problem, got {question!r:.60}")
    if isinstance(question, str) and not question.strip():
        raise ParameterError("the question is empty: give a string, or a Problem")
    SamplingParameters(seed=seed)
    if isinstance(question, Problem) and seed not in (0, question.seed):
        raise ParameterError(f"seed is {seed}, but the Problem has its own seed, {question.seed}: give only one")
    if isinstance(question, Problem):
        question = _checked_problem(question)
    flag("receipt", receipt)
    _folder(journal)
    check_tools(tools)
    found, caps = find(method) if isinstance(method, str) else method, _caps(budget)
    own = {parameter.name for parameter in found.parameters}
    numbers = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p}
    ends = {"stop": stop, "stop_mean_below": stop_mean_below, "stop_window": stop_window}
    texts = {"regex": regex, "grammar": grammar}
    sampling: dict[str, Any] = {name: value for name, value in (numbers | ends | texts).items() if value is not None}
    for name in parameters:
        if name not in own:
            names = [parameter.name for parameter in found.parameters] + [*numbers, *ends, *texts]
            raise ParameterError(unknown_name(f"{found.name} has no parameter {name!r:.60}", name, names, "it has"))
    parameters |= {name: sampling.pop(name) for name in own & sampling.keys()}
    if "thinking" in own and thinking is not None:
        parameters["thinking"], thinking = thinking, None
    check_method(found, parameters)
    found.check_sampling(sampling)
    if isinstance(question, Problem):
        check_reader(question.read)
    if system is not None and isinstance(question, Problem):
        raise ParameterError("system needs a question that is a string; a Problem has it in its prompt")
    mixed, mode = TextMix.of(mix, shadow), None if thinking is None else ThinkingMode.parse(str(thinking))
    with opened(model, now=now, mix=mixed, thinking=mode) as backends:
        check_system(system, backends.values())
        if isinstance(question, str):
            question = as_problem(question, next(iter(backends.values())), seed=seed, system=system)
        job = MethodJob(found, question, parameters)
        ((_, result),) = solve_all(
            backends, [job], sampling=sampling, budget=caps, journal=journal, receipt=receipt, tools=tools
        )
    return result


def solve_all(
    backends: Mapping[str, Backend],
    jobs: Iterable[MethodJob],
    *,
    sampling: Mapping[str, Any] | None = None,
    budget: Budget | str | None = None,
    journal: str | os.PathLike[str] | JournalFolder | None = None,
    seconds: float | None = None,
    parallel: int = PARALLEL,
    progress: Callable[[int], None] | None = None,
    receipt: bool = False,
    tools: Mapping[str, MethodTool] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Run many jobs concurrently, and yield the index and result of each as it finishes.

    Callers check methods and readers first (`check_method`, `check_reader`); here, an unsuitable method or reader gives
    a result with an error.

    Parameters
    ----------
    backends : mapping of str to Backend
        The back ends, as yielded by `opened`.
    budget : Budget or str, optional
        Budget per problem.
    seconds : float, optional
        Wall-clock limit for all jobs together.
    progress : callable, optional
        Called at intervals with the number of tokens generated so far.
    receipt : bool
        If true, results include receipts. Everything is then regenerated; the journal only speeds this up.
    tools : mapping of str to MethodTool, optional
        Your own tools by name.

    Raises
    ------
    ParameterError
        If a parameter is invalid, or a receipt cannot be made for the run.
    """
    caps = _caps(budget)
    place = _folder(journal)
    with nullcontext() if place is None else Journal.inside(place, JOURNAL) as kept:
        options: dict[str, Any] = {"journal": kept, "budget": caps, "sampling": sampling}
        options |= {"parallel": parallel, "seconds": seconds, "progress": progress}
        driver = (
            _recording(backends, options | {"tools": tools})
            if receipt
            else Driver(backends, services=Services(find_scorer, tools=tools), **options)
        )
        with closing(driver.solve(jobs)) as results:
            yield from results


def _folder(journal: str | os.PathLike[str] | JournalFolder | None) -> Path | JournalFolder | None:
    """Return the folder of a journal; raise ParameterError if it is not a folder."""
    if journal is not None and not isinstance(journal, str | os.PathLike) and not hasattr(journal, "open_journal"):
        raise ParameterError(f"journal must be a folder, got {journal!r:.60}")
    place = Path(journal) if isinstance(journal, str | os.PathLike) else journal
    if isinstance(place, Path) and place.exists() and not place.is_dir():
        raise ParameterError(f"{place} is a file; a journal is a folder")
    return place


def _checked_problem(problem: Problem) -> Problem:
    """Return a problem with normalised messages; raise ParameterError if its prompt or reader is invalid."""
    if not callable(problem.read):
        raise ParameterError(f"read of a Problem must be a function of a text, got {problem.read!r:.60}")
    try:
        prompt = as_prompt(problem.prompt)
        turns = () if isinstance(prompt, str) else prompt
        if not prompt or not all(isinstance(role, str) and isinstance(content, str) for role, content in turns):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        wanted = "a string, or messages such as {'role': 'user', 'content': 'Why?'}"
        raise ParameterError(f"prompt of a Problem must be {wanted}, got {problem.prompt!r:.60}") from None
    return problem if prompt == problem.prompt else replace(problem, prompt=prompt)


def _caps(budget: Budget | str | None) -> Budget | None:
    """Return a budget, parsing it if it is a string; raise ParameterError if it is neither."""
    if budget is not None and not isinstance(budget, str | Budget):
        raise ParameterError(f'budget must be a string such as "tokens=20k" or a Budget, got {budget!r:.60}')
    return Budget.parse(budget) if isinstance(budget, str) else budget


def _recording(backends: Mapping[str, Backend], options: dict[str, Any]) -> Driver:
    """Return a driver that makes receipts; the modules it needs are imported only here."""
    from intact.solving.receipts.record import recording_driver

    return recording_driver(backends, scorer=find_scorer, **options)


def solve_items(
    backends: Mapping[str, Backend],
    method: Method,
    task: Task | Chosen,
    items: Sequence[Item],
    parameters: Mapping[str, Any] | None = None,
    *,
    sampling: Mapping[str, Any] | None = None,
    seed: int = 0,
    style: Style | None = None,
    system: str | None = None,
    **options: Any,
) -> Generator[Graded, None, None]:
    """Answer items of a task with a method, and yield each item, graded, as it finishes.

    Parameters
    ----------
    backends : mapping of str to Backend
        The back ends, as yielded by `opened`.
    task : Task or Chosen
        A task, or the result of `intact.tasks.choose.choose` for a string such as "gsm8k:shots=2".
    style : {'chat', 'base'}, optional
        The prompt style; by default the chosen task's style, or else the one that the first back end's model accepts.
    system : str, optional
        The system message before each question.
    **options
        As in `solve_all`: budget (per problem), journal, seconds, parallel, progress, receipt, tools.
    """
    chosen = Chosen.of(task)
    task, style = chosen.task, style or chosen.style
    check_parts(task.uses)
    check_method(method, parameters or {})
    check_data(method, parameters or {}, [item.data for item in items])
    check_tokenizer([chosen], backends)
    if style is None:
        style = "chat" if takes_conversations(next(iter(backends.values()))) else "base"
    chat = style == "chat"
    check_system(system, backends.values())
    problems = [with_system(chosen.problem(item, style, seed), system) for item in items]
    jobs = [MethodJob(method, problem, parameters or {}) for problem in problems]
    with closing(solve_all(backends, jobs, sampling=task_sampling(task, chat, sampling), **options)) as results:
        for number, result in results:
            failed = result.why == "failed"  # its answer is a vote over the texts, which the method never gave
            yield Graded(items[number], result, not failed and task.grade(items[number], result.answer.answer))


def task_sampling(task: Task, chat: bool, sampling: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the user's sampling parameters, plus the task's stop strings if the prompt style is not chat."""
    return ({} if chat else {"stop": task.stops}) | dict(sampling or {})


def check_tokenizer(tasks: Iterable[Chosen], backends: Mapping[str, Backend]) -> list[str]:
    """Return the caveats about tasks' options for the first model's tokenizer.

    Raises
    ------
    ParameterError
        If an option cannot have any effect with this tokenizer.
    """
    tokenizer = getattr(next(iter(backends.values())), "tokenizer", None)  # an endpoint keeps its own
    return [caveat for chosen in tasks if (caveat := chosen.check_tokenizer(tokenizer))]


def takes_conversations(backend: Backend) -> bool:
    """Return true if a model accepts conversations."""
    tokenizer = getattr(backend, "tokenizer", None)  # an endpoint keeps its own
    return tokenizer is None or tokenizer.chat_template is not None
