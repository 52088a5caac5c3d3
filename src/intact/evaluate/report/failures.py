"""Wrong answers as trees that open: the question, then every text that was written, as it was forked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intact.errors import FormatError
from intact.evaluate.files import traces_of
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import TextTree

MOST = 20
"""Failures that are shown of a run."""
LONGEST = 4000
"""Characters of a text that are shown."""


def failures(arm: ReportArm) -> list[TextTree]:
    """The first wrong answers of a run, with their texts.

    Raises
    ------
    FormatError
        If a tree is damaged.
    """
    try:
        return _failures(arm)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FormatError(f"{traces_of(arm.path)} is damaged: {error!r:.200}") from error


def _failures(arm: ReportArm) -> list[TextTree]:
    found = []
    for record, trace in arm.trees():
        if record.correct or not trace["nodes"]:
            continue
        seed = f", seed {record.seed}" if len(arm.run.manifest["seeds"]) > 1 else ""
        line = f"{record.id}{seed}: {_told(record.answer)}, right is {_told(record.right)}"
        if len(record.samples) > 1:
            line += f"; {sum(bool(sample.correct) for sample in record.samples)} of {len(record.samples)} samples right"
        if record.why != "done":
            line += f" ({record.why}: {record.error})" if record.error else f" ({record.why})"
        notes = {one.branch: f"{'right' if one.correct else 'wrong'}: {_told(one.answer)}" for one in record.samples}
        good = {sample.branch for sample in record.samples if sample.correct}
        found.append(TextTree(line, _question(trace["prompt"]), tuple(_grow(trace, notes, good))))
        if len(found) == MOST:
            break
    return found


def _told(answer: str | None) -> str:
    text = "no answer" if answer is None else " ".join(answer.split())
    return text if len(text) <= 80 else text[:79] + "…"


def _question(prompt: str | Sequence[Sequence[str]]) -> str:
    """A prompt as it is read: of a conversation all turns, each behind its role."""
    text = prompt if isinstance(prompt, str) else "\n\n".join(f"{role}: {content}" for role, content in prompt)
    return shortened(text)


def shortened(text: str) -> str:
    """Return a text that is not too long, else its two ends."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n… {len(text) - LONGEST:,} characters …\n{text[-half:]}"


def _grow(trace: Mapping[str, Any], notes: Mapping[str, str], good: set[str]) -> list[TextTree]:
    """Every text below the one that it goes on from; calls of other methods after them."""
    texts = {node["branch"]: node for node in trace["nodes"] if node["kind"] == "extend"}
    below: dict[str, list[str]] = {}
    for branch, node in texts.items():
        parent = node["parent"] if node["parent"] in texts else ""
        below.setdefault(parent, []).append(branch)
    scores: dict[str, list[str]] = {}
    for node in trace["nodes"]:
        for branch, score in node.get("scores", ()):
            scores.setdefault(branch, []).append(f"{node['scorer']} {score:.4g}")

    def tree(branch: str) -> TextTree:
        node = texts[branch]
        told = [f"{node['tokens']} tokens, {node['why']}", *scores.get(branch, ())]
        told += [notes[branch]] if branch in notes else []
        told += ["chosen"] if branch == trace["chosen"] else []
        inner = tuple(tree(child) for child in below.get(branch, ()))
        line = f"{branch.rpartition('/')[2]}: {'; '.join(told)}"
        return TextTree(line, shortened(node.get("appended", "") + node["text"]), inner, branch in good)

    calls = [
        TextTree(
            f"{node['method']}: {_told(node.get('answer'))}", "", tuple(_grow({**node, "chosen": None}, notes, good))
        )
        for node in trace["nodes"]
        if node["kind"] == "call" and "method" in node
    ]
    runs = [
        TextTree(f"python: {node['ended']}", shortened(f"{node['code']}\n\n{node['stdout']}"))
        for node in trace["nodes"]
        if node["kind"] == "run"
    ]
    return [*[tree(branch) for branch in below.get("", ())], *calls, *runs]
