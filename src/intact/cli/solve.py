"""``intact solve``: answer a question with a reasoning method."""

from __future__ import annotations

import json as encoder
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact.checkpoints.catalogue import DEFAULT, is_name
from intact.cli.cluster import ClusterOptions
from intact.cli.interruption import resumable
from intact.cli.loading import MixOptions, ModelOptions, PromptOptions
from intact.cli.model_option import ModelOrAddressOption
from intact.cli.options import Advanced, JsonOption, NOption, SetOption, check_output, with_method_sampling
from intact.cli.output import emit, printable, say, show, show_rows, spinner
from intact.cli.seeds import parse_seeds
from intact.cli.solve_task import SolveOptions, TaskOptions, TaskRun, run_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from intact.evaluate.calibrated import CalibrationRun
    from intact.evaluate.cluster.pool import Pool
    from intact.reason.problem import Result
    from intact.reason.registry import Method

EXAMPLES = """\
A vote of sixteen samples
  intact solve self_consistency "What is 17 * 23?" -n 16
With a budget
  intact solve best_of_n "What is 17 * 23?" -n 16 --budget tokens=4k,seconds=60
If it is killed, run it again: it resumes where it stopped
  intact solve self_consistency "What is 17 * 23?" -n 64 --journal runs/17x23
With the tree of texts
  intact solve particle_filter "What is 17 * 23?" --trace tree.json && intact trace show tree.json
With a receipt of the run, with which anyone who has the model can verify texts, scores and vote
  intact solve beam_search "What is 17 * 23?" --receipt run.receipt && intact verify run.receipt
A hundred problems with known answers
  intact solve self_consistency --task gsm8k --limit 100 -n 16 --budget tokens=200k --journal runs/gsm8k
On all machines of a Ray cluster
  intact solve self_consistency --task gsm8k -n 16 --journal runs/gsm8k --ray auto
With contrastive decoding, away from what a smaller model finds likely
  intact solve self_consistency "What is 17 * 23?" -n 16 -m large.gguf --mix contrastive --partner small.gguf
A question whose answer is prose
  intact solve best_of_n "Why is the sky blue?" -n 4 --answer text
With the accuracy of such answers in a graded run
  intact solve self_consistency "What is 17 * 23?" -n 16 --calibration gsm8k.jsonl
Your own method
  intact solve mine.py:majority "What is 17 * 23?" --set n=8
All methods
  intact methods
"""


MAIN = "main"
"""The name that methods may use for the first model."""


def complete_method(incomplete: str) -> list[str]:
    """Complete method names."""
    from intact.reason.registry import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


