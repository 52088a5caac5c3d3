"""Evaluate scorers: how well each separates right texts from wrong ones, and the accuracy of choosing by it.

    python benchmarks/scorers.py MODEL [--task gsm8k] [--limit 50] [-n 4] [--scorers likelihood,equations,p_true]

All scorers judge the same texts. AUROC is the probability that a right text scores above a wrong one: over all texts,
with an interval for other problems (bootstrap), and within problems, over those with both kinds. ECE is the distance
between score and accuracy, for scores in [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from common import parser

from intact._base.exact import mean
from intact.reason import Answer, Extend, Problem, Score, Steps, method
from intact.reason.driving.services import MethodJob
from intact.solving.run import backends_of, solve_all
from intact.stats import Interval, bootstrap
from intact.stats.calibration import auroc, calibration_error, choice
from intact.tasks import find_task

SCORERS = "likelihood,entropy,self_certainty,equations,p_true,colep,pair_prediction,verification"


@method("none", temperature=0.7)
def judged(problem: Problem, *, n: int = 4, top: int = 20, scorers: Sequence[str] = ()) -> Steps:
    """Sample texts, and let every scorer judge them."""
    states = yield [Extend(problem.start, top_logprobs=top)] * n
    scores = yield [Score(scorer, states) for scorer in scorers]
    return Answer("judged", details={"texts": [state.text for state in states], "scores": scores})


def auroc_interval(scores: list[list[float]], right: list[list[bool]]) -> Interval | None:
    """Return the AUROC over all texts with its interval for other problems; None for one problem or kind of text."""

    def of(places: Any) -> float:
        drawn = places.astype(int)
        found = auroc([s for i in drawn for s in scores[i]], [flag for i in drawn for flag in right[i]])
        return 0.5 if found is None else found

    if len(scores) < 2 or len({flag for flags in right for flag in flags}) < 2:
        return None
    return bootstrap(
        np.arange(len(scores)),
        lambda places, axis: np.apply_along_axis(of, axis, places),
        method="percentile",
        resamples=1000,
    )


def figures(scores: list[list[float]], right: list[list[bool]]) -> dict[str, Any]:
    """Evaluate one scorer over problems with several texts each."""
    flat = [score for values in scores for score in values]
    flags = [flag for values in right for flag in values]
    within = [auroc(values, verdicts) for values, verdicts in zip(scores, right, strict=True)]
    told = [value for value in within if value is not None]
    chosen = choice(scores, right)
    return {
        "auroc": auroc_interval(scores, right),
        "auroc_within": mean(told) if told else None,
        "ece": calibration_error(flat, flags) if all(0 <= score <= 1 for score in flat) else None,
        "chosen": chosen.chosen,
        "anyone": chosen.anyone,
        "best": chosen.best,
    }


def measure(path: Any, args: Any) -> dict[str, Any]:
    """Judge a model's texts on the first problems of a task."""
    task = find_task(args.task)
    items = task.load(limit=args.limit)
    names = args.scorers.split(",")
    tasks = [MethodJob(judged, task.problem(item), {"n": args.n, "top": args.top, "scorers": names}) for item in items]
    details, failed = {}, []
    for number, result in solve_all(
        backends_of(path), tasks, sampling={"max_tokens": args.max_tokens}, journal=args.journal
    ):
        if result.why == "done":
            details[number] = result.answer.details
        else:
            failed.append(f"{result.id}: {result.error}")
    order = sorted(details)
    right = [[task.correct(items[i], task.read_for(items[i], text)) for text in details[i]["texts"]] for i in order]
    rows = {
        name: figures([list(details[i]["scores"][place]) for i in order], right) for place, name in enumerate(names)
    }
    return {"model": path.name, "problems": len(order), "texts": len(order) * args.n, "failed": failed, "scorers": rows}


def show(report: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{report['model']}: {report['texts']} texts on {report['problems']} problems\n")
    print("| scorer | AUROC (95%) | within a problem | ECE | choosing by it | by chance | at best |")
    print("|---|---|---|---|---|---|---|")
    for name, row in report["scorers"].items():
        cells = [
            "-" if value is None
            else f"{value:.3f}" if isinstance(value, float)
            else "{:.2f} ({:.2f} to {:.2f})".format(*value)
            for value in row.values()
        ]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |")
    for line in report["failed"]:
        print(f"failed: {line}")


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--task", default="gsm8k")
    p.add_argument("--limit", type=int, default=50, help="number of problems")
    p.add_argument("-n", type=int, default=4, help="number of texts per problem")
    p.add_argument("--scorers", default=SCORERS)
    p.add_argument(
        "--top", type=int, default=20, help="log-probabilities per token; 0: reuse the texts that votes have drawn"
    )
    p.add_argument("--max-tokens", type=int, default=512)
    p.add_argument("--journal", help="folder of the journal; stored results are not computed again")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    for path in args.models:
        report = measure(path, args)
        if args.json:
            print(json.dumps(report, indent=2))
        else:
            show(report)


if __name__ == "__main__":
    main()
