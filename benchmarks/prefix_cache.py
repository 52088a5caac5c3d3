"""Measure the time to the first token after a long system prompt: cold, from memory, and from a folder after a restart.

    python benchmarks/prefix_cache.py smollm2-135m [--tokens 2000] [--repeats 5]

Each round measures all of them, one after the other, so that changes in the machine's speed affect all alike; the
table has medians, minimum and maximum. Every round asks another question after the same system prompt:

- cold: a model that was just loaded;
- memory: the same model after one answer;
- folder: a model just loaded with `prefix_cache=FOLDER`, in which an earlier model stored the system prompt; the
  files are in the system's cache;
- folder, disk: the same after evicting the files from the system's cache (`posix_fadvise`), so that the disk is read.

The first tokens of the last three, whose prompts are the same, are compared. Loading is timed separately: with a folder
it includes the model's digest, which is remembered; the first time, its weights are read for it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import machine, parser

import intact
from intact.measure.bench.passage import TEXT

KINDS = ("cold", "memory", "folder", "folder, disk")


def loaded(path: Path, threads: int | None, folder: Path | None) -> tuple[intact.Model, float]:
    """Load a model, and return it with the seconds that loading took."""
    began = time.perf_counter()
    model = intact.load(path, threads=threads, drafter="off", prefix_cache=True if folder is None else folder)
    return model, time.perf_counter() - began


def first_token(model: intact.Model, prompt: list[int]) -> tuple[int, float]:
    """Return the first token after a prompt, and the seconds until it came."""
    began = time.perf_counter()
    stream = model.stream(prompt, max_tokens=1)
    token = next(stream).token
    seconds = time.perf_counter() - began
    list(stream)
    return token, seconds


def forget(folder: Path) -> None:
    """Evict files from the system's cache."""
    for file in folder.glob("*/*"):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def one_round(
    path: Path, threads: int | None, folder: Path, prompts: list[list[int]]
) -> dict[str, tuple[int, float, float]]:
    """Return the first token, the seconds until it came, and the seconds of loading for each kind."""
    found = {}
    model, loading = loaded(path, threads, None)
    with model:
        found["cold"] = (*first_token(model, prompts[0]), loading)
        again, seconds = first_token(model, prompts[1])
        found["memory"] = (again, seconds, 0.0)
    for kind in KINDS[2:]:
        if kind == "folder, disk":
            forget(folder)
        model, loading = loaded(path, threads, folder)
        with model:
            found[kind] = (*first_token(model, prompts[1]), loading)
            assert model.engine.stores[0].counts.damaged == 0
            assert model.engine.counters.cached_tokens > len(prompts[1]) - 100
    return found


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--tokens", type=int, default=2000, help="approximate tokens of the system prompt (default: 2000)")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--threads", type=int)
    arguments = p.parse_args()
    print(" · ".join(map(str, machine().values())))
    for path in arguments.models:
        measure(path, arguments.tokens, arguments.repeats, arguments.threads)


def measure(path: Path, count: int, repeats: int, threads: int | None) -> None:
    """Print the table of one model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pages"
        model, first_load = loaded(path, threads, folder)
        with model:
            words = model.tokenizer.encode(TEXT * (1 + count // 1000))[:count]
            questions = [model.tokenizer.encode(f" Question {i}: what does the clockmaker do?") for i in range(repeats)]
            first_token(model, words + model.tokenizer.encode(" Who are you?"))
        pages = [file for file in folder.glob("*/*") if len(file.name) == 64]
        megabytes = sum(file.stat().st_size for file in pages) / 1e6
        rounds: list[dict[str, Any]] = []
        for question in questions:
            prompts = [words + text for text in (question[:-1], question)]
            rounds.append(one_round(path, threads, folder, prompts))
            tokens = {rounds[-1][kind][0] for kind in KINDS[1:]}
            assert len(tokens) == 1, "the first tokens differ"
        print(
            f"\n{path.name}: system prompt of {len(words)} tokens, {len(pages)} pages, {megabytes:.1f} MB in the folder"
        )
        print(f"loading with a folder the first time, digest included: {first_load:.2f} s\n")
        print("| first token | median, s | least | most | loading before, median s |")
        print("|---|---|---|---|---|")
        for kind in KINDS:
            seconds = [one[kind][1] for one in rounds]
            loading = statistics.median(one[kind][2] for one in rounds)
            median, least, most = statistics.median(seconds), min(seconds), max(seconds)
            print(f"| {kind} | {median:.3f} | {least:.3f} | {most:.3f} | {loading:.2f} |")
        cold = statistics.median(one["cold"][1] for one in rounds)
        for kind in KINDS[1:]:
            print(f"{kind}: {cold / statistics.median(one[kind][1] for one in rounds):.1f} times sooner than cold")


if __name__ == "__main__":
    main()
