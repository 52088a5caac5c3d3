"""Shared parts of the benchmarks: model files, the text, windows, the machine's description."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import open_checkpoint
from intact.cli.perplexity import tokenise
from intact.evaluate.perplexity import cut
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk
from intact.text import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "study" / "records"
"""The results that benchmarks go on from, and that pages are written from."""
MODELS = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
DATA = Path(os.environ.get("INTACT_DATA", ROOT.parent / "shared" / "data")).expanduser()
SHORT = {
    "smollm2-135m": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen-coder-0.5b": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "qwen-coder-1.5b": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3-270m": "gemma-3-270m-q4_k_m.gguf",
}


def model_path(name: str) -> Path:
    """Return a GGUF file, given by path or by its short name under INTACT_MODELS."""
    path = MODELS / SHORT[name] if name in SHORT else Path(name)
    if not path.is_file():
        raise argparse.ArgumentTypeError(
            f"no file {path} (short names: {', '.join(SHORT)}; INTACT_MODELS is their folder)"
        )
    return path


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a parser of comma-separated names."""

    def read(value: str) -> list[str]:
        names = value.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}: expected one of {', '.join(known)}")
        return names

    return read


def text_path(name: str) -> Path:
    """Return a text file; `wikitext2` is the test set under INTACT_DATA."""
    path = DATA / "wikitext2" / "test.txt" if name == "wikitext2" else Path(name)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no file {path} (INTACT_DATA is the folder of wikitext2/test.txt)")
    return path


def parser(description: str | None, text: bool = True) -> argparse.ArgumentParser:
    """Return an argument parser with MODEL... and, optionally, --text."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", type=model_path, metavar="MODEL", help=f"GGUF file, or {', '.join(SHORT)}")
    if text:
        p.add_argument(
            "--text", type=text_path, default="wikitext2", help="file to read (default: wikitext-2's test set)"
        )
    return p


def add_cache(p: argparse.ArgumentParser) -> None:
    """Add --cache, for `requantised`."""
    cache = Path(tempfile.gettempdir()) / "intact-peers"
    p.add_argument("--cache", type=Path, default=cache, metavar="DIR", help=f"for requantised files (default: {cache})")


def tokenizer_of(path: Path) -> Tokenizer:
    """Load a model's tokenizer, without its weights."""
    return Tokenizer.from_checkpoint(open_checkpoint(path))


def excerpt(text: str, context: int, count: int) -> str:
    """Return as much of a text as the windows need; 8 characters per token are more than enough for wikitext."""
    return text[: 8 * context * (count + 1)]


def windows_of(tokenizer: Tokenizer, text: str, context: int, count: int) -> list[list[int]]:
    """Return the first windows of a text, cut as in `intact perplexity`."""
    tokens, bos = tokenise(tokenizer, excerpt(text, context, count))
    found = list(cut(tokens, context, bos))
    if len(found) < count:
        raise SystemExit(f"the text has only {len(found)} windows of {context} tokens")
    return found[:count]


def questions(tokenizer: Tokenizer, count: int) -> list[list[int]]:
    """Return GSM8K's first test questions as tokens, in the chat template if there is one."""
    prompts = []
    with (DATA / "gsm8k" / "test.jsonl").open() as lines:
        for line, _ in zip(lines, range(count), strict=False):
            question = json.loads(line)["question"]
            if tokenizer.chat_template is None:
                prompts.append(tokenizer.encode(f"Question: {question}\nAnswer:"))
            else:
                prompts.append(tokenizer.encode_chat([{"role": "user", "content": question}]))
    return [[int(token) for token in prompt] for prompt in prompts]


def requantised(path: Path, cache: Path, kind: str) -> Path:
    """Return the file in another of llama.cpp's types (`llama_engine.TYPES`), made once by its own quantiser."""
    stat = path.stat()
    target = cache / f"{path.stem}.{stat.st_size:x}-{int(stat.st_mtime):x}.{kind.upper()}.gguf"
    if not target.exists():
        from llama_engine import quantise

        cache.mkdir(parents=True, exist_ok=True)
        print(f"making {target}", file=sys.stderr, flush=True)
        quantise(path, target, kind)
    return target


class Lines:
    """Records in a JSON Lines file, each appended as soon as it is known; a line cut off by a kill is skipped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.all = list(self._read())

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_text("utf-8").splitlines() if self.path.is_file() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def add(self, record: Mapping[str, Any]) -> None:
        self.all.append(dict(record))
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._cut() + json.dumps(record) + "\n")

    def _cut(self) -> bool:
        """Return true if the last line has no line break."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        return bool(data) and not data.endswith(b"\n")


def bootstrap(statistic: NDArray[np.float64], draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of the mean over windows, by resampling windows."""
    rng = np.random.default_rng(seed)
    means = statistic[rng.integers(0, len(statistic), (draws, len(statistic)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def step_seconds(executor: Executor, chunk: SequenceChunk) -> float:
    """Measure the seconds of a step of one sequence, with the logits of its last row."""
    start = time.perf_counter()
    executor.step([chunk], np.array([len(chunk.tokens) - 1]))
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """Describe the processor, the available cores and the software."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = lines[0] if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "cores": cores, "system": platform.platform(), "python": platform.python_version()}
