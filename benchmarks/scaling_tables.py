"""Write the tables of study/scaling.md, and the measured rows on the methods' pages, from the records of scaling.py.

    python benchmarks/scaling_tables.py [--check]

A table is placed between `<!-- scaling: NAME -->` and `<!-- end of scaling -->`: `seeds` has the searches under several
seeds, `frontier` compares both models; other benchmarks generate the rest of `DRAWN`. A method's page has its rows of
the other tables between `<!-- measured -->` and `<!-- end of measured -->`. With --check nothing is written; the exit
status is 1 if a page would change.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import difficulty
import exponents
import factors
import mechanisms
import numpy as np
import pools
import verifiers
from common import RECORDS, bootstrap
from difficulty import LARGE, SMALL
from numpy.typing import NDArray
from pools import DETECTED
from scaling import Outcome, Records, Row, row_of, rows_of, table
from scaling_setups import GROUPS, SETUPS

from intact.stats import clustered, holm, permutation
from intact.stats.intervals import SHARES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "study" / "scaling.md"
LINK = "../../study/scaling.md"
"""That page, from one of docs/methods."""
SIZES = {SMALL: "0.5B", LARGE: "1.5B"}
GSM8K = "gsm8k-0-0.7-512"
ARC = "arc_challenge-0-0.7-512"
HUMANEVAL = "humaneval-style-base-0-0.8-384"
SETS = {GSM8K: "GSM8K", ARC: "ARC-Challenge", HUMANEVAL: "HumanEval, continued", "math500-0-0.7-512": "MATH-500"}


@cache
def records_of(name: str) -> Records:
    """Return the records of a file, which several tables read."""
    return Records(RECORDS / f"{name}.jsonl")


class Table(NamedTuple):
    """Rows shown together: a file of records, a model, and the names of the rows, or of a group of them.

    `among` is a row whose problems are used for the table; by default, those of the row compared with are used.
    `anchor` is the section of the page.
    """

    anchor: str
    records: str
    model: str
    labels: Sequence[str]
    budget: str = ""
    beyond: str = "greedy"
    among: str = ""

    def rows(self) -> list[Row]:
        records = records_of(self.records)
        among = self.among or self.beyond
        ids = {o.id for o in records.all if (o.model, o.setup) == (self.model, among)}
        return rows_of(records, [self.model], self.labels, [self.budget], sorted(ids, key=_natural), self.beyond)


def _natural(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _group(name: str, *before: str) -> list[str]:
    return [*before, *GROUPS[name]]


POOLED = [name for name in GROUPS["pool"] if "P(true)" not in name and name != "particle filter 16"]
JUDGED = "judges-searches-and-revisions"
PROGRAMS = "programs-that-the-model-runs"
CHOSEN = "choosers-of-the-same-texts"
FOUR = "self-consistency 4"
RETRIEVED = [
    "retrieval, greedy; file=examples.txt", "iterative retrieval, greedy; file=examples.txt",
    "concept memory, greedy; file=concepts.txt",
]  # fmt: skip
SEARCHES = [
    "self-consistency 4", "particle filter 4", "SMC 4", "entropic particle filter 4", "particle Gibbs 2",
    "beam search 4", "DVTS 4", "REBASE 4", "early rejection 4", "A*", "AB-MCTS 4",
]  # fmt: skip
"""The rows measured with several seeds; the others are compared with the first."""
SEEDS = (0, 1, 2)
IDLE = "not exercised"
"""The mark of a row whose mechanism was not exercised (mechanisms.py)."""
CAP = "text=512"
TABLES: Mapping[str, Table] = {
    "0.5B": Table("samples-and-votes", GSM8K, SMALL, POOLED),
    "1.5B": Table("samples-and-votes", GSM8K, LARGE, POOLED),
    "choosers, GSM8K": Table(
        CHOSEN, GSM8K, SMALL, ["greedy", "self-consistency 16", "best-of-n by likelihood 16", *GROUPS["choosers"]]
    ),
    "choosers, HumanEval": Table(
        CHOSEN, HUMANEVAL, SMALL,
        ["greedy", "best-of-n by likelihood 4", "best-of-n by likelihood 16", *GROUPS["choosers"]],
    ),
    "tests": Table(
        "tests-and-judges-over-growing-numbers-of-texts", HUMANEVAL, SMALL,
        ["greedy", *GROUPS["tests"], "best-of-n by likelihood 4", "best-of-n by likelihood 16"],
        among="best-of-n by tests 2",
    ),
    "programs": Table(
        PROGRAMS, GSM8K, LARGE,
        ["program-aided, greedy", "interleaved code, greedy", "code verification, greedy", "greedy",
         "self-consistency 4"],
    ),
    "votes of programs": Table(
        PROGRAMS, GSM8K, LARGE,
        ["interleaved code 4", "code verified 4", "collaborative verification 4", "program-aided 4",
         "self-consistency 4", "self-consistency 16", "self-consistency 64"],
        beyond=FOUR,
    ),
    "programs, MATH-500": Table(
        PROGRAMS, "math500-0-0.7-512", LARGE, ["greedy", "interleaved code, greedy", "program-aided, greedy"]
    ),
    "judges": Table(JUDGED, GSM8K, SMALL, _group("judges", "greedy", FOUR), beyond=FOUR),
    "steps": Table(JUDGED, GSM8K, SMALL, _group("steps"), budget=CAP, beyond=FOUR),
    "revisions": Table(JUDGED, GSM8K, SMALL, _group("revisions"), beyond=FOUR),
    "others": Table(JUDGED, GSM8K, SMALL, _group("others"), beyond=FOUR),
    "retrieved": Table("examples-and-concepts", GSM8K, SMALL, ["greedy", *RETRIEVED]),
    "choices": Table("choices-in-other-orders", ARC, SMALL, _group("choices", "greedy", FOUR), beyond=FOUR),
    "pairs": Table("two-models", GSM8K, SMALL, ["greedy", *(f"{name}; large={LARGE}" for name in GROUPS["pairs"])]),
}  # fmt: skip


def seeds_table() -> str:
    """Return the searches under several seeds as Markdown; correctness is averaged over seeds, problem by problem."""
    records = [records_of(f"gsm8k-{seed}-0.7-512") for seed in SEEDS]
    done = [{o.id for o in each.all if (o.setup, o.budget) == (row, CAP)} for each in records for row in SEARCHES]
    ids = sorted(set.intersection(*done), key=_natural)

    def outcomes(label: str) -> list[list[Outcome]]:
        return [each.of(SMALL, label, CAP, ids) for each in records]

    def shares(label: str) -> NDArray[np.float64]:
        return np.array([[float(o.correct) for o in each] for each in outcomes(label)])

    base = shares(SEARCHES[0]).mean(axis=0)
    right = {label: shares(label) for label in SEARCHES}
    p_values = iter(holm([permutation(right[label].mean(axis=0), base).p for label in SEARCHES[1:]]).p)
    head = ["method", *(f"seed {seed}" for seed in SEEDS), "mean", f"beyond {SEARCHES[0]}", "p", "detectable", "tokens"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for label, each in right.items():
        low, high = clustered(each.T, support=SHARES)[1:3]
        cells = [marked(label), *(f"{one:.1%}" for one in each.mean(axis=1))]
        cells += [f"{each.mean():.1%} ({low:.1%} to {high:.1%})", "", "", ""]
        if label != SEARCHES[0]:
            gains = each.mean(axis=0) - base
            least, most = bootstrap(gains)
            seen = DETECTED * gains.std(ddof=1) / math.sqrt(len(gains))
            cells[-3:] = [
                f"{gains.mean():+z.1%} ({least:+z.1%} to {most:+z.1%})",
                f"{next(p_values):.2g}",
                f"{seen:.1%}",
            ]
        tokens = np.mean([o.tokens for row in outcomes(label) for o in row])
        lines.append(f"| {' | '.join([*cells, f'{tokens:,.0f}'])} |")
    return "\n".join(lines)


def frontier_rows() -> tuple[list[Row], list[Row], list[Row]]:
    """Return all rows on the problems of the greedy one, and those not beaten by operations, and by tokens in a row."""
    groups = defaultdict[tuple[str, str, str], list[Outcome]](list)
    for outcome in records_of(GSM8K).all:
        groups[outcome.model, outcome.setup, outcome.budget].append(outcome)
    ids = {o.id for o in groups[SMALL, "greedy", ""]}
    rows = [row_of(own, ()) for own in groups.values() if {o.id for o in own} == ids]

    def best(cost: Callable[[Row], float]) -> list[Row]:
        found: list[Row] = []
        for row in sorted(rows, key=lambda one: (cost(one), -one.correct)):
            if not found or row.correct > found[-1].correct:
                found.append(row)
        return found

    return rows, best(lambda one: one.operations), best(lambda one: one.sequential)


def frontier_table() -> str:
    """Return the rows of all models that no other row beats with at most as many operations, or sequential tokens."""
    _, by_operations, in_a_row = frontier_rows()
    head = ["model", "method", "budget", "accuracy", "G operations", "sequential tokens", "best by operations"]
    lines = [f"| {' | '.join(head)} | best by sequential tokens |", "|---" * 8 + "|"]
    for row in sorted({*by_operations, *in_a_row}, key=lambda one: one.operations):
        right = f"{row.accuracy:.0%} ({row.low:.0%} to {row.high:.0%})"
        costs = [f"{row.operations / 1e9:,.0f}", f"{row.sequential:,.0f}"]
        where = ["yes" if row in found else "" for found in (by_operations, in_a_row)]
        lines.append(f"| {' | '.join([SIZES[row.model], marked(row.setup), row.budget, right, *costs, *where])} |")
    return "\n".join(lines)


def linked(label: str) -> str:
    """Return a row's name with a link to its method's page."""
    name = label.partition("; ")[0]
    return f"[{name}](../docs/methods/{SETUPS[name].method}.md)"


def marked(label: str) -> str:
    """Return a linked row name with a mark if the row's mechanism was not exercised."""
    idle = label.partition("; ")[0] in mechanisms.idle()
    return linked(label) + (f", [{IDLE}](#mechanisms)" if idle else "")


