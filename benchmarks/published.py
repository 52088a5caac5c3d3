"""Record the texts of the two published runs of study/evaluation.md, and remake their results and reports from them.

    python benchmarks/published.py record gsm8k JOURNAL     # pack a journal's texts and verdicts into records/
    python benchmarks/published.py unpack gsm8k JOURNAL     # the opposite, for runs that draw the same texts
    python benchmarks/published.py remake gsm8k --out study  # write gsm8k.md and its pictures, print the digest

`remake` gives `intact eval` a journal made of the recorded texts, so the model computes nothing. The model's file is
still needed: manifests state digests of its weights, and its tokenizer reads the texts. Everything derived from the
texts (answers, verdicts, scores, report) is made again. `--fresh` ignores the record and takes an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from intact.evaluate.judging import FILE as VERDICTS
from intact.reason.driving.journal import Journal
from intact.solving.run import JOURNAL as TEXTS

RECORDS = Path(__file__).resolve().parent.parent / "study" / "records"
MODEL = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


class Published(NamedTuple):
    """A run: the arguments of `intact eval` after the model, and the title of its report."""

    arguments: tuple[str, ...]
    title: str


RUNS = {
    "gsm8k": Published(
        ("gsm8k", "--method", "self_consistency", "-n", "32", "--limit", "100", "--temperature", "0.7",
         "--max-tokens", "512"),
        "GSM8K, 100 problems, 32 samples",
    ),
    "humaneval": Published(
        ("humaneval:style=base", "--method", "self_consistency", "-n", "20", "--temperature", "0.8",
         "--max-tokens", "384"),
        "HumanEval, 164 problems, 20 samples",
    ),
}  # fmt: skip


def record_of(name: str) -> Path:
    """Return the path of a run's recorded texts and verdicts."""
    return RECORDS / f"{name}.journal.jsonl.xz"


def record(name: str, journal: Path) -> Path:
    """Pack a journal: for each result, a line with the file's name, the key and the value."""
    path = record_of(name)
    with lzma.open(path, "wt", preset=9 | lzma.PRESET_EXTREME, encoding="utf-8") as file:
        for part in (TEXTS, VERDICTS):
            with Journal(journal / part) as kept:
                for key, value in kept.items():
                    line = json.dumps([part, key.hex(), value], separators=(",", ":"), ensure_ascii=False)
                    file.write(line + "\n")
    return path


def unpack(name: str, journal: Path) -> None:
    """Make a journal from a recorded run."""
    kept = {part: Journal(journal / part) for part in (TEXTS, VERDICTS)}
    try:
        with lzma.open(record_of(name), "rt", encoding="utf-8") as file:
            for line in file:
                part, key, value = json.loads(line)
                kept[part].add(bytes.fromhex(key), value)
    finally:
        for part in kept.values():
            part.close()


def remake(name: str, model: Path, folder: Path, *, fresh: bool = False) -> Path:
    """Remake a run's result and report in an empty folder, and return the result."""
    (folder / MODEL).symlink_to(model.resolve())  # manifests state the file's name
    if not fresh:
        unpack(name, folder / "journal")
    run, result = RUNS[name], f"{name}.jsonl"
    intact("eval", MODEL, *run.arguments, "--journal", "journal", "--out", result, folder=folder)
    intact("report", result, "--title", run.title, "--out", f"{name}.md", folder=folder)
    return folder / result


def intact(*arguments: str, folder: Path) -> None:
    """Run a command of the package in a folder."""
    subprocess.run([sys.executable, "-m", "intact.cli", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "unpack", "remake"))
    parser.add_argument("name", help=f"{', '.join(RUNS)}; to record and unpack any other, such as sweep_gsm8k")
    parser.add_argument("journal", type=Path, nargs="?", help="folder given to `intact eval --journal`")
    parser.add_argument("--out", type=Path, help="folder for the report")
    parser.add_argument("--fresh", action="store_true", help="compute the texts again")
    models = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
    parser.add_argument("--model", type=Path, default=models / MODEL)
    options = parser.parse_args()
    if options.action == "remake" and options.name not in RUNS:
        parser.error(f"remake takes {' or '.join(RUNS)}")
    if options.action == "unpack" and not record_of(options.name).is_file():
        parser.error(f"there is no record {options.name}")
    if options.action != "remake":
        if options.journal is None:
            parser.error(f"{options.action} needs the folder of a journal")
        if options.action == "record":
            print(record(options.name, options.journal))
        else:
            unpack(options.name, options.journal)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = remake(options.name, options.model, folder, fresh=options.fresh)
        print(f"{options.name}.jsonl: {hashlib.sha256(result.read_bytes()).hexdigest()}")
        if options.out:
            for path in [*folder.glob(f"{options.name}.md"), *folder.glob(f"{options.name}-*.svg")]:
                shutil.copy(path, options.out / path.name)


if __name__ == "__main__":
    main()
