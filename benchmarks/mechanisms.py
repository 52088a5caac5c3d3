"""Count the problems on which methods of study/scaling.md used their mechanism, from the stored results of their rows.

A search that never branches, or a sampler that always draws the maximum number of texts, has not been measured,
whatever its row says. Each method has a sign of its mechanism in the tree of its texts; `table` prints the share of
problems with that sign. scaling_tables.py writes the table into study/scaling.md.
"""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from common import RECORDS
from scaling_setups import SETUPS

ARCHIVE = RECORDS / "scaling.results.tar.xz"
LEAST = 0.1
"""Share of problems below which a mechanism counts as not exercised."""
Record = Mapping[str, Any]


def branched(record: Record, most: int) -> bool:
    """Return true if a text was continued more than once."""
    ways = defaultdict[tuple[str, ...], set[str]](set)
    for sample in record["samples"]:
        parts = sample["branch"].removeprefix(record["id"]).strip("/").split("/")
        for end in range(1, len(parts)):
            ways[tuple(parts[:end])].add(parts[end])
    return any(len(each) > 1 for each in ways.values())


def extended(record: Record, most: int) -> bool:
    """Return true if a finished text was followed by another one that answers it."""
    return any(sample["branch"].removeprefix(record["id"]).count("/") > 1 for sample in record["samples"])


def changed(record: Record, most: int) -> bool:
    """Return true if the answer differs from that of the first finished text with an answer."""
    first = next((s["answer"] for s in record["samples"] if s["answer"] is not None and not s["cut"]), None)
    return first is not None and first != record["answer"]


def stopped(record: Record, most: int) -> bool:
    """Return true if a text was stopped before its end."""
    return any(sample["cut"] for sample in record["samples"])


def saved(record: Record, most: int) -> bool:
    """Return true if fewer texts were written than on another problem."""
    return len(record["samples"]) < most


def several(record: Record, most: int) -> bool:
    """Return true if more than one text was written."""
    return len(record["samples"]) > 1


def guided(record: Record, most: int) -> bool:
    """Return true if a first step was written under guidance."""
    return len(record["samples"]) > 4


class Sign(NamedTuple):
    """The sign of a mechanism: its description, and a test of a record given the most texts of any problem."""

    words: str
    seen: Callable[[Record, int], bool]


RESAMPLED = Sign("a text was resampled", branched)
ANEW = Sign("a step was sampled more than once", branched)
REVISED = Sign("the answer differs from the first draft's", changed)
OTHER = Sign("the answer differs from the first text's", changed)
SIGNS: Mapping[str, Sign] = {
    **dict.fromkeys(
        ("smc", "particle_filter", "entropic_particle_filter", "particle_gibbs", "ancestor_gibbs"), RESAMPLED
    ),
    **dict.fromkeys(
        ("a_star", "beam_search", "dvts", "early_rejection", "mur", "phi_decoding", "puct_search", "rebase",
         "step_choice", "tree_of_thoughts", "uct_search"),
        ANEW,
    ),
    **dict.fromkeys(("critique_and_revise", "iad", "rise", "self_refine"), REVISED),
    **dict.fromkeys(
        ("archon", "cot_decoding", "deepconf", "forward_backward", "generative_verifier", "judge_selection",
         "mixture_of_agents", "pairwise_selection", "pattern_agent", "plan_search", "plangen", "prism",
         "self_consistency", "step_pruning"),
        OTHER,
    ),
    "ab_mcts": Sign("a draft was refined", extended),
    "adaptive_sampling": Sign("fewer texts were drawn than allowed", saved),
    "early_pruning": Sign("a text was stopped", stopped),
    "resample_until_verified": Sign("a text was rejected", several),
    "step_guidance": Sign("a step was guided", guided),
    "trimr": Sign("a text was stopped", stopped),
}  # fmt: skip
"""Signs by method; the stored texts of other methods do not show one."""


class Exercise(NamedTuple):
    """A row: its problems over all seeds, the number of them with the sign, and its total number of texts."""

    label: str
    method: str
    problems: int
    seen: int
    texts: int

    @property
    def share(self) -> float:
        """The share of problems with the sign."""
        return self.seen / self.problems

    @property
    def idle(self) -> bool:
        """If true, the mechanism was not exercised."""
        return self.share < LEAST


def counted(method: str, records: Sequence[Record]) -> tuple[int, int]:
    """Return the number of problems that show a method's sign, and the number of texts."""
    most = max(len(record["samples"]) for record in records)
    seen = SIGNS[method].seen
    return sum(seen(record, most) for record in records), sum(len(record["samples"]) for record in records)


@cache
def exercises() -> list[Exercise]:
    """Return the rows of the stored results whose methods have a sign, the least exercised first."""
    names = {_plain(label): label for label in SETUPS}
    sums = defaultdict[str, list[int]](lambda: [0, 0, 0])
    for name, method, records in _results():
        label = names.get(_plain(name.removesuffix("-text-512")))
        if label is not None and method in SIGNS:
            for place, number in enumerate((len(records), *counted(method, records))):
                sums[label][place] += number
    rows = [Exercise(label, SETUPS[label].method, *numbers) for label, numbers in sums.items()]
    return sorted(rows, key=lambda row: (row.share, row.label))


def idle() -> set[str]:
    """Return the labels of rows whose mechanism was not exercised."""
    return {row.label for row in exercises() if row.idle}


def table(linked: Callable[[str], str]) -> str:
    """Return the rows as Markdown; `linked` returns a row's name with its link."""
    lines = ["| method | sign of its mechanism | seen on | texts per problem |", "|---" * 4 + "|"]
    for row in exercises():
        mean = row.texts / row.problems
        shown = f"{row.share:.0%} of {row.problems} problems"
        lines.append(f"| {linked(row.label)} | {SIGNS[row.method].words} | {shown} | {mean:.1f} |")
    return "\n".join(lines)


def _plain(label: str) -> str:
    """Return a label in the form used in file names."""
    return "-".join("".join(c if c.isalnum() else " " for c in label).split())


def _results() -> Iterator[tuple[str, str, list[Record]]]:
    """Yield name, method and records of each stored result of the small model."""
    with tarfile.open(ARCHIVE, "r:xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                head, *records = map(json.loads, file.read().decode().splitlines())
                name = member.name.partition("-q4_k_m-")[2].removesuffix(".jsonl")
                yield name, head["method"]["name"], [record for record in records if "samples" in record]
