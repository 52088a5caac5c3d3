"""Measure the accuracy of reasoning methods and their tokens, on problems with known answers.

Every row is a method with its parameters; with --budget every row is run under each cap, so that all have the same.
Rows of one model share a journal: 64 samples include 16, and a vote reuses the samples that best-of-N has drawn.
Results are kept: the outcome of each problem in --records, a part of the repository, and the texts in --journal. The
run can be stopped at any time and continues from there, with the records also on another machine; more problems or
methods may be added later. --done runs nothing and prints the stored results.

Seconds are those that a row added to the shared journal; --apart gives every row its own journal, which makes them
comparable. Operations are always those of the row by itself; rows of the group `values` leave out their scorer's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
from scaling_setups import GROUPS, SETUPS, Setup

import intact
from intact._base.files import write_whole
from intact.evaluate.plan import Plan
from intact.evaluate.run import evaluate
from intact.evaluate.work import How
from intact.reason import find
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.problem import Result
from intact.solving.run import Graded, solve_items
from intact.stats import holm, mcnemar, smallest_difference, wilson
from intact.tasks.choose import Chosen, choose
from intact.tasks.task import Item


class Outcome(NamedTuple):
    """The outcome of a problem."""

    model: str
    setup: str
    budget: str
    id: str
    correct: bool
    tokens: int
    sequential: int
    operations: int
    seconds: float
    why: str
    error: str


class Bench(NamedTuple):
    """The models that rows run on, the first one's name, the task, and the options."""

    backends: Mapping[str, NativeBackend]
    model: str
    task: Chosen
    args: Any


class Records:
    """Outcomes in a file of lines, each appended as soon as it is known.

    Raises
    ------
    ValueError
        If the file contains a problem of a row twice.
    """

    def __init__(self, path: Path) -> None:
        self.lines = common.Lines(path)
        self.all = [Outcome(**record) for record in self.lines.all if set(record) == set(Outcome._fields)]
        counts = Counter(outcome[:4] for outcome in self.all)
        if twice := next((" ".join(key) for key, count in counts.items() if count > 1), None):
            raise ValueError(f"{path} contains a record twice: {twice}")

    def of(self, model: str, setup: str, budget: str, ids: Iterable[str]) -> list[Outcome]:
        """Return the outcomes of a row, in the problems' order."""
        found = {o.id: o for o in self.all if (o.model, o.setup, o.budget) == (model, setup, budget)}
        return [found[name] for name in ids if name in found]

    def add(self, outcome: Outcome) -> None:
        self.all.append(outcome)
        self.lines.add(outcome._asdict())


def folder_of(model: str, label: str, args: Any) -> Path:
    """Return the folder of the journal from which a row takes its texts."""
    journal: Path = args.journal / model / (label.replace(" ", "_") if args.apart else "shared")
    return journal


def key_of(label: str, args: Any) -> str:
    """Return the name of a row in the records, including the options given with it."""
    given = [f"{name}={Path(value).name}" for name, value in args.set]
    given += [f"large={args.large.stem}"] if args.large else []
    return "; ".join([label, *given])


def sampling_of(setup: Setup, args: Any) -> dict[str, Any]:
    """Return a row's sampling parameters."""
    return {"temperature": args.temperature, "max_tokens": args.max_tokens} | dict(setup.sampling)


def solved(
    backends: Mapping[str, NativeBackend],
    setup: Setup,
    budget: str,
    task: Chosen,
    items: Sequence[Item],
    journal: Path,
    args: Any,
) -> Iterator[Graded]:
    """Answer items by a row and grade them, reusing the texts of a journal."""
    return solve_items(
        backends, find(setup.method), task, items, setup.parameters,
        sampling=sampling_of(setup, args), seed=args.seed, budget=Budget.parse(budget), journal=journal,
        parallel=args.parallel,
    )  # fmt: skip


def setup_of(label: str, args: Any) -> Setup:
    """Return a row with the parameters of --set, and with the file of --values where its scorer needs it."""
    parameters = dict(SETUPS[label].parameters) | dict(args.set)
    if str(parameters.get("scorer")).startswith(KNOWN):
        parameters["scorer"] += str(args.values)
    return SETUPS[label]._replace(parameters=parameters)


KNOWN = "prefix_value:"
"""The scorer that stands for one of a set quality; what its values take is not the search's."""


class Spent(NamedTuple):
    """What a problem took."""

    tokens: int
    sequential: int
    operations: int
    seconds: float


