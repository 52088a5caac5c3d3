"""``intact learn``: learn from runs: methods for questions, settings for tasks, values of completions, and concepts."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact.cli import FAILED, fetch
from intact.cli.interruption import resumable
from intact.cli.loading import short_name
from intact.cli.model_option import ModelArgument, ModelOrAddressOption
from intact.cli.options import (
    TASK_HELP,
    Advanced,
    FixedNowOption,
    JsonOption,
    ProfileOption,
    ThreadsOption,
    check_output,
)
from intact.cli.output import bar, emit, note, show
from intact.cli.seeds import one_seed, seed_option
from intact.cli.task_names import task_name
from intact.text.template import DEFAULT_NOW, read_time

if TYPE_CHECKING:
    from intact.evaluate.concepts import WrittenMemory
    from intact.evaluate.sweep.guess import GuessWorth
    from intact.evaluate.values import GradedTexts
    from intact.reason.parts.choice import PolicyOutcome
    from intact.tasks.score.value.prefixes import PrefixTable

METHODS_EXAMPLES = """\
Run some methods on one task, including a vote of four samples
  intact solve self_consistency --task gsm8k -n 4 --journal runs/sc4
  intact solve self_consistency --task gsm8k -n 16 --journal runs/sc16
  intact solve best_of_n --task gsm8k -n 16 --journal runs/bon16
Learn which is best for which agreement of the four, within 4000 tokens per question
  intact learn methods runs/*/answers.jsonl --tokens 4000 --to methods.json
Use what was learnt
  intact solve compute_optimal "What is 17 * 23?" --set table=methods.json
"""

VALUE_EXAMPLES = """\
Learn from texts of a task's problems, reusing those that earlier runs left in the journal
  intact learn value -m qwen2.5-coder-0.5b-instruct --task gsm8k --limit 100 -n 4 --journal runs/gsm8k --to value.json
Use what was learnt
  intact solve best_of_n "What is 17 * 23?" -m qwen2.5-coder-0.5b-instruct --set scorer=value:value.json
"""

SETTINGS_EXAMPLES = """\
Guess settings for another task from finished sweeps
  intact learn settings sweeps/*/sweep.json --task svamp --to guess.json
