"""Two tests of a program that asks a model; the plugin sets OPENAI_BASE_URL, and `answers.json` holds the answers."""

import json
import os
import urllib.request


def ask(text: str, **options: object) -> str:
    """Return the model's answer."""
    body = {"model": "intact", "messages": [{"role": "user", "content": text}], "max_tokens": 12, **options}
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
    )
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_an_answer() -> None:
    assert ask("Why is the sky blue?", temperature=0)


def test_a_sampled_answer() -> None:
    assert ask("Name a colour.", temperature=1, seed=7)