def filled(text: str, draw: Callable[[str], str]) -> str:
    """Return a page's text with every table placeholder filled by `draw`."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{draw(match[2])}\n<!-- end of scaling -->"

    return re.sub(r"(<!-- scaling: (.+?) -->)\n.*?<!-- end of scaling -->", fill, text, flags=re.DOTALL)


def measured(method: str, rows: Mapping[str, list[Row]]) -> str:
    """Return the rows of a method, each from the first table that contains it."""
    head = "| set | model | row | right | beyond | tokens |"
    lines: dict[tuple[str, str, str], str] = {}
    for name, part in rows.items():
        where = TABLES[name]
        for row in part:
            key = where.records, where.model, row.setup
            if SETUPS[row.label].method != method or key in lines:
                continue
            shown = f"{row.label}, [{IDLE}]({LINK}#mechanisms)" if row.label in mechanisms.idle() else row.label
            cells = [f"[{SETS[where.records]}]({LINK}#{where.anchor})", SIZES[where.model], shown]
            cells += [f"{row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})", ""]
            if row.beyond:
                mean, low, high, *_ = row.beyond
                cells[-1] = f"{where.beyond}: {mean:+z.1%} ({low:+z.1%} to {high:+z.1%})"
            lines[key] = f"| {' | '.join([*cells, f'{row.tokens:,.0f}'])} |"
    return "\n".join([head, "|---" * 6 + "|", *lines.values()])


def _method(name: str) -> str:
    return f"[{name}](../docs/methods/{name}.md)"


DRAWN: Mapping[str, Callable[[], str]] = {
    "seeds": seeds_table,
    "pools": lambda: pools.table(pools.kept()),
    "mechanisms": lambda: mechanisms.table(linked),
    "frontier": frontier_table,
    "verifiers": lambda: verifiers.table(_method),
    "real scorers": verifiers.real,
    "difficulty, 0.5B": lambda: difficulty.table(difficulty.study(), SMALL, linked),
    "difficulty, 1.5B": lambda: difficulty.table(difficulty.study(), LARGE, linked),
    "sequential": lambda: difficulty.sequential(difficulty.study(), linked),
    "chosen by difficulty": lambda: difficulty.optimal(difficulty.study()),
    "exponents": lambda: exponents.table(linked),
    "factors": lambda: factors.table(linked),
}
"""Tables that are not rows of one model and file."""


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page that contains tables, with its updated text."""
    rows = {name: each.rows() for name, each in TABLES.items()}

    def draw(name: str) -> str:
        if name in DRAWN:
            return DRAWN[name]()
        return table(rows[name], TABLES[name].beyond, names={row.setup: marked(row.setup) for row in rows[name]})

    yield PAGE, filled(PAGE.read_text("utf-8"), draw)
    for path in sorted((ROOT / "docs" / "methods").glob("*.md")):
        text = path.read_text("utf-8")
        begin, end = "<!-- measured -->\n", "<!-- end of measured -->"
        before, found, rest = text.partition(begin)
        if found:
            yield path, before + begin + measured(path.stem, rows) + "\n" + end + rest.partition(end)[2]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page would change")
    args = p.parse_args()
    changed = [(path, text) for path, text in pages() if path.read_text("utf-8") != text]
    for path, text in changed:
        print(os.path.relpath(path))
        if not args.check:
            path.write_text(text, "utf-8")
    raise SystemExit(bool(args.check and changed))


if __name__ == "__main__":
    main()
