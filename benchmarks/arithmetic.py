"""Measure what a program's arithmetic does to a model, and whether its outputs are deterministic.

    python benchmarks/arithmetic.py MODEL... --results DIR [--parts fidelity,task,determinism] [--minutes 9]

fidelity: logits on windows of wikitext-2, compared with the fp32 profile on the same file and on the file as shipped.
The files are the shipped one and the same requantised by llama.cpp; their dequantised weights are the baseline of the
formats. Scored positions are those of llama.cpp's perplexity and KL divergence: the 255 in the second half of each
window of 512 whose next token is known; if the model needs a first token, it replaces the first one of each window.
task: the most likely choice for each question. Both come with 95% intervals: by resampling windows, and Bonett and
Price's for paired choices.

determinism: GSM8K's first test questions, answered greedily in several settings: alone, among others, with two threads,
with a chunked prompt. It counts the questions whose answer differs from the one given alone.

Each program runs in its own process. Results are kept in DIR, one file per program and setting. The command can be
stopped at any time (or stops itself after --minutes) and continues from there, also with other programs, windows or
questions. A program that is not installed is left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import common
import numpy as np
from arithmetic_report import Cells, report
from common import Lines, names_of
from peers_scores import differences, groups
from peers_worker import Worker

from intact._base.files import write_whole
from intact.cli.perplexity import tokenise
from intact.evaluate.likelihood import encode_pair
from intact.tasks.task import find_task


class Program(NamedTuple):
    """A program under test: a side with options."""

    title: str
    side: str
    options: Mapping[str, Any] = MappingProxyType({})


PROGRAMS = {
    "fp32": Program("intact, fp32", "intact", {"profile": "fp32"}),
    "int8": Program("intact, int8", "intact"),
    "llama": Program("llama.cpp", "llama"),
    "plain": Program("llama.cpp, flash attention off", "llama", {"flash": False}),
    "transformers": Program("Transformers, BF16", "transformers", {"dtype": "bfloat16"}),
    "openvino": Program("OpenVINO GenAI", "openvino"),
}
REFERENCE = "fp32"
NO_LOGITS = ("openvino",)
DEQUANTISED = ("transformers",)
"""Programs that never compute on a file's own format; they run only on the file as shipped."""
WEIGHTS = {"shipped": "as shipped", "f16": "F16", "q8_0": "Q8_0", "q4_k_m": "Q4_K_M", "q4_0": "Q4_0"}


class Setting(NamedTuple):
    """The way in which prompts are answered; it should not affect the answers."""

    title: str
    together: int = 1
    threads: int = 1
    chunk: int = 512


SETTINGS = {
    "alone": Setting("alone"),
    "again": Setting("again, in a new process"),
    "together8": Setting("8 at once", together=8),
    "together32": Setting("32 at once", together=32),
    "threads2": Setting("2 threads", threads=2),
    "chunk32": Setting("prompt in chunks of 32", chunk=32),
}
PARTS = ("fidelity", "task", "determinism")


class OutOfTimeError(Exception):
    """Raised when --minutes are over."""


