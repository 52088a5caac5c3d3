"""Compare methods with its_hub, optillm and TreeQuest on llama.cpp's server: right answers, tokens and seconds.

    python benchmarks/method_peers.py qwen-coder-0.5b --llama-server llama-server --problems 20
    python benchmarks/method_peers.py qwen-coder-0.5b --problems 20 --done

All sides use the same file, question, maximum tokens per text and cores. They answer each problem in turns, so all see
the same variations of the machine's speed, and the others wait while one works. Votes read answers as the task does.
TreeQuest leaves prompts and scores to its user: it gets the prompts of our method, and as score the mean token
probability that the server reports. optillm samples at temperature 1 and has no setting for that; our method does the
same in that comparison.

Tokens are all generated tokens, including judgements; the server's are its own count. Outcomes are kept in --records;
the run can be stopped at any time and continues from there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
from agent_servers import Server
from method_peers_sides import OURS, ROWS, THEIRS, LlamaServer

import intact
from intact.reason import find
from intact.reason.backends.native import NativeBackend
from intact.solving.run import solve_items
from intact.stats.intervals import wilson
from intact.tasks.choose import choose


class Outcome(NamedTuple):
    """The outcome of a problem."""

    model: str
    side: str
    row: str
    id: str
    correct: bool
    tokens: int
    seconds: float


def ours(backend: NativeBackend, row: str, task: Any, item: Any, options: argparse.Namespace) -> tuple[bool, int]:
    """Answer a problem with our method; return whether it is right, and the number of tokens."""
    method, parameters, temperature = OURS[row]
    sampling = {"temperature": temperature, "max_tokens": options.max_tokens}
    (graded,) = solve_items({"main": backend}, find(method), task, [item], parameters, sampling=sampling, seed=0)
    return bool(graded.correct), graded.result.cost.tokens


def theirs(server: LlamaServer, row: str, side: str, task: Any, item: Any) -> tuple[bool, int]:
    """Answer a problem with another program; return whether it is right, and the number of tokens."""
    before = server.tokens()
    ((_, question),) = task.problem(item, "chat", 0).prompt
    text = THEIRS[row][side](server, question, lambda text: task.read(item, text, False))
    return bool(task.task.grade(item, task.read(item, text, False))), server.tokens() - before


def table(outcomes: Sequence[Outcome]) -> str:
    """Return Markdown with a line for each method and program."""
    lines = ["| method | program | problems | right | 95% | tokens | seconds | tokens a second |", "|---" * 8 + "|"]
    for row in ROWS:
        for side in ("intact", *THEIRS[row]):
            own = [o for o in outcomes if (o.row, o.side) == (row, side)]
            if not own:
                continue
            correct, count = sum(o.correct for o in own), len(own)
            low, high = wilson(correct, count)
            tokens, seconds = (float(np.mean([getattr(o, name) for o in own])) for name in ("tokens", "seconds"))
            cells = [row, side, str(count), f"{correct / count:.1%}", f"{low:.1%} to {high:.1%}"]
            lines.append(f"| {' | '.join([*cells, f'{tokens:,.0f}', f'{seconds:.1f}', f'{tokens / seconds:.0f}'])} |")
    return "\n".join(lines)


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--llama-server", type=Path, metavar="FILE", help="llama.cpp's server")
    p.add_argument("--task", default="gsm8k", help="task as in `intact eval`; its data are in $INTACT_DATA")
    p.add_argument(
        "--problems", type=int, default=20, metavar="N", help="number of problems, from the first (default 20)"
    )
    p.add_argument("--max-tokens", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--records", type=Path, default=common.RECORDS, metavar="DIR", help="file of outcomes")
    p.add_argument("--done", action="store_true", help="run nothing; print a table of the stored results")
    options = p.parse_args()
    if options.llama_server is None and not options.done:
        p.error("--llama-server names the program that the others drive")
    task = choose(options.task)
    items = task.load(options.problems)
    lines = common.Lines(options.records / "method_peers.jsonl")
    for path in options.models:
        known = [Outcome(**record) for record in lines.all if record["model"] == path.stem]
        if not options.done:
            known = run(path, task, items, known, lines, options)
        asked = {item.id for item in items}
        print(f"\n{path.stem}\n\n{table([outcome for outcome in known if outcome.id in asked])}")


def run(
    path: Path,
    task: Any,
    items: Sequence[Any],
    known: list[Outcome],
    lines: common.Lines,
    options: argparse.Namespace,
) -> list[Outcome]:
    """Run the missing problems, one by one."""
    done = {(outcome.row, outcome.side, outcome.id) for outcome in known}
    model = intact.load(path, threads=options.threads)
    backend = NativeBackend(model)
    with tempfile.TemporaryDirectory() as folder:
        process = Server("llama.cpp", path, options.llama_server, Path(folder) / "log", ("--metrics",))
        process.start(options.threads, cache=True)
        server = LlamaServer(process.url, options.max_tokens)
        try:
            for item in items:
                for row, side in [(name, side) for name in ROWS for side in ("intact", *THEIRS[name])]:
                    if (row, side, item.id) in done:
                        continue
                    began = time.monotonic()
                    if side == "intact":
                        correct, tokens = ours(backend, row, task, item, options)
                    else:
                        correct, tokens = theirs(server, row, side, task, item)
                    seconds = time.monotonic() - began
                    known.append(Outcome(path.stem, side, row, item.id, correct, tokens, round(seconds, 3)))
                    lines.add(known[-1]._asdict())
                    print(f"{item.id}, {row}, {side}: {correct}, {tokens} tokens, {seconds:.1f} s", flush=True)
        except KeyboardInterrupt:
            print("stopped: run the same command again to continue")
        finally:
            process.stop()
            model.close()
    return known


if __name__ == "__main__":
    main()
