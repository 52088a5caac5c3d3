"""Answers with gold labels for `intact judge`, from 800 graded answers to MATH problems.

python benchmarks/judge_items.py answers.jsonl; intact judge answers.jsonl -m qwen2.5-coder-0.5b-instruct
python benchmarks/judge_items.py pairs.jsonl --pairs; intact judge pairs.jsonl -m qwen2.5-coder-0.5b-instruct
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

DATA = Path(os.environ.get("INTACT_DATA", "../shared/data")) / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"


def problems() -> Iterator[tuple[int, str, str, list[str], list[str]]]:
    """Yield number, question, reference, and the different right and wrong final answers of each problem."""
    for line in DATA.read_text("utf-8").splitlines():
        row = json.loads(line)
        graded = dict(zip(map(str, row["pred"]), row["score"], strict=True))
        right = [answer for answer, score in graded.items() if score and answer]
        wrong = [answer for answer, score in graded.items() if not score and answer]
        yield row["idx"], row["question"], str(row["gt"]), right, wrong


def singles() -> Iterator[dict[str, str]]:
    """Yield one right answer and all different wrong ones of each problem."""
    for number, question, reference, right, wrong in problems():
        for gold, answers in (("correct", right[:1]), ("incorrect", wrong)):
            for i, answer in enumerate(answers):
                name = f"math/{number}/{gold}/{i}"
                yield {"id": name, "question": question, "reference": reference, "answer": answer, "gold": gold}


def pairs() -> Iterator[dict[str, str]]:
    """Yield a right and a wrong answer of each problem that has both, the right one first for even numbers."""
    for number, question, _, right, wrong in problems():
        if right and wrong:
            first, second = (right[0], wrong[0]) if number % 2 == 0 else (wrong[0], right[0])
            gold = "first" if number % 2 == 0 else "second"
            yield {"id": f"math/{number}", "question": question, "first": first, "second": second, "gold": gold}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--balanced", action="store_true", help="as many right answers as wrong ones")
    args = parser.parse_args()
    items = list(pairs() if args.pairs else singles())
    if args.balanced:
        wrong = sum(item["gold"] == "incorrect" for item in items)
        right = [item for item in items if item["gold"] == "correct"][:wrong]
        items = right + [item for item in items if item["gold"] == "incorrect"]
    args.file.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), "utf-8")
    print(f"{len(items)} items")


if __name__ == "__main__":
    main()
