"""Wrong answers as expandable trees: the question, then every completion in the order of forks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from intact._base.markup.tree import scores_of, texts_of
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import TextTree
from intact.evaluate.results import ItemRecord

MOST = 20
"""Maximum number of failures shown for a run."""
LONGEST = 4000
"""Maximum number of characters shown for a completion."""


def failures(arm: ReportArm) -> list[TextTree]:
    """Return the first wrong answers of a run, with their completions.

    Raises
    ------
    FormatError
        If a tree is damaged.
    """
    found: list[TextTree] = []
    with arm.trees() as trees:
        wrong = ((record, trace) for record, trace in trees if not record.correct and trace["nodes"])
        for record, trace in islice(wrong, MOST):
            marks = {
                one.branch: f"{'right' if one.correct else 'wrong'}: {_short_answer(one.answer)}"
                for one in record.samples
            }
            good = {sample.branch for sample in record.samples if sample.correct}
            inner = tuple(_grow(trace, marks, good))
            found.append(TextTree(_line(arm, record), _question(trace["prompt"]), inner))
    return found


def _line(arm: ReportArm, record: ItemRecord) -> str:
    """Describe a wrong answer in one line."""
    seed = f", seed {record.seed}" if len(arm.run.manifest["seeds"]) > 1 else ""
    line = f"{record.id}{seed}: {_short_answer(record.answer)}, right is {_short_answer(record.right)}"
    if len(record.samples) > 1:
        line += f"; {sum(bool(sample.correct) for sample in record.samples)} of {len(record.samples)} samples right"
    if record.why != "done":
        line += f" ({record.why}: {record.error})" if record.error else f" ({record.why})"
    return line


def _input(values: Mapping[str, Any]) -> str:
    """Return the input of a tool call: a program, or the steps of a proof."""
    return str(values["code"]) if "code" in values else "\n".join(values.get("steps", ()))


def _short_answer(answer: str | None) -> str:
    text = "no answer" if answer is None else " ".join(answer.split())
    return text if len(text) <= 80 else text[:79] + "…"


def _question(prompt: str | Sequence[Sequence[str]]) -> str:
    """Format a prompt; a conversation becomes all its turns, each preceded by its role."""
    text = prompt if isinstance(prompt, str) else "\n\n".join(f"{role}: {content}" for role, content in prompt)
    return shortened(text)


def shortened(text: str) -> str:
    """Return the text, or only its beginning and end if it is too long."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n… {len(text) - LONGEST:,} characters …\n{text[-half:]}"


def _grow(trace: Mapping[str, Any], notes: Mapping[str, str], good: set[str]) -> list[TextTree]:
    """Return each completion nested under the one it continues, then calls to other methods, programs and tools."""
    texts, scores = texts_of(trace["nodes"]), scores_of(trace["nodes"])
    below: dict[str, list[str]] = {}
    for branch, node in texts.items():
        parent = node["parent"] if node["parent"] in texts else ""
        below.setdefault(parent, []).append(branch)

    def tree(branch: str) -> TextTree:
        node = texts[branch]
        facts = [f"{node['tokens']} tokens, {node['why']}", *scores.get(branch, ())]
        facts += [notes[branch]] if branch in notes else []
        facts += ["chosen"] if branch == trace["chosen"] else []
        inner = tuple(tree(child) for child in below.get(branch, ()))
        line = f"{branch.rpartition('/')[2]}: {'; '.join(facts)}"
        return TextTree(line, shortened(node.get("appended", "") + node["text"]), inner, branch in good)

    calls = [
        TextTree(
            f"{node['method']}: {_short_answer(node.get('answer'))}",
            "",
            tuple(_grow({**node, "chosen": None}, notes, good)),
        )
        for node in trace["nodes"]
        if node["kind"] == "call" and "method" in node
    ]
    runs = [
        TextTree(f"python: {node['ended']}", shortened(f"{node['code']}\n\n{node['stdout']}"))
        for node in trace["nodes"]
        if node["kind"] == "run"
    ]
    runs += [
        TextTree(f"{node['tool']}: {node['ended']}", shortened(f"{_input(node['values'])}\n\n{node['text']}"))
        for node in trace["nodes"]
        if node["kind"] == "tool"
    ]
    return [*[tree(branch) for branch in below.get("", ())], *calls, *runs]
