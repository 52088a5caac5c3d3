"""``intact trace``: show the tree of completions behind an answer in the terminal."""

from __future__ import annotations

import json as decoder
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from intact._base.errors import FormatError, ParameterError
from intact._base.files import numbered_lines, read_text
from intact._base.markup.tree import scores_of, texts_of, way_to
from intact.cli.options import JsonOption
from intact.cli.output import emit, out, printable

EXAMPLES = """\
The tree of a single answer
  intact solve self_consistency "What is 17 * 23?" --trace answer.json
  intact trace show answer.json
The tree of one problem among many
  intact trace show runs/gsm8k/answers.jsonl --id gsm8k/test/17
The tree for one of several tasks and seeds with the same problem
  intact trace show levels.traces.jsonl --id gsm8k_numbers/test/17 --task 1 --seed 2
"""

_LONGEST = 100
_STYLES = {
    "end": "green",
    "closed": "green",
    "stop": "cyan",
    "length": "yellow",
    "cancelled": "dim",
    "budget": "magenta",
    "error": "red",
}


def show(
    file: Annotated[Path, typer.Argument(help="File written by --trace or --journal.")],
    id: Annotated[str | None, typer.Option("--id", help="Problem, if the file has several.")] = None,  # noqa: A002
    task: Annotated[
        int | None, typer.Option("--task", min=0, help="Task of an evaluation, as an index from 0.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed, if a problem was solved with several.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show completions in full, not only excerpts.")] = False,
    json: JsonOption = False,
) -> None:
    """Show forks, scores, costs and the winning path."""
    trace = choose(read(file), {"id": id, "task": task, "seed": seed}, file)
    if json:
        emit(trace)
    else:
        try:
            drawn = tree(_printable(trace), full)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(
                f"the trace in {file} is incomplete ({type(error).__name__}: {error}); "
                "expected a file written by `intact solve --trace` or `--journal`"
            ) from error
        out().print(drawn)


