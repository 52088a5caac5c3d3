"""Measure how many tokens it takes to tell an altered log from an honest one, at 1% false alarms.

    python benchmarks/audit.py FOLDER --make PYTHON     generate missing logs with the engines (hours on few cores)
    python benchmarks/audit.py FOLDER                   print the table
    ... --plot FILE --calibrate FILE --json

PYTHON is an interpreter with llama-cpp-python, torch and transformers. The logs answer GSM8K's first test questions
with 64 tokens each. Thresholds come from a random half of the honest responses, false alarms from the other half,
detections from the altered log; results are means over 20 such halves and 200 logs each, drawn from whole responses.
Cases with missing logs are left out. --calibrate writes the reference data of `intact audit`. Requantised files,
NAME.Q4_0*.gguf, are looked up in FOLDER: every matrix Q4_0, as `llama_engine.quantise` writes them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
from common import SHORT, model_path, tokenizer_of

import intact
from intact.measure.audit.decision import ALPHA, Honest, honest_from, surprise_tail, values_of
from intact.measure.audit.log import entries_of
from intact.measure.audit.recompute import Scored, read_all, score
from intact.measure.audit.scores import Kind, TokenScore
from intact.measure.audit.tokens import Response
from intact.numerics.profiles import PROFILES, Profile

SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
HALVES, RESAMPLED = 20, 200
LLAMA = {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": 1000, "max_tokens": 64}
TRANSFORMERS = {"top_k": 50, "top_p": 1.0, "min_p": 0.0, "seed": 1000, "max_tokens": 64}


class Log(NamedTuple):
    """A log to generate: engine, file, temperature, and number of questions."""

    engine: str
    model: str
    temperature: float
    questions: int = 64
    dtype: str = "float32"


LOGS = {
    "smol_l8": Log("llama", "smollm2-135m", 0.8),
    "smol_l8_q40": Log("llama", "smollm2-135m-q40", 0.8),
    "smol_l9": Log("llama", "smollm2-135m", 0.9),
    "smol_l12": Log("llama", "smollm2-135m", 1.2),
    "smol_l0": Log("llama", "smollm2-135m", 0.0),
    "smol_l0_q40": Log("llama", "smollm2-135m-q40", 0.0),
    "gemma_l8": Log("llama", "gemma3-270m", 0.8),
    "qwen_l8": Log("llama", "qwen-coder-0.5b", 0.8, 48),
    "qwen_l8_q40": Log("llama", "qwen-coder-0.5b-q40", 0.8, 48),
    "qwen_l8_15b": Log("llama", "qwen-coder-1.5b", 0.8, 32),
    "qwen_l0": Log("llama", "qwen-coder-0.5b", 0.0, 48),
    "qwen_l0_q40": Log("llama", "qwen-coder-0.5b-q40", 0.0, 48),
    "smol_t8": Log("transformers", "smollm2-135m", 0.8, 48),
    "smol_t8_bf16": Log("transformers", "smollm2-135m", 0.8, 24, "bfloat16"),
    "smol_t8_q40": Log("transformers", "smollm2-135m-q40", 0.8, 24),
    "smol_t9": Log("transformers", "smollm2-135m", 0.9, 24),
    "smol_t0": Log("transformers", "smollm2-135m", 0.0, 24),
    "smol_t0_q40": Log("transformers", "smollm2-135m-q40", 0.0, 24),
}


class Case(NamedTuple):
    """An honest log, and altered logs that make the same claim."""

    honest: str
    altered: dict[str, str]
    kind: Kind


CASES = [
    Case("smol_l8", {"Q4_0": "smol_l8_q40", "T 0.9": "smol_l9", "T 1.2": "smol_l12"}, "inverse"),
    Case("qwen_l8", {"Q4_0": "qwen_l8_q40", "1.5B": "qwen_l8_15b"}, "inverse"),
    Case("smol_l0", {"Q4_0": "smol_l0_q40"}, "greedy"),
    Case("qwen_l0", {"Q4_0": "qwen_l0_q40"}, "greedy"),
    Case("smol_t8", {"bfloat16": "smol_t8_bf16", "Q4_0": "smol_t8_q40", "T 0.9": "smol_t9"}, "gumbel"),
    Case("smol_t8_bf16", {"Q4_0": "smol_t8_q40", "T 0.9": "smol_t9"}, "gumbel"),
    Case("smol_t0", {"Q4_0": "smol_t0_q40"}, "greedy"),
    Case(
        "smol_l8",
        {"Q4_0": "smol_l8_q40", "T 0.9": "smol_l9", "T 1.2": "smol_l12", "Gemma 3 270m": "gemma_l8"},
        "likelihood",
    ),
    Case("qwen_l8", {"1.5B": "qwen_l8_15b"}, "likelihood"),
]
CALIBRATING = ("smol_l8", "qwen_l8", "smol_l0", "qwen_l0", "smol_t8", "smol_t8_bf16", "smol_t0")
BOTH_PROFILES = "transformers"  # whose noise is far below that of int8; llama.cpp's is not below that of fp32
HOW = {"inverse": "seed", "gumbel": "seed", "greedy": "T 0", "likelihood": "no seed", "logprobs": "logprobs"}
PROFILE: dict[str, Profile] = {"llama": "int8", "transformers": "fp32"}  # about as noisy as the engine
ENGINE = {"llama": "llama.cpp", "transformers": "transformers"}


def file_of(name: str, folder: Path) -> Path:
    """Return a model's file; the suffix `-q40` of the name selects the requantised one."""
    plain = name.removesuffix("-q40")
    if plain == name:
        return model_path(name)
    found = [*folder.glob(f"{Path(SHORT[plain]).stem}.Q4_0*.gguf")]
    if not found:
        raise SystemExit(f"no {Path(SHORT[plain]).stem}.Q4_0*.gguf in {folder}")
    return found[0]