@with_method_sampling
def command(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="Method name, or FILE.py:NAME.", autocompletion=complete_method)
    ],
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION]",
            help="The question (- for standard input), unless --task is given.",
            show_default=False,
        ),
    ] = None,
    model: ModelOrAddressOption = DEFAULT,
    n: NOption = None,
    settings: SetOption = None,
    answer: Annotated[
        Literal["expression", "number", "text"] | None,
        typer.Option(
            "--answer",
            metavar="KIND",
            help="Answer in a completion: its last expression or number (expression, the default), number, or text.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Result of intact eval with the same settings: print how often such answers are right.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    *,
    task: TaskOptions,
    work: SolveOptions,
    cluster: ClusterOptions,
    models: ModelOptions,
    mixes: MixOptions,
    prompts: PromptOptions,
    sampling: dict[str, Any],
) -> None:
    """Answer a question or a task's problems with a reasoning method (sampling, votes, search) under a hard budget."""
    from intact.reason.budget import Budget
    from intact.reason.driving.services import MethodJob
    from intact.reason.registry import find
    from intact.receipts.document import write_receipts
    from intact.solving.run import as_problem, check_system, solve_all
    from intact.tasks.score.answers import KINDS, READERS
    from intact.tasks.score.available import check_method, check_reader

    if is_name(method) or method.endswith(".gguf"):
        raise ParameterError(f"{method} is a model, not a method: intact solve METHOD QUESTION --model {method}")
    chosen, caps = find(method), Budget.parse(work.budget or "")
    parameters = parse_settings(chosen, settings, n)
    if (question is None) == (task.task is None):
        missing = "QUESTION is missing: give one (-: from standard input), or a task (--task gsm8k)"
        raise ParameterError(
            missing if question is None else "give either a question or a task (--task gsm8k), not both"
        )
    if task.task is not None and answer is not None:
        raise ParameterError("--answer needs a single question: a task defines how its answers are read")
    seeds = parse_seeds(work.seed)
    if len(seeds) > 1 and (task.task is not None or work.trace is not None):
        where = (
            "a task is solved once; intact eval takes several" if task.task is not None else "--trace holds one tree"
        )
        raise ParameterError(f"--seed names {len(seeds)} seeds, but {where}: give only one")
    of_a_task = {"--split": task.split, "--limit": task.limit, "--parallel": task.parallel, "--ray": cluster.ray}
    if task.task is not None and calibration is not None:
        raise ParameterError("--calibration needs a single question: leave out --task or --calibration")
    if task.task is None and (of_tasks := [name for name, value in of_a_task.items() if value is not None]):
        raise ParameterError(f"{', '.join(of_tasks)} can only be used with --task")
    check_output("--receipt", work.receipt)
    check_output("--trace", work.trace)
    reader = answer or "expression"
    check_method(chosen, parameters)
    if task.task is None:
        check_reader(READERS[reader])
    chosen.check_sampling(sampling)
    prompts.mode()  # raises before the models are loaded
    mixes.check(models, ray=cluster.ray)
    cluster.check(models)
    if cluster.ray is not None and caps.seconds is not None:
        raise ParameterError("--budget seconds cannot be combined with --ray: cap tokens or operations instead")
    named = {MAIN: model} | models.named
    if task.task is not None:
        one_run = TaskRun(
            task,
            work,
            caps,
            model,
            source=method,
            method=chosen,
            parameters=parameters,
            sampling=sampling,
            seed=seeds[0],
            prompts=prompts,
        )
        run_task(
            lambda: models.opened(named, mixes, prompts),
            one_run,
            json,
            partial(_opened_pool, cluster, models, work.journal),
        )
        return
    text = sys.stdin.read() if question == "-" else str(question)
    if not text.strip():
        raise ParameterError("the question is missing")
    read = READERS[reader]
    run = None if calibration is None else _open_calibration(calibration)
    receipt = work.receipt is not None
    with resumable(work.journal), models.opened(named, mixes, prompts) as backends:
        first = next(iter(backends.values()))
        check_system(prompts.system, backends.values())
        problems = [as_problem(text, first, read, seed=seed, system=prompts.system) for seed in seeds]
        jobs = [MethodJob(chosen, problem, parameters) for problem in problems]
        own: dict[str, Any] = {}
        if run is not None:
            from intact.evaluate.manifest import run_settings

            own = run_settings(chosen, parameters, sampling, caps, backends=backends, system=prompts.system)
            if differences := run.differences(own):
                raise ParameterError(f"{calibration} is not a calibration for such answers: {'; '.join(differences)}")
        with spinner(f"{chosen.name} …"):
            solved = dict(
                solve_all(backends, jobs, sampling=sampling, budget=caps, journal=work.journal, receipt=receipt)
            )
    results, documents = [solved[number] for number in range(len(jobs))], list[dict[str, Any]]()
    for seed, result in zip(seeds, results, strict=True):
        calibrated = None if run is None else _calibrated(run, own, result, read)
        if json:
            stated = {"seed": seed} if len(seeds) > 1 else {}
            documents.append(stated | result.as_dict() | ({} if calibrated is None else {"calibrated": calibrated}))
            continue
        if len(seeds) > 1:
            show(f"seed {seed}", style="bold")
        show_result(result)
        unread = result.answer.answer is None and result.why == "done" and "tool proof" not in chosen.uses
        if unread and result.cost.tokens and reader in KINDS:
            words = f"no text ends in an answer that can be read as {KINDS[reader]}; --answer text takes texts whole"
            show(words, style="yellow")
        for words in () if calibrated is None else calibrated.get("words", calibrated.values()):
            show(printable(words, sys.stdout))
    if json:
        emit(documents if len(seeds) > 1 else documents[0])
    if work.receipt is not None and (receipts := [one.receipt for one in results if one.receipt is not None]):
        write_receipts(work.receipt, receipts)
    if work.trace is not None:
        tree = encoder.dumps(results[0].trace, ensure_ascii=False, allow_nan=False, indent=1)
        write_whole(work.trace, tree + "\n")
    for result in results:
        if result.why == "failed":
            raise ParameterError(f"{chosen.name} failed: {result.error}")
        if receipt and result.receipt is None:
            raise ParameterError(result.caveats[-1])


def _open_calibration(path: Path) -> CalibrationRun:
    """Read a graded run, importing its packages if one is given."""
    from intact.evaluate.calibrated import open_calibration

    return open_calibration(path)


def _calibrated(
    run: CalibrationRun, settings: dict[str, Any], result: Result, read: Callable[[str], str | None]
) -> dict[str, Any]:
    """Return what a calibration run says about an answer, or why it does not apply."""
    from intact.evaluate.calibrated import calibrated

    return calibrated([run], settings, result, read)


def _opened_pool(
    cluster: ClusterOptions, models: ModelOptions, journal: Path | None, backends: dict[str, Any]
) -> AbstractContextManager[Pool | None]:
    return cluster.opened(backends, models, journal)


def parse_settings(method: Method, settings: list[str] | None, n: int | None = None) -> dict[str, Any]:
    """Return the parameters of a method given by ``--set`` and ``-n``.

    Raises
    ------
    ParameterError
        If a setting is not NAME=VALUE, the parameter is unknown, or the value is invalid.
    """
    texts: list[tuple[str, str]] = []
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ParameterError(
                f"--set must be NAME=VALUE, got {name!r:.80}; intact methods {method.name} lists names"
            )
        texts.append((name, text))
    return method.parse(texts if n is None else [*texts, ("n", str(n))])


def show_result(result: Result) -> None:
    """Print an answer: text, votes, cost."""
    answer, cost = result.answer, result.cost
    whole = "" if answer.chosen is None else answer.chosen.text.strip()
    if whole:
        say(printable(whole, sys.stdout) + "\n\n")
    closeness = "" if answer.closeness is None else f", {answer.closeness}"
    confidence = "" if answer.confidence is None else f"  confidence {answer.confidence:.2f}"
    spent = "  (budget or context exhausted: the best answer so far)" if result.why == "spent" else ""
    repeats = answer.answer == whole and ("\n" in whole or len(whole) > 80)
    found = "the text above" if repeats else printable(str(answer.answer), sys.stdout)
    show("answer  ", (found, "bold green"), closeness, (confidence, "dim"), (spent, "magenta"))
    if len(answer.votes) > 1:
        votes = list(answer.votes.items())[:8]
        show_rows(((printable(name, sys.stdout), f"{weight:g}") for name, weight in votes), indented=True)
    details = [(name, value) for name, value in answer.details.items() if isinstance(value, str | int | float)]
    if details:
        stated = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in details)
        show(printable(", ".join(stated), sys.stdout), style="dim")
    figures = [f"{cost.tokens:,} tokens", f"{cost.sequential:,} one after the other", f"{cost.prefill:,} read"]
    figures += [f"{cost.scores:,} scores"] * bool(cost.scores) + [f"{cost.runs:,} programs"] * bool(cost.runs)
    figures.append(f"{cost.operations / 1e9:,.0f} G multiply-adds, {cost.seconds:.1f} s")
    show(", ".join(figures), style="dim")
    if result.error and result.why == "done":
        show(f"not all texts could be generated: {printable(result.error, sys.stdout)}", style="yellow")
    for caveat in result.caveats:
        show(caveat, style="yellow")