class Bench:
    """The context of a run: its arguments, folder and time limit."""

    def __init__(self, args: Any) -> None:
        self.args = args
        self.folder: Path = args.results
        self.end = time.monotonic() + 60 * args.minutes
        self.text: str = args.text.read_text()
        self._known("conditions", self.conditions())
        for model in args.models:
            self._known(f"{model.stem}/file", {"bytes": model.stat().st_size})

    def conditions(self) -> dict[str, Any]:
        """Return the conditions that all results in a folder must share."""
        args = self.args
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        told = {"text": digest, "context": args.context, "task": args.task, "tokens": args.tokens}
        return told | {"processor": common.machine()["processor"]}

    def _known(self, name: str, told: dict[str, Any]) -> None:
        """Store facts on first use, or check that they match the stored ones."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(told) + "\n")
        before = json.loads(path.read_text())
        for key, value in told.items():
            if before.get(key) != value:
                raise SystemExit(
                    f"{self.folder} has results of {name} with {key} {before.get(key)!r}, but this run has {value!r}: "
                    "choose another folder with --results"
                )

    def lines(self, model: Path, name: str) -> Lines:
        return Lines(self.folder / model.stem / f"{name}.jsonl")

    def tick(self) -> None:
        """Raise OutOfTimeError if the time is over."""
        if time.monotonic() > self.end:
            raise OutOfTimeError

    @contextmanager
    def worker(self, file: Path, name: str, **options: Any) -> Iterator[Worker | None]:
        """Provide a worker for a program on a file; None if it cannot run."""
        self.tick()
        program = PROGRAMS[name]
        threads = options.pop("threads", self.args.threads)
        worker = Worker(program.side, file, "wall", threads, **program.options, **options)
        try:
            if "error" in worker.about:
                print(f"{file.name}: without {program.title}: {worker.about['error']}", file=sys.stderr, flush=True)
                yield None
            else:
                self._known(program.side, {"version": worker.about["version"]})
                yield worker
        finally:
            worker.close()

    def say(self, *words: object) -> None:
        if self.args.progress:
            print(f"{time.strftime('%H:%M:%S')}  " + ", ".join(map(str, words)), file=sys.stderr, flush=True)


class References:
    """Logits of the fp32 profile, kept as long as they may be needed for comparison."""

    def __init__(self, bench: Bench, model: Path, windows: list[list[int]]) -> None:
        self.bench, self.model, self.windows = bench, model, windows
        self.folder = bench.folder / model.stem / "reference"

    def path(self, kind: str, index: int) -> Path:
        return self.folder / f"{kind}.{index}.npy"

    def make(self, kind: str, file: Path, indices: Iterable[int]) -> None:
        missing = [i for i in indices if not self.path(kind, i).exists()]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.bench.worker(file, REFERENCE) as worker:
            if worker is None:
                raise SystemExit(1)
            for i in missing:
                self.bench.tick()
                part = self.folder / "part.npy"
                worker("store", self.windows[i], first_scored(self.windows[i]), str(part))
                part.rename(self.path(kind, i))
                self.bench.say(self.model.stem, WEIGHTS[kind], "reference", i)

    def drop(self, kind: str) -> None:
        for path in self.folder.glob(f"{kind}.*.npy"):
            path.unlink()


def first_scored(window: Sequence[int]) -> int:
    """Return the first position whose next token is scored."""
    return len(window) // 2


def file_of(model: Path, kind: str, bench: Bench) -> Path:
    return model if kind == "shipped" else common.requantised(model, bench.args.cache, kind)


def programs_on(kind: str, args: Any) -> list[str]:
    """Return the programs whose logits are compared on a kind of file."""
    wanted = [REFERENCE, *(name for name in args.programs if name != REFERENCE)]
    return [name for name in wanted if name not in NO_LOGITS and (kind == "shipped" or name not in DEQUANTISED)]


def fidelity(bench: Bench, model: Path) -> None:
    """Compare logits on windows for every program on every file."""
    args = bench.args
    windows = common.windows_of(common.tokenizer_of(model), bench.text, args.context, args.windows)
    references = References(bench, model, windows)
    for kind in args.weights:
        missing: dict[str, list[int]] = {}
        for name in programs_on(kind, args):
            known = {line["window"] for line in bench.lines(model, f"{kind}.{name}.windows").all}
            missing[name] = [i for i in range(args.windows) if i not in known]
        wanted = sorted({i for several in missing.values() for i in several})
        if not wanted:
            continue
        file = file_of(model, kind, bench)
        references.make("shipped", model, wanted)
        references.make(kind, file, wanted)
        for name, indices in missing.items():
            if indices:
                compare(bench, model, kind, name, indices, references)
        if kind != "shipped":
            references.drop(kind)
    references.drop("shipped")


def compare(bench: Bench, model: Path, kind: str, name: str, indices: Sequence[int], references: References) -> None:
    """Compare one program's logits on one file; the reference's own logits are already stored."""
    lines = bench.lines(model, f"{kind}.{name}.windows")

    def add(i: int, worker: Worker | None) -> None:
        bench.tick()
        window = references.windows[i]
        first = first_scored(window)
        paths = {"same": str(references.path(kind, i)), "shipped": str(references.path("shipped", i))}
        if worker is None:
            found = differences(np.load(paths["same"]), window[first + 1 :], paths)
        else:
            found = worker("compare", window, first, paths)
        lines.add({"window": i, **found})
        bench.say(model.stem, WEIGHTS[kind], PROGRAMS[name].title, i, f"KL {found['same']['kl']:.6f}")

    if name == REFERENCE:
        for i in indices:
            add(i, None)
        return
    with bench.worker(file_of(model, kind, bench), name) as worker:
        if worker is None:
            return
        if PROGRAMS[name].side == "llama" and not same_tokens(bench, model, worker):
            raise SystemExit(
                f"{model}: llama.cpp tokenises the text differently, or has another rule for its first token"
            )
        for i in indices:
            add(i, worker)


def same_tokens(bench: Bench, model: Path, llama: Worker) -> bool:
    """Return true if llama.cpp tokenises the text like intact."""
    text = common.excerpt(bench.text, bench.args.context, bench.args.windows)
    return bool(llama("same_tokens", text, *tokenise(common.tokenizer_of(model), text)))


def choices(bench: Bench, model: Path) -> None:
    """Compute likelihoods of the choices of questions for every program on every file."""
    args = bench.args
    task, tokenizer = find_task(args.task), common.tokenizer_of(model)
    items = task.load(limit=args.questions, folder=common.DATA)
    for kind in args.weights:
        for name in programs_on(kind, args):
            lines = bench.lines(model, f"{kind}.{name}.choices")
            known = {line["id"] for line in lines.all}
            missing = [item for item in items if item.id not in known]
            if not missing:
                continue
            with bench.worker(file_of(model, kind, bench), name) as worker:
                if worker is None:
                    continue
                for item in missing:
                    bench.tick()
                    texts = [encode_pair(tokenizer, task.base(item), f" {choice}") for choice in item.data["choices"]]
                    found = worker("likelihoods", texts)
                    lines.add({"id": item.id, "right": int(item.answer), "nats": found})
                bench.say(model.stem, WEIGHTS[kind], PROGRAMS[name].title, args.task)


def determinism(bench: Bench, model: Path) -> None:
    """Collect greedy answers of every program under every setting."""
    args = bench.args
    prompts = common.questions(common.tokenizer_of(model), args.prompts)
    for name in args.programs:
        for key in args.settings:
            setting = SETTINGS[key]
            lines = bench.lines(model, f"{name}.{key}.outputs")
            known = {line["prompt"] for line in lines.all}
            whole = groups(range(len(prompts)), setting.together)
            missing = [group for group in whole if not known.issuperset(group)]
            if not missing:
                continue
            with bench.worker(model, name, threads=setting.threads, chunk=setting.chunk) as worker:
                if worker is None:
                    break
                for group in missing:
                    bench.tick()
                    found = worker("outputs", [prompts[i] for i in group], args.tokens, setting.together)
                    for i, tokens in zip(group, found, strict=True):
                        if i not in known:
                            lines.add({"prompt": i, "tokens": tokens})
                bench.say(model.stem, PROGRAMS[name].title, setting.title)


WORK = {"fidelity": fidelity, "task": choices, "determinism": determinism}


def cells_of(bench: Bench, models: Iterable[Path]) -> Cells:
    """Return all stored results for the requested models, programs and settings."""
    found: Cells = {"fidelity": {}, "task": {}, "determinism": {}}
    for model in models:
        for part, ending in (("fidelity", "windows"), ("task", "choices")):
            for kind in bench.args.weights:
                for name in programs_on(kind, bench.args):
                    lines = bench.lines(model, f"{kind}.{name}.{ending}").all
                    found[part][model.stem, kind, name] = {line.get("window", line.get("id")): line for line in lines}
        for name in bench.args.programs:
            for key in bench.args.settings:
                lines = bench.lines(model, f"{name}.{key}.outputs").all
                found["determinism"][model.stem, name, key] = {line["prompt"]: line["tokens"] for line in lines}
    return found


def main() -> None:
    p = common.parser(__doc__)
    p.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder of results; created if missing")
    p.add_argument("--parts", type=names_of(PARTS), default=",".join(PARTS), help="default: all")
    p.add_argument(
        "--programs",
        type=names_of(PROGRAMS),
        default="int8,llama,plain,transformers,openvino",
        help=f"of {', '.join(PROGRAMS)} (default: all but fp32, which fidelity and task have in any case)",
    )
    p.add_argument(
        "--weights",
        type=names_of(WEIGHTS),
        default="shipped,q8_0,q4_k_m,q4_0",
        help=f"of {', '.join(WEIGHTS)} (default: all but f16)",
    )
    p.add_argument("--settings", type=names_of(SETTINGS), default=",".join(SETTINGS), help="default: all")
    p.add_argument("--windows", type=int, default=20)
    p.add_argument("--context", type=int, default=512, help="tokens per window")
    p.add_argument(
        "--task", default="arc_easy_likelihood", help="task judged by likelihoods; its data are in $INTACT_DATA"
    )
    p.add_argument("--questions", type=int, default=100, help="number of questions of the task")
    p.add_argument("--prompts", type=int, default=100, help="number of prompts whose answers are compared")
    p.add_argument("--tokens", type=int, default=64, help="maximum tokens of an answer")
    p.add_argument(
        "--threads", type=int, default=0, help="threads where the setting does not vary them (default: all cores)"
    )
    common.add_cache(p)
    p.add_argument("--minutes", type=float, default=float("inf"), help="start nothing new after this many minutes")
    p.add_argument("--table", type=Path, metavar="FILE", help="also write the tables to this file")
    p.add_argument("--json", action="store_true", help="print numbers instead of tables")
    p.add_argument("--progress", action="store_true", help="report progress")
    args = p.parse_args()
    bench = Bench(args)
    try:
        for part in args.parts:
            for model in args.models:
                WORK[part](bench, model)
    except (OutOfTimeError, KeyboardInterrupt):
        print("stopped: run the same command again to continue", file=sys.stderr)
    names = {name: program.title for name, program in PROGRAMS.items()}
    found = report(cells_of(bench, args.models), names, WEIGHTS, {key: s.title for key, s in SETTINGS.items()})
    if args.table:
        args.table.write_text(found.markdown, "utf-8")
    print(json.dumps({"machine": common.machine(), **found.numbers}, indent=2) if args.json else found.markdown)


if __name__ == "__main__":
    main()