def questions(model: str, count: int) -> list[dict[str, Any]]:
    """Return prompts for a model."""
    return [{"prompt_tokens": tokens} for tokens in common.questions(tokenizer_of(file_of(model, Path())), count)]


def make(folder: Path, python: str) -> None:
    """Let the engines generate missing logs."""
    for name, log in LOGS.items():
        path = folder / "logs" / f"{name}.jsonl"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = (LLAMA if log.engine == "llama" else TRANSFORMERS) | {"temperature": log.temperature}
        prompts = questions(log.model.removesuffix("-q40"), log.questions)
        command = [python, str(Path(__file__).with_name(f"audit_{log.engine}.py")), str(file_of(log.model, folder))]
        command.append(json.dumps(settings | {"dtype": log.dtype}))
        print(f"making {name}", file=sys.stderr)
        text = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
        made = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout
        path.write_text(made)


def records(folder: Path, name: str, claim: Log) -> Iterator[dict[str, Any]]:
    """Yield a log's lines as someone would present them who claims another log's model and temperature."""
    lines = [json.loads(line) for line in (folder / "logs" / f"{name}.jsonl").read_text().splitlines()]
    served = LOGS[name].model.removesuffix("-q40")
    foreign = served.split("-")[0] != claim.model.split("-")[0]
    prompts = questions(claim.model, len(lines)) if foreign else lines
    reader = tokenizer_of(file_of(served, folder)) if foreign else None
    for line, prompt in zip(lines, prompts, strict=True):
        record = {**line, "prompt_tokens": prompt["prompt_tokens"], "temperature": claim.temperature}
        if reader is not None:
            record["text"] = reader.decode(record.pop("output_tokens"), continuation=True)
        if reader is None or record["text"].strip():
            yield record