def spent_on(result: Result, setup: Setup) -> Spent:
    """Return what a method took; without its scorer, if that stands for another one.

    Tokens in a row are those of the longest text then.
    """
    cost = result.cost
    if not str(setup.parameters.get("scorer")).startswith(KNOWN):
        return Spent(cost.tokens, cost.sequential, cost.operations, cost.seconds)
    own = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
    lengths: dict[str, int] = {}
    for node in own:
        lengths[node["branch"]] = lengths.get(node["parent"], 0) + node["tokens"]
    tokens, operations = (sum(node[name] for node in own) for name in ("tokens", "operations"))
    return Spent(tokens, max(lengths.values(), default=0), operations, cost.seconds)


def write_result(bench: Bench, label: str, budget: str, items: Sequence[Item], stem: str) -> None:
    """Write a row's result as `intact eval` does: all recorded problems, from the texts of its journal."""
    backends, model, task, args = bench
    setup = setup_of(label, args)
    others = {} if args.large is None else {"large": args.large.stem}
    plan = Plan(
        (task,), (tuple(items),), find(setup.method), setup.parameters, sampling_of(setup, args), (args.seed,),
        Budget.parse(budget), len(items), setup.method, others,
    )  # fmt: skip
    run = evaluate(backends, plan, How(folder_of(model, label, args), args.parallel))
    name = re.sub(r"[^\w.]+", "-", f"{stem} {model} {key_of(label, args)} {budget}").strip("-")
    args.results.mkdir(parents=True, exist_ok=True)
    write_whole(args.results / f"{name}.jsonl", run.data())
    print(f"{name}.jsonl", flush=True)


def measure(bench: Bench, label: str, budget: str, items: Sequence[Item], records: Records) -> None:
    """Run the missing problems of a row."""
    backends, model, task, args = bench
    key = key_of(label, args)
    known = {outcome.id for outcome in records.of(model, key, budget, [item.id for item in items])}
    missing = [item for item in items if item.id not in known]
    if not missing:
        return
    folder = folder_of(model, label, args)
    setup = setup_of(label, args)
    for item, result, correct in solved(backends, setup, budget, task, missing, folder, args):
        spent = spent_on(result, setup)
        records.add(Outcome(model, key, budget, item.id, correct, *spent, result.why, result.error))
        print(f"{model}, {label}, {item.id}: {'right' if correct else 'wrong'}, {spent.tokens} tokens", flush=True)


class Beyond(NamedTuple):
    """A row compared with another on the same problems: the difference, bootstrapped, and McNemar's exact test.

    `detectable` is the smallest difference that this test finds on this number of problems with a power of 80% at a
    level of 5%, if as many problems as here are solved by only one of the rows.
    """

    mean: float
    low: float
    high: float
    p: float
    detectable: float


class Row(NamedTuple):
    """A row of the table; values are means over problems."""

    model: str
    setup: str
    budget: str
    problems: int
    correct: int
    low: float
    high: float
    beyond: Beyond | None
    tokens: float
    sequential: float
    operations: float
    seconds: float
    failed: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.problems

    @property
    def label(self) -> str:
        """The name of its setup (`key_of`)."""
        return self.setup.partition("; ")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return self._asdict() | {"beyond": self.beyond and self.beyond._asdict()}


