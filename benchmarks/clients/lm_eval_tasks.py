"""lm-evaluation-harness: log-probability and generation tasks over completions, generation tasks over chat.

pip install 'lm_eval[api]'
INTACT_DATA=FOLDER python benchmarks/clients/lm_eval_tasks.py --model qwen

The folder has `arc_easy/validation.jsonl` and `mawps/singleop.jsonl`. The model must be the first that the server
lists, because lm-eval requests its tokenizer.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

from common import options
from lm_eval import simple_evaluate

LIMIT = 5


def tasks(data: Path) -> dict[str, dict[str, Any]]:
    """Return two tasks from local files: one of multiple choice, one of generated answers."""
    rows = {"dataset_path": "json", "test_split": "train"}
    choices = {
        "task": "local_choices",
        "dataset_kwargs": {"data_files": str(data / "arc_easy" / "validation.jsonl")},
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices.text}}",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    words = {
        "task": "local_words",
        "dataset_kwargs": {"data_files": str(data / "mawps" / "singleop.jsonl")},
        "output_type": "generate_until",
        "doc_to_text": "Question: {{input}} Answer with a number alone.\nAnswer:",
        "doc_to_target": "{{target | int}}",
        "generation_kwargs": {"until": ["\n\n", "Question:"], "max_gen_toks": 24, "temperature": 0.0},
        "metric_list": [{"metric": "exact_match"}],
        "filter_list": [
            {
                "name": "number",
                "filter": [{"function": "regex", "regex_pattern": r"(-?\d+)"}, {"function": "take_first"}],
            }
        ],
    }
    return {config["task"]: {**rows, **config} for config in (choices, words)}


def evaluate(model: str, settings: dict[str, Any], chosen: list[dict[str, Any]], **chat: bool) -> dict[str, list[Any]]:
    """Run tasks and print their metrics; return the answers to each question of each task."""
    found = simple_evaluate(model, model_args=settings, tasks=chosen, limit=LIMIT, bootstrap_iters=0, **chat)
    answers = {name: [sample["resps"] for sample in samples] for name, samples in found["samples"].items()}
    for name, metrics in found["results"].items():
        scores = {key: value for key, value in metrics.items() if isinstance(value, float) and "stderr" not in key}
        print(f"lm_eval {version('lm_eval')}, {model}, {name}: {scores}, {answers[name][0]}")
        if len(answers[name]) != LIMIT or not scores:
            raise SystemExit(f"{name}: {len(answers[name])} answers of {LIMIT}")
    return answers


def main() -> None:
    """Run both tasks over completions, with one and four concurrent requests, and the generated answers over chat."""
    args = options(__doc__)
    local = tasks(Path(os.environ["INTACT_DATA"]))
    completions = {"model": args.model, "base_url": f"{args.url}/completions", "tokenizer_backend": "remote"}
    one = evaluate("local-completions", completions, list(local.values()))
    four = evaluate("local-completions", {**completions, "num_concurrent": 4}, list(local.values()))
    if one != four:
        raise SystemExit(f"four concurrent requests changed the answers: {one}, {four}")
    chats = {"model": args.model, "base_url": f"{args.url}/chat/completions"}
    written = evaluate("local-chat-completions", chats, [local["local_words"]], apply_chat_template=True)
    if not all(answer for responses in written["local_words"] for answer in responses[0]):
        raise SystemExit(f"a chat has no answer: {written}")


if __name__ == "__main__":
    main()