class Scores:
    """Scores of logs under a claim, cached in FOLDER/scores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[tuple[str, str], Any] = {}

    def __call__(self, name: str, claim: Log, profile: Profile | None = None) -> list[Scored]:
        profile = profile or PROFILE[claim.engine]
        kept = self.folder / "scores" / f"{name}_as_{claim.model}_{claim.temperature}_{profile}.json"
        entries = [e for i, r in enumerate(records(self.folder, name, claim)) for e in entries_of(r, f"{name} {i}")]
        if kept.exists():
            found = json.loads(kept.read_text())
            responses = [Response(entry, [], tokens) for entry, tokens in zip(entries, found["outputs"], strict=True)]
            scores = [tuple(TokenScore(*token) for token in tokens) for tokens in found["scores"]]
            triples = zip(responses, found["kinds"], scores, strict=True)
            return [Scored(response, kind, tokens) for response, kind, tokens in triples]
        if (claim.model, profile) not in self.models:
            self.models = {(claim.model, profile): intact.load(file_of(claim.model, self.folder), profile=profile)}
        model = self.models[claim.model, profile]
        scored = list(score(model, read_all(model, entries)))
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(
            json.dumps(
                {
                    "outputs": [one.response.output for one in scored],
                    "kinds": [one.kind for one in scored],
                    "scores": [[tuple(token) for token in one.scores] for one in scored],
                }
            )
        )
        return scored


def draw(texts: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw responses with replacement and concatenate their tokens, cut at `size`; rows are tokens."""
    parts, count = [], 0
    while count < size:
        text = texts[rng.integers(len(texts))]
        start = rng.integers(len(text) - size + 1) if len(text) > size else 0
        parts.append(text[start : start + size - count])
        count += len(parts[-1])
    return np.concatenate(parts)


def alarms(texts: list[np.ndarray], honest: Honest | None, size: int, rng: np.random.Generator) -> float:
    """Return the share of logs of `size` tokens that are called suspicious."""
    if honest is None:  # surprises and their variances
        hits = 0
        for _ in range(RESAMPLED):
            total, variance = draw(texts, size, rng).sum(axis=0)
            hits += surprise_tail(total, variance, size) < ALPHA
        return hits / RESAMPLED
    means = [np.minimum(draw(texts, size, rng), honest.clip).mean() for _ in range(RESAMPLED)]
    return float(np.mean([honest.tail(mean, size) < ALPHA for mean in means]))


def texts_of(scored: list[Scored], kind: Kind) -> list[np.ndarray]:
    """Return the scores of each response; surprises come with their variances."""
    if kind == "likelihood":
        return [np.array([(token.surprise, token.variance) for token in one.scores]) for one in scored]
    return [np.array(text) for text in values_of(scored, kind)]


def measure(case: Case, scores: Scores) -> dict[str, Any]:
    """Measure the detection rates of one case by number of tokens."""
    claim = LOGS[case.honest]
    honest = scores(case.honest, claim)
    kind = case.kind
    altered = {label: scores(name, claim) for label, name in case.altered.items()}
    rng = np.random.default_rng(1)
    rates: dict[str, dict[int, float]] = {label: dict.fromkeys(SIZES, 0.0) for label in ["honest", *altered]}
    for _ in range(HALVES):
        order = rng.permutation(len(honest))
        some, rest = ([honest[i] for i in part] for part in np.array_split(order, 2))
        known = None if kind == "likelihood" else honest_from(some, kind, "", "", PROFILE[claim.engine])
        for label, texts in {"honest": rest, **altered}.items():
            for size in SIZES:
                rates[label][size] += alarms(texts_of(texts, kind), known, size, rng) / HALVES
    logs = {"honest": honest, **altered}
    return {
        "engine": ENGINE[claim.engine] + (f" {claim.dtype}" if claim.engine == "transformers" else ""),
        "model": claim.model,
        "temperature": claim.temperature,
        "kind": kind,
        "matches": {label: matches(scored) for label, scored in logs.items()},
        "rates": rates,
        "tokens": {label: sum(len(one.scores) for one in scored) for label, scored in logs.items()},
    }