def _printable(value: Any) -> Any:
    """Return a trace with all strings made safe for the terminal."""
    if isinstance(value, dict):
        return {name: _printable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return printable(value, sys.stdout) if isinstance(value, str) else value


def read(file: Path) -> list[dict[str, Any]]:
    """Return the traces in a file: a single trace, a result that contains one, or one per line.

    Raises
    ------
    FormatError
        If the file contains no trace.
    """
    text = read_text(file)
    try:
        try:
            values = [decoder.loads(text)]
        except ValueError:
            values = [decoder.loads(line) for _, line in numbered_lines(text)]
    except ValueError as error:
        raise FormatError(f"{file} is not valid JSON: {error}") from error
    found = [value.get("trace", value) if isinstance(value, dict) else None for value in values]
    traces = [trace for trace in found if isinstance(trace, dict) and isinstance(trace.get("nodes"), list)]
    if not traces:
        raise FormatError(f"{file} contains no trace; expected a file written by `intact solve --trace` or `--journal`")
    return traces


def choose(traces: list[dict[str, Any]], wanted: Mapping[str, object], file: Path) -> dict[str, Any]:
    """Return the only trace with the requested fields: `id`, and for evaluations `task` and `seed`; None matches any.

    Raises
    ------
    ParameterError
        If no trace or several match; the message states how those differ.
    """
    left = traces
    for name, value in wanted.items():
        kept = [trace for trace in left if value is None or trace.get(name) == value]
        if not kept:
            there = ", ".join(dict.fromkeys(str(trace.get(name)) for trace in left))
            raise ParameterError(f"{file} has no trace of {name} {value!r}; it has {there[:200]}")
        left = kept
    if len(left) == 1:
        return left[0]
    options = [f"--{name} {left[0][name]}" for name in wanted if len({str(trace.get(name)) for trace in left}) > 1]
    if not options:
        raise ParameterError(f"{file} has {len(left)} traces of the same problem, task and seed; expected one")
    raise ParameterError(f"{file} has {len(left)} matching traces: choose one with {', '.join(options)}")


def tree(trace: dict[str, Any], full: bool = False) -> Any:
    """Return a trace as a tree for the terminal."""
    from rich.tree import Tree

    cost = trace.get("cost", {})
    head = Text.assemble(
        (f"{trace['method']} ", "bold"), f"{trace['id']}  →  ", (str(trace.get("answer")), "bold green")
    )
    head.append(f"\n{cost.get('tokens', 0):,} tokens, {cost.get('sequential', 0):,} one after the other", "dim")
    if trace.get("why") != "done":
        head.append(f"  {trace.get('why')}", "magenta")
    top = Tree(head)
    _grow(top, trace["nodes"], str(trace.get("chosen") or ""), full)
    return top


def _grow(top: Any, nodes: list[dict[str, Any]], chosen: str, full: bool) -> None:
    """Attach each completion below the one that it continues, followed by calls to other methods.

    An only child is placed under its parent without an indent, so that a long chain of steps stays within the terminal.
    """
    texts, scores = texts_of(nodes), scores_of(nodes)
    winning = set(way_to(texts, chosen))
    children = Counter(node["parent"] for node in texts.values())
    grown: dict[str, Any] = {}
    for branch, node in texts.items():
        line = _line(node, scores.get(branch, []), branch in winning, full)
        parent = grown.get(node["parent"])
        if parent is not None and children[node["parent"]] == 1:
            parent.label.append("\n").append(line)
            grown[branch] = parent
        else:
            grown[branch] = (parent or top).add(line)
    for node in nodes:
        if node["kind"] == "call" and (full or "method" in node):  # a scorer's calls are rarely of interest
            name = node.get("method") or node.get("scorer") or "a scorer"
            below = top.add(Text.assemble((name, "bold"), f" → {node.get('answer') or node['ended']}"))
            _grow(below, node["nodes"], chosen, full)
        elif node["kind"] == "shared":
            top.add(_shared(node, full))
        elif node["kind"] == "run":
            top.add(Text.assemble(("python ", "bold"), node["ended"]))
        elif node["kind"] == "tool":
            top.add(_tool(node, full))


def _shared(node: Mapping[str, Any], full: bool) -> Text:
    """Format a text that workers wrote together: the worker that ended it, and the text."""
    from intact.engine.shared_cache.rules import NAMES

    steps, by = node["steps"], node["by"]
    tokens = sum(len(step[-1]) for step in steps) + len(node["conclusion"])
    end = node["ended"] if by is None else f"{node['ended']} by {NAMES[by]}"
    line = Text.assemble((f"{node['branch'].rpartition('/')[2]} ", "bold"), end)
    line.append(f" {tokens} tokens in {len(steps)} steps of {node['rounds']} rounds", "dim")
    return line.append("\n" + (node["text"] if full else " ".join(_excerpt(node["text"]).split())), "dim")


def _excerpt(text: str) -> str:
    """Return the beginning and the end of a long text."""
    return text if len(text) <= _LONGEST else text[: _LONGEST // 2] + " … " + text[-_LONGEST // 2 :]


def _tool(node: Mapping[str, Any], full: bool) -> Text:
    """Format a tool call: its status and output; with `full` also its inputs."""
    line = Text.assemble((f"{node['tool']} ", "bold"), (node["ended"], "" if node["ended"] == "ok" else "red"))
    line.append("" if node["replayable"] else "  recorded, cannot be repeated", "magenta")
    inputs = [f"{name}: {value}" for name, value in node["values"].items() if value != []] if full else []
    text = node["text"].rstrip("\n")
    excerpt = text if full else _excerpt(text)
    for part in (*inputs, excerpt):
        line.append("\n" + part if part else "", "dim")
    return line


def _line(node: Mapping[str, Any], scores: list[str], winning: bool, full: bool) -> Any:
    number = node["branch"].rpartition("/")[2]
    line = Text.assemble(
        (f"{number} ", "bold green" if winning else "bold"), (node["why"], _STYLES.get(node["why"], ""))
    )
    line.append(f" {node['tokens']} tokens, {node['logprob'] / max(1, node['tokens']):.3f} nats each", "dim")
    if scores:
        line.append("  " + ", ".join(scores), "blue")
    text = node.get("appended", "") + node["text"]
    excerpt = text if full else _excerpt(text)
    line.append("\n" + (excerpt if full else " ".join(excerpt.split())), "" if winning else "dim")
    return line
