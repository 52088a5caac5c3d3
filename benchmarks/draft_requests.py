"""Several kinds of requests, on which drafting has different gains."""

from __future__ import annotations

import json
from collections.abc import Iterator

from common import DATA

KINDS = ("summary", "code-edit", "chat", "story", "maths")

CHAT = (
    "Why is the sky blue, and why is it red in the evening?",
    "What should I pay attention to when I buy a used bicycle?",
    "Explain the difference between a virus and a bacterium to a child.",
    "My flatmate never washes up. How do I bring it up without a fight?",
)
STORIES = (
    "Write a story about a lighthouse keeper who finds a letter in a bottle.",
    "Write a story about two robots who have to share one battery.",
    "Write a story about a village where nobody has ever seen snow.",
    "Write a story about a cat that learns to read.",
)
EDITS = (
    "Rename the parameters to longer, more descriptive names",
    "Add a docstring that says what the function does",
    "Add type hints to the function",
    "Raise a ValueError if the first argument is None",
)


def _texts(count: int) -> Iterator[str]:
    documents = json.loads((DATA / "c4" / "c4_demo.json").read_text())
    yield from [d["text"] for d in documents if 1200 <= len(d["text"]) <= 2000][:count]


def _programs(count: int) -> Iterator[str]:
    lines = (DATA / "mbpp_sanitized" / "test.jsonl").read_text().splitlines()
    yield from [code for code in (json.loads(line)["code"] for line in lines) if 400 <= len(code) <= 900][:count]


def _problems(count: int) -> Iterator[str]:
    lines = (DATA / "gsm8k" / "test.jsonl").read_text().splitlines()[:count]
    yield from (json.loads(line)["question"] for line in lines)


def requests(kind: str, count: int) -> list[str]:
    """Return at most `count` requests of a kind."""
    match kind:
        case "summary":
            return [f"Summarise this text. Quote its most important sentences.\n\n{text}" for text in _texts(count)]
        case "code-edit":
            pairs = zip(EDITS * count, _programs(count), strict=False)
            return [f"{edit}. Give the whole program.\n\n```python\n{code}\n```" for edit, code in pairs]
        case "chat":
            return list(CHAT[:count])
        case "story":
            return list(STORIES[:count])
        case "maths":
            return [f"{problem}\nThink step by step." for problem in _problems(count)]
    raise ValueError(f"unknown kind {kind!r}: expected one of {', '.join(KINDS)}")


def check_files() -> None:
    """Exit unless the files from which requests are made exist."""
    files = [DATA / "c4" / "c4_demo.json", DATA / "mbpp_sanitized" / "test.jsonl", DATA / "gsm8k" / "test.jsonl"]
    if missing := [path for path in files if not path.is_file()]:
        raise SystemExit(f"no file {missing[0]} (INTACT_DATA is the folder)")