def matches(scored: list[Scored]) -> float:
    """Return the share of tokens that match the reference's expectation."""
    pairs = [pair for one in scored for pair in zip(one.scores, one.response.output, strict=True)]
    return float(np.mean([token.expected == drawn for token, drawn in pairs]))


def needed(rates: dict[int, float], share: float = 0.99) -> str:
    """Return the smallest number of tokens from which at least this share of altered logs is detected."""
    good = [size for size in SIZES if all(rates[other] >= share for other in SIZES if other >= size)]
    return f"{good[0]:,}" if good else f"> {SIZES[-1]:,}"


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    sizes = [size for size in SIZES if size >= 32]
    print("| claimed | known | log | as expected | " + " | ".join(f"{size:,}" for size in sizes) + " | for 99% |")
    print("|---" * (5 + len(sizes)) + "|")
    for row in rows:
        for label, rates in row["rates"].items():
            cells = [f"{row['engine']}, {row['model']}", HOW[row["kind"]], label]
            cells.append("-" if row["kind"] == "likelihood" else f"{row['matches'][label]:.1%}")
            cells += [f"{rates[size]:.1%}" for size in sizes]
            print("| " + " | ".join([*cells, "" if label == "honest" else needed(rates)]) + " |")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot detection against tokens, with a panel for each kind of check."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "audit", "svg.fonttype": "none", "font.size": 8})
    panels = {"seed known": ("inverse", "gumbel"), "temperature 0": ("greedy",), "seed unknown": ("likelihood",)}
    figure, axes = plt.subplots(1, len(panels), figsize=(10, 4.4), sharey=True, layout="constrained")
    for axis, (title, kinds) in zip(axes, panels.items(), strict=True):
        for row in [row for row in rows if row["kind"] in kinds]:
            for label, rates in row["rates"].items():
                style: dict[str, Any] = {"color": "0.6", "ls": ":"} if label == "honest" else {"marker": ".", "lw": 1}
                name = None if label == "honest" else f"{row['engine']}, {row['model']}: {label}"
                axis.plot(list(rates), [100 * rate for rate in rates.values()], label=name, **style)
        axis.set(title=title, xscale="log", xlabel="tokens", ylim=(-2, 102))
        axis.set_xticks([16, 64, 256, 1024], ["16", "64", "256", "1,024"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    axes[0].set_ylabel("called suspicious, %")
    figure.savefig(path, metadata={"Date": None})


def calibrate(scores: Scores, path: Path) -> None:
    """Write the scores of honest logs."""
    kept = []
    for name in [name for name in CALIBRATING if (scores.folder / "logs" / f"{name}.jsonl").exists()]:
        claim = LOGS[name]
        model = claim.model + (f" in {claim.dtype}" if claim.engine == "transformers" else "")
        for profile in PROFILES if claim.engine == BOTH_PROFILES else (PROFILE[claim.engine],):
            scored = scores(name, claim, profile)
            kept.append(honest_from(scored, scored[0].kind, ENGINE[claim.engine], model, profile).__dict__)
    path.write_text(json.dumps({"honest": kept}, separators=(",", ":")).replace('{"engine"', '\n{"engine"') + "\n")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--make", metavar="PYTHON", help="generate missing logs")
    p.add_argument("--plot", type=Path)
    p.add_argument("--calibrate", type=Path)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    if args.make:
        make(args.folder, args.make)
    scores = Scores(args.folder)
    if args.calibrate:
        calibrate(scores, args.calibrate)
    here = {path.stem for path in args.folder.glob("logs/*.jsonl")}
    cases = [case._replace(altered={k: v for k, v in case.altered.items() if v in here}) for case in CASES]
    rows = [measure(case, scores) for case in cases if case.honest in here and case.altered]
    if args.plot:
        plot(rows, args.plot)
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