The same for a model of 1.5 billion parameters whose vote of 16 solves 60% of the problems
  intact learn settings sweeps/*/sweep.json --task svamp --size 1.5b --accuracy 0.6 --to guess.json
From result files; each task and model needs one with the baseline
  intact learn settings runs/*.jsonl --baseline chain_of_thought:temperature=0 --to guess.json
Include these settings in a sweep
  intact sweep svamp --guess guess.json --tokens 2m --out sweeps/svamp
"""

PREFIXES_EXAMPLES = """\
Estimate how often texts continue to a right answer, from the end of each of their steps
  intact learn prefixes -m qwen2.5-coder-0.5b-instruct --task gsm8k --limit 50 --journal runs/gsm8k --to prefixes.json
Search by these values, and by a scorer of the AUROC 0.75
  intact eval qwen2.5-coder-0.5b-instruct gsm8k --limit 50 --method beam_search --set scorer=prefix_value:prefixes.json
  intact eval qwen2.5-coder-0.5b-instruct gsm8k --limit 50 --method smc --set scorer=prefix_value:0.75=prefixes.json
"""

CONCEPTS_EXAMPLES = """\
Solve training problems
  intact eval qwen2.5-coder-1.5b-instruct gsm8k:split=train --limit 200 --out train.jsonl
Have a model write a concept for each correctly solved one
  intact learn concepts train.jsonl --model qwen2.5-coder-1.5b-instruct --to concepts.txt
Use the memory on other problems; training problems are refused
  intact eval qwen2.5-coder-1.5b-instruct gsm8k --method concept_memory --set file=concepts.txt
"""

ToOption = Annotated[Path, typer.Option("--to", metavar="FILE", help="Output file.")]


def methods(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG", help="answers.jsonl files of runs with --task and --journal.")
    ],
    to: ToOption,
    tokens: Annotated[
        float | None, typer.Option("--tokens", help="Maximum mean tokens per question.", show_default=False)
    ] = None,
    pilot: Annotated[
        int, typer.Option("--pilot", min=1, help="Number of samples whose agreement estimates difficulty.")
    ] = 4,
    seed: Annotated[str, seed_option("Seed of the half of the problems that is held out.")] = "0",
    json: JsonOption = False,
) -> None:
    """Learn a table for the method compute_optimal from logs of half the problems, and judge it on the other half."""
    from intact.reason.parts.choice import common, judge, learn, read_logs, split

    log = read_logs(logs)
    known, held_out = split(common(log), one_seed(seed, "a table"))
    most = math.inf if tokens is None else tokens
    policy = learn(log, known, tokens=most, pilot=pilot)
    report = judge(policy, log, held_out, tokens=most)
    policy.write(to)
    if json:
        arms = [[arm.method, arm.settings] for arm in policy.arms]
        summary = {"pilot": policy.pilot, "edges": policy.edges, "arms": arms, "learnt_from": len(known)}
        best = {"method": report.arm.method, "parameters": report.arm.settings} | report.fixed._asdict()
        judged = {"held_out": len(held_out), "policy": report.policy._asdict(), "best_fixed": best}
        emit(summary | judged | {"regret": report.regret, "error": report.error})
        return
    show(f"learnt from {len(known)} problems, judged on {len(held_out)} others")
    starts = [0.0, *policy.edges]
    for start, arm in zip(starts, policy.arms, strict=True):
        where = f"agreement from {start:g}" if policy.edges else "all questions"
        show(f"  {where}: {arm.method} {arm.parameters}")
    _outcome("the table", report.policy)
    _outcome(f"the best single method, {report.arm.method} {report.arm.parameters}", report.fixed)
    show(f"regret {report.regret:+z.1%}, standard error {report.error:.1%}; {to} is written")


def _outcome(name: str, outcome: PolicyOutcome) -> None:
    show(f"{name}: {outcome.accuracy:.1%} right for {outcome.tokens:,.0f} tokens")


def settings(
    runs: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="sweep.json files of sweeps, or result files of eval.")
    ],
    to: ToOption,
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Task to guess settings for.", show_default=False)
    ] = None,
    size_name: Annotated[
        str,
        typer.Option(
            "--size", metavar="SIZE", help="Number of parameters of the model to guess for.", show_default=False
        ),
    ] = "",
    accuracy: Annotated[
        float | None,
        typer.Option("--accuracy", min=0, max=1, help="Accuracy of the baseline, if known.", show_default=False),
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="METHOD:NAME=VALUE", help="Setting that gains are measured against.")
    ] = "self_consistency:n=16",
    margin: Annotated[float, typer.Option("--margin", help="Loss of accuracy that saving tokens offsets.")] = 0.03,
    share: Annotated[float, typer.Option("--share", help="Share of the baseline's tokens at which it does.")] = 0.5,
    most: Annotated[int, typer.Option("--most", min=1, help="Maximum number of guessed settings.")] = 8,
    json: JsonOption = False,
) -> None:
    """Guess good settings for a new task or model from earlier sweeps and runs."""
    from intact.evaluate.sweep.guess import chosen_settings, guess_as_dict, rank_settings, worth_of, write_guess
    from intact.evaluate.sweep.records import RecordFeatures, answers_of, read_records, size_of
    from intact.evaluate.sweep.space import parse_trial
    from intact.tasks.choose import choose

    if not 0 < margin < 1 or not 0 < share < 1:
        raise ParameterError(f"--margin and --share must lie between 0 and 1, got {margin} and {share}")
    if size_name and size_of(size_name) is None:
        raise ParameterError(f"--size must be a number of parameters such as 1.5b or 135m, got {size_name!r:.60}")
    if task is not None:
        choose(task)  # raises if the task is unknown
    usual, price = parse_trial(baseline), margin / (1 - share)
    records = read_records(runs, usual, price)
    features = RecordFeatures(size_of(size_name), accuracy, "" if task is None else answers_of(task))
    ranked = rank_settings(records, features)
    worth = worth_of(records, accuracy=accuracy is not None)
    found = guess_as_dict(
        chosen_settings(ranked, most, task), features, worth, runs,
        baseline=usual.label, price=price, task=task, records=[one.name for one in records],
    )  # fmt: skip
    write_guess(to, found)
    if json:
        emit(found | {"file": str(to)})
        return
    show(f"records: {len(records)}; settings: {len(ranked)}; gains are over {usual.label}, in points of accuracy")
    for one in found["settings"]:
        show(f"  {one['gain']:+z.1%}  {one['label']} ({one['records']} of the records)")
    if not found["settings"]:
        show("no setting is predicted to gain: the guess is empty, so a sweep runs without it")
    show(_worth(worth) + f"; {to} is written")


def _worth(worth: GuessWorth | None) -> str:
    """Describe how good the guesses were."""
    if worth is None:
        return "fewer than three records: nothing says what the guess is worth"
    return (
        f"each of {worth.records} records guessed from the others: mean regret {worth.guess:.1%}; of the best average "
        f"setting {worth.average:.1%}, of the baseline {worth.default:.1%}. Guesses gain {worth.advantage:+z.1%} (p = "
        f"{worth.p:.2g}): they are {'shown' if worth.helps else 'not shown'} to help"
    )


def value(
    model: ModelArgument,
    to: ToOption,
    task: Annotated[str, typer.Option("--task", "-t", metavar="TASK", help=TASK_HELP)] = "gsm8k",
    split: Annotated[str | None, typer.Option("--split", hidden=True)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of problems.")] = 100,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Number of samples per problem.")] = 4,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="DIR",
            help="Folder to reuse samples from, and to keep new ones in.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[str, seed_option("Sampling seed; use the journal's to reuse its texts.")] = "0",
    temperature: Annotated[
        float,
        typer.Option("--temperature", help="Sampling temperature; use the journal's to reuse its samples."),
    ] = 0.7,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="Maximum tokens per sample; use the journal's to reuse its samples.")
    ] = 512,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            help="outcome: the sample's result; tokens: success rates of samples with the same prefix; search: values "
            "of a search's steps.",
        ),
    ] = "outcome",
    next_to: Annotated[
        Path | None,
        typer.Option(
            "--next",
            metavar="FILE",
            help="Also write a head that values all next tokens (next_value).",
            show_default=False,
            rich_help_panel=Advanced(),
        ),
    ] = None,
    now: FixedNowOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Learn to predict right answers of unfinished completions from hidden states; judge on held-out problems."""
    from intact.evaluate.values import LABELS, learn_next_value, learn_value, sample
    from intact.reason.backends.native import NativeBackend
    from intact.reason.limits import one_of
    from intact.tasks.choose import choose
    from intact.tasks.score.available import check_parts
    from intact.tasks.score.value.learning import FOLDS, check_installed

    check_installed()
    one_of(LABELS, labels=labels)
    drawn_by = one_seed(seed, "a head")
    if labels == "search" and next_to is not None:
        raise ParameterError("--next learns from independently drawn texts: use other --labels with it")
    time = DEFAULT_NOW if now is None else read_time(now)
    task = task_name(task, split)
    found = choose(task)
    check_parts(found.task.uses)
    items = found.load(limit)
    for file in (to, next_to):
        if file is not None and not file.parent.is_dir():
            raise ParameterError(f"{file.name} cannot be written: the folder {file.parent} does not exist")
    if len(items) < 2 * FOLDS:
        raise ParameterError(f"{FOLDS} folds need at least {2 * FOLDS} problems, but the task has {len(items)}")
    backend = NativeBackend(fetch.load(model, profile, threads, None), time)
    sampling = {"temperature": temperature, "max_tokens": max_tokens}
    sampled: list[GradedTexts] = []
    with resumable(journal), bar() as progress:
        summary = progress.add_task("texts", total=len(items))
        drawn = sample(backend, found, items, n, sampling=sampling, seed=drawn_by, journal=journal, labels=labels)
        with closing(drawn) as texts:
            for one in texts:
                sampled.append(one)
                progress.advance(summary)
        progress.update(summary, description="hidden states, regression", total=None)
        origin = {"task": task, "n": n, "seed": drawn_by} | sampling
        origin |= {"now": time.isoformat()} if backend.needs_time else {}
        head = learn_value(backend, sampled, origin, labels)
        after = None if next_to is None else learn_next_value(backend, sampled, origin)
    head.write(to)
    if after is not None and next_to is not None:
        after.write(next_to)
    if json:
        more = {} if after is None else {"next": dict(after.learnt) | {"file": str(next_to)}}
        emit(dict(head.learnt) | {"model": head.model, "file": str(to)} | more)
        return
    _show(head.learnt, to)
    if after is not None and next_to is not None:
        _show_next(after.learnt, next_to)


def _show(learnt: Any, to: Path) -> None:
    """Print how far the values can be trusted, measured on held-out problems."""
    quality = learnt["held_out"]
    base = quality["base"]
    places = {"auroc": "at the end", "auroc_half": "half-way", "auroc_within": "within a problem"}
    trust = [f"{_number(quality[name])} {place}" for name, place in places.items()]
    show(
        f"{learnt['texts']} texts of {learnt['problems']} problems, {base:.1%} right; each judged from other problems\n"
        f"AUROC {', '.join(trust)}\n"
        f"calibration error {quality['ece']:.3f}, Brier score {quality['brier']:.3f} "
        f"({base * (1 - base):.3f} for always saying {base:.2f})\n"
        f"right when chosen by it: {quality['chosen']:.1%}, by chance {quality['anyone']:.1%}, "
        f"at best {quality['best']:.1%}\n"
        f"{to} is written: --set scorer=value:{to}"
    )


def _show_next(learnt: Any, to: Path) -> None:
    """Print how well a head predicts next tokens."""
    errors = learnt["held_out"]
    show(
        f"next tokens: {learnt['tokens']:,} at {learnt['places']:,} places; "
        f"{errors['seen']:.1%} of held-out ones are known\n"
        f"squared error {errors['whole']:.4f}; {errors['shared']:.4f} by the text before alone, "
        f"{errors['constant']:.4f} for always saying the mean\n"
        f"{to} is written: --set scorer=next_value:{to}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def prefixes(
    model: ModelArgument,
    to: ToOption,
    task: Annotated[str, typer.Option("--task", "-t", metavar="TASK", help=TASK_HELP)] = "gsm8k",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of problems.")] = 50,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Number of texts per problem.")] = 4,
    continuations: Annotated[
        int, typer.Option("--continuations", min=2, help="Number of continuations of each prefix.")
    ] = 4,
    delimiter: Annotated[
        str, typer.Option("--delimiter", help="String that ends a step.", show_default="an empty line")
    ] = "\n\n",
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal", metavar="DIR", help="Folder to reuse texts from, and to keep new ones in.", show_default=False
        ),
    ] = None,
    seed: Annotated[str, seed_option("Sampling seed; use the journal's to reuse its texts.")] = "0",
    temperature: Annotated[float, typer.Option("--temperature", help="Sampling temperature.")] = 0.7,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Maximum tokens of a text.")] = 512,
    now: FixedNowOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Estimate values of unfinished texts by continuing them, for the scorer prefix_value; for studies of searches."""
    from intact.evaluate.prefixes import ContinuedTexts, continue_prefixes, table_of
    from intact.reason.backends.native import NativeBackend
    from intact.tasks.choose import choose
    from intact.tasks.score.available import check_parts

    drawn_by = one_seed(seed, "a table")
    check_output("--to", to)
    time = DEFAULT_NOW if now is None else read_time(now)
    chosen = choose(task)
    check_parts(chosen.task.uses)
    items = chosen.load(limit)
    backend = NativeBackend(fetch.load(model, profile, threads, None), time)
    sampling = {"temperature": temperature, "max_tokens": max_tokens}
    parameters = {"n": n, "continuations": continuations, "delimiter": delimiter}
    found: list[ContinuedTexts] = []
    with resumable(journal), bar() as progress:
        problems = progress.add_task("problems", total=len(items))
        written = continue_prefixes(
            backend, chosen, items, parameters, sampling=sampling, seed=drawn_by, journal=journal
        )
        with closing(written) as texts:
            for one in texts:
                found.append(one)
                progress.advance(problems)
    origin = {"task": task, "model": backend.identity, "seed": drawn_by} | parameters | sampling
    origin |= {"now": time.isoformat()} if backend.needs_time else {}
    table = table_of(found, continuations, origin)
    table.write(to)
    _show_prefixes(table, to, json=json)


def _show_prefixes(table: PrefixTable, to: Path, *, json: bool) -> None:
    """Print the size of a table, and the AUROC that scorers of several qualities reach on prefixes."""
    from intact.tasks.score.value.prefixes import reached_auroc

    count = sum(len(one.prefixes) for one in table.problems.values())
    reached = {
        quality: [reached_auroc(table, quality, first=first) for first in (True, False)]
        for quality in (0.6, 0.75, 0.9, 1.0)
    }
    if json:
        found = {
            f"{quality:g}": [None if math.isnan(one) else one for one in both] for quality, both in reached.items()
        }
        emit({"file": str(to), "problems": len(table.problems), "prefixes": count, "rate": table.rate, "auroc": found})
        return
    show(
        f"{count:,} prefixes of {len(table.problems)} problems, {table.continuations} continuations each; "
        f"{table.rate:.1%} of texts are right\n"
        "AUROC of finished texts -> of prefixes of one step, of all prefixes (of the outcome of one more continuation):"
    )
    for quality, (first, every) in reached.items():
        show(f"  {quality:g} -> {first:.2f}, {every:.2f}")
    show(f"{to} is written: --set scorer=prefix_value:0.75={to}")


def concepts(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT", help="Result files of eval on training problems, with their traces next to them."
        ),
    ],
    model: ModelOrAddressOption,
    to: ToOption,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help="Prompt that asks for a concept, with {question} and {solution}.",
            show_default="as in docs/methods/concept_memory.md",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Maximum tokens of a reply.")] = 512,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="DIR",
            help="Folder to reuse replies from, and to keep new ones in.",
            show_default=False,
        ),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option("--parallel", min=1, help="Maximum number of concurrent problems. It does not change the result."),
    ] = 64,
    now: FixedNowOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Have a model write a memory of concepts, for the method concept_memory, from correctly solved problems.

    Use training splits, never problems that you evaluate on: the method refuses problems that its memory comes from.
    """
    from intact.evaluate.concepts import WRITE, check_prompt, solved_problems, write_memory
    from intact.solving.run import is_address, opened

    template = WRITE if prompt is None else prompt
    check_output("--to", to)
    check_prompt(template)
    if to.exists() and any(file.exists() and file.samefile(to) for file in results):
        raise ParameterError(f"--to: {to} is one of the result files; choose another file")
    problems = solved_problems(results)
    for label in problems.test:
        note(f"{label} is a test split: use training problems for a memory, never those that you measure on")
    solver = model if is_address(model) else fetch.load(model, profile, threads, None)
    with resumable(journal), opened({short_name(model): solver}, now=now) as backends, bar() as progress:
        texts = progress.add_task("concepts", total=len(problems.solved))
        memory = write_memory(
            backends, problems, prompt=template, max_tokens=max_tokens, journal=journal, parallel=parallel,
            done=lambda: progress.advance(texts),
        )  # fmt: skip
    write_whole(to, memory.text)
    if json:
        emit(dict(memory.counts) | {"concepts": [one.name for one in memory.concepts], "file": str(to)})
    else:
        _show_memory(memory, to)
    if memory.counts["failed"]:
        raise typer.Exit(FAILED)


def _show_memory(memory: WrittenMemory, to: Path) -> None:
    """Print the number of concepts, and what was left out."""
    counts = memory.counts
    show(
        f"{counts['solved']} of {counts['read']} problems were answered rightly; {counts['written']} concepts written, "
        f"{counts['merged']} of them merged into others of the same name"
    )
    left_out = {"not_in_form": "not in the form", "failed": "failed", "without_text": "without a text"}
    if found := [f"{counts[name]} {words}" for name, words in left_out.items() if counts[name]]:
        show(f"left out: {', '.join(found)}")
    if memory.error:
        show(f"the first that failed: {memory.error}", style="red")
    show(f"{len(memory.concepts)} concepts; {to} is written: --set file={to}")
