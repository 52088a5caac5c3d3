"""What the benchmarks share: model files, the text, windows, the machine's description."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intact.cli.perplexity import tokenise
from intact.evaluate.perplexity import cut
from intact.library import Model

ROOT = Path(__file__).resolve().parent.parent
MODELS = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
DATA = Path(os.environ.get("INTACT_DATA", ROOT.parent / "shared" / "data")).expanduser()
SHORT = {
    "smollm2-135m": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen-coder-0.5b": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "qwen-coder-1.5b": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3-270m": "gemma-3-270m-q4_k_m.gguf",
}


def model_path(name: str) -> Path:
    """A GGUF file, by path or by its short name under INTACT_MODELS."""
    path = MODELS / SHORT[name] if name in SHORT else Path(name)
    if not path.is_file():
        raise argparse.ArgumentTypeError(
            f"no file {path} (short names: {', '.join(SHORT)}; INTACT_MODELS names their folder)"
        )
    return path


def text_path(name: str) -> Path:
    """A text file; `wikitext2` is the test set under INTACT_DATA."""
    path = DATA / "wikitext2" / "test.txt" if name == "wikitext2" else Path(name)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no file {path} (INTACT_DATA names the folder of wikitext2/test.txt)")
    return path


def parser(description: str | None, text: bool = True) -> argparse.ArgumentParser:
    """A parser with MODEL..., and --text."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", type=model_path, metavar="MODEL", help=f"GGUF file, or {', '.join(SHORT)}")
    if text:
        p.add_argument(
            "--text", type=text_path, default="wikitext2", help="file to read (default: wikitext-2's test set)"
        )
    return p


def windows_of(model: Model, text: str, context: int, count: int) -> list[list[int]]:
    """The first windows of a text, as `intact perplexity` cuts them."""
    # the whole text is tokenised only as far as it is needed; 8 bytes a token are plenty for wikitext
    tokens, bos = tokenise(model.tokenizer, text[: 8 * context * (count + 1)])
    found = list(cut(tokens, context, bos))
    if len(found) < count:
        raise SystemExit(f"the text has only {len(found)} windows of {context} tokens")
    return found[:count]


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural log-probabilities of the last axis, float64."""
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    x -= np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return x


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error."""
    x = np.asarray(values, np.float64)
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")


def bootstrap(statistic: NDArray[np.float64], draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95% interval of the mean over windows, by resampling windows."""
    rng = np.random.default_rng(seed)
    means = statistic[rng.integers(0, len(statistic), (draws, len(statistic)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def machine() -> dict[str, object]:
    """The processor and what may be used of it."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = lines[0] if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "cores": cores, "system": platform.platform(), "python": platform.python_version()}