def row_of(outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> Row:
    """Return accuracy with Wilson's interval, and the comparison with another row."""
    correct = sum(o.correct for o in outcomes)
    low, high = wilson(correct, len(outcomes))
    first = outcomes[0]
    means = [
        float(np.mean([getattr(o, name) for o in outcomes]))
        for name in ("tokens", "sequential", "operations", "seconds")
    ]
    failed = sum(o.why == "failed" for o in outcomes)
    beyond = beyond_of(outcomes, others)
    return Row(first.model, first.setup, first.budget, len(outcomes), correct, low, high, beyond, *means, failed)


def beyond_of(outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> Beyond | None:
    """Compare two rows on their common problems; a row is not compared with itself."""
    base = {o.id: o.correct for o in others}
    pairs = [(o.correct, base[o.id]) for o in outcomes if o.id in base]
    if not pairs or outcomes[0][:3] == others[0][:3]:
        return None
    own, other = np.array(pairs, dtype=bool).T
    gains = own.astype(float) - other
    detectable = smallest_difference(float((own != other).mean()), len(pairs))
    return Beyond(float(gains.mean()), *common.bootstrap(gains), mcnemar(own, other).exact, detectable)


def rows_of(
    records: Records,
    models: Iterable[str],
    labels: Sequence[str],
    budgets: Sequence[str],
    ids: Sequence[str],
    beyond: str,
) -> list[Row]:
    """Return the existing rows, each compared with one of its model."""
    rows = []
    for model in models:
        for budget in budgets:
            others = records.of(model, beyond, "", ids) or records.of(model, beyond, budget, ids)
            for label in labels:
                if outcomes := records.of(model, label, budget, ids):
                    rows.append(row_of(outcomes, others))
    return rows


def tables(rows: Sequence[Row], beyond: str) -> str:
    """Return a Markdown table for each model and budget, under a line with both."""
    parts = []
    for (model, budget), part in itertools.groupby(rows, key=lambda r: (r.model, r.budget)):
        own = list(part)
        seconds = {r.setup: f"{r.seconds:.1f}" for r in own}
        parts.append(f"{model}, budget {budget or 'none'}:\n\n{table(own, beyond, {'s': seconds})}")
    return "\n\n".join(parts)


def table(
    rows: Sequence[Row], beyond: str, more: Mapping[str, Mapping[str, str]] = {}, names: Mapping[str, str] = {}
) -> str:
    """Return rows of one model as Markdown; p-values are corrected by Holm over the rows.

    Parameters
    ----------
    more : mapping of str to mapping of str to str
        Additional columns, each mapping a row's name to its cell.
    names : mapping of str to str
        Display names of rows.
    """
    compared = [r.beyond.p for r in rows if r.beyond]
    p_values = iter(holm(compared).p if compared else ())
    head = ["method", "accuracy", f"beyond {beyond}", "p", "detectable", "tokens", "sequential", "G operations", *more]
    usual = max((r.problems for r in rows), default=0)
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for r in rows:
        cells = [names.get(r.setup, r.setup), f"{r.accuracy:.1%} ({r.low:.1%} to {r.high:.1%})", "", "", ""]
        if r.problems != usual:
            cells[0] += f", {r.problems} problems"
        if r.failed:
            cells[0] += f", {r.failed} failed"
        if r.beyond:
            mean, low, high, _, detectable = r.beyond
            cells[2:5] = [
                f"{mean:+z.1%} ({low:+z.1%} to {high:+z.1%})",
                f"{next(p_values):.2g}",
                f"{detectable:.1%}" if np.isfinite(detectable) else "none",
            ]
        cells += [f"{r.tokens:,.0f}", f"{r.sequential:,.0f}", f"{r.operations / 1e9:,.0f}"]
        lines.append(f"| {' | '.join([*cells, *(column[r.setup] for column in more.values())])} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot accuracy over tokens, with a panel per model; rows of one line, or the budgets of one row, are joined."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(r.model for r in rows))
    figure, panels = plt.subplots(1, len(models), figsize=(7 * len(models), 5), sharey=True, squeeze=False)
    for model, panel in zip(models, panels[0], strict=True):
        series: dict[str, list[Row]] = {}
        for r in rows:
            if r.model == model:
                name = f"{r.setup}, capped" if r.budget else SETUPS[r.label].line
                series.setdefault(name, []).append(r)
        for name, points in series.items():
            points.sort(key=lambda r: r.tokens)
            spread = [[r.accuracy - r.low for r in points], [r.high - r.accuracy for r in points]]
            x, y = [r.tokens for r in points], [r.accuracy for r in points]
            panel.errorbar(x, y, yerr=spread, marker="o", capsize=2, alpha=0.8, label=name)
        panel.set(title=model, xlabel="tokens a problem", ylabel="right", xscale="log")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=TEXT, got {text!r}")
    return name, value


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--task", default="gsm8k", help="task as in `intact eval`; its data are in $INTACT_DATA")
    p.add_argument(
        "--problems", type=int, default=100, metavar="N", help="number of problems, from the first (default 100)"
    )
    p.add_argument("--group", choices=GROUPS, default="pool", help="group of rows (default pool)")
    p.add_argument("--having", metavar="NAME", help="only problems with such data, such as tests")
    p.add_argument("--methods", metavar="A/B", help="rows by name, from any group (--list)")
    p.add_argument("--beyond", default="greedy", metavar="ROW", help="row with which others are compared (greedy)")
    p.add_argument(
        "--large", type=common.model_path, metavar="MODEL", help="larger model, for rows with two models (pairs)"
    )
    p.add_argument(
        "--set", action="append", type=_parameter, default=[], metavar="NAME=TEXT", help="parameter of all rows"
    )
    p.add_argument(
        "--values", type=Path, default=common.RECORDS / "prefix_values.json", metavar="FILE",
        help="table of `intact learn prefixes`, for the group values",
    )  # fmt: skip
    p.add_argument("--list", action="store_true", help="print the names of the rows and exit")
    p.add_argument(
        "--budget", action="append", metavar="CAPS", help="budget of a problem, such as tokens=4k; may be repeated"
    )
    p.add_argument("--records", type=Path, default=common.RECORDS, metavar="DIR", help="file of outcomes")
    p.add_argument("--journal", type=Path, default=Path("scaling"), metavar="DIR", help="folder of the texts")
    p.add_argument(
        "--results", type=Path, metavar="DIR", help="write each row's result as `intact eval` would, from the journal"
    )
    p.add_argument(
        "--apart", action="store_true", help="use a separate journal for each row, so that its seconds are its own"
    )
    p.add_argument("--done", action="store_true", help="run nothing; print a table of the stored results")
    p.add_argument("--temperature", type=float, default=0.7)
    p.add_argument("--max-tokens", type=int, default=512)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int)
    p.add_argument("--parallel", type=int, default=8, metavar="N", help="number of concurrent problems")
    p.add_argument("--table", type=Path, metavar="FILE", help="also write the table to this file")
    p.add_argument("--plot", type=Path, metavar="FILE", help="plot to write, such as scaling.svg (needs matplotlib)")
    p.add_argument("--json", type=Path, metavar="FILE")
    args = p.parse_args()
    labels = [name.strip() for name in args.methods.split("/")] if args.methods else list(GROUPS[args.group])
    if args.list or any(label not in SETUPS for label in (*labels, args.beyond)):
        print("\n".join(f"{group}: {'/'.join(rows)}" for group, rows in GROUPS.items()))
        raise SystemExit(0 if args.list else f"unknown: {', '.join({*labels, args.beyond} - set(SETUPS))}")
    budgets = args.budget or [""]
    for budget in budgets:
        Budget.parse(budget)
    task = choose(args.task)
    items = [item for item in task.load(args.problems) if args.having is None or item.data.get(args.having)]
    name = re.sub(r"\W+", "-", args.task)
    settings = f"{args.seed}-{args.temperature}-{args.max_tokens}{'-apart' * args.apart}"
    records = Records(args.records / f"{name}-{settings}.jsonl")
    names = [path.stem for path in args.models]
    try:
        for path, name in () if args.done else zip(args.models, names, strict=True):
            with_model(path, name, labels, budgets, task, items, records, args)
    except KeyboardInterrupt:
        print("stopped: run the same command again to continue")
    keys = [key_of(label, args) for label in labels]
    rows = rows_of(records, names, keys, budgets, [item.id for item in items], args.beyond)
    print("\n" + tables(rows, args.beyond))
    if args.table:
        args.table.write_text(tables(rows, args.beyond) + "\n", "utf-8")
    if args.plot and rows:
        plot(rows, args.plot)
    if args.json:
        found = {"machine": common.machine(), "task": args.task, "rows": [r.to_dict() for r in rows]}
        args.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def with_model(
    path: Path,
    name: str,
    labels: Sequence[str],
    budgets: Sequence[str],
    task: Chosen,
    items: Sequence[Item],
    records: Records,
    args: Any,
) -> None:
    """Run all rows of a model, which is loaded only if something is missing."""
    rows = [(label, budget) for budget in budgets for label in labels]
    ids = [item.id for item in items]
    done = [len(records.of(name, key_of(label, args), budget, ids)) == len(ids) for label, budget in rows]
    if args.results is None and all(done):
        return
    models = {"main": path} | ({"large": args.large} if args.large else {})
    loaded = {role: intact.load(file, threads=args.threads) for role, file in models.items()}
    bench = Bench({role: NativeBackend(model) for role, model in loaded.items()}, name, task, args)
    # Run all rows on some problems before the next ones, so that texts, which rows share, are all used if this is
    # stopped.
    for first in range(0, len(items), args.parallel):
        for label, budget in rows:
            measure(bench, label, budget, items[first : first + args.parallel], records)
    for label, budget in rows if args.results else ():
        write_result(bench, label, budget, items, records.lines.path.stem)
    for model in loaded.values():
        model.close()


if __name__ == "__main__":
    main()
