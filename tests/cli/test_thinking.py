"""The options --system and --thinking of eval and solve, which their results state."""

import json

import pytest

from support.tiny import TEMPLATE, write_tiny

SWITCHED = TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
TASK = ("--method", "self_consistency", "-n", "2", "--max-tokens", "4")


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "thinker.gguf", metadata={"tokenizer.chat_template": SWITCHED})


@pytest.fixture
def evaluate(intact_command, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text(json.dumps({"question": "What is 1 + 1?", "answer": "#### 2"}) + "\n")
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))

    def run(model, name, *options):
        file = tmp_path / f"{name}.jsonl"
        result = intact_command("eval", model, "gsm8k", *TASK, "--out", file, *options)
        return json.loads(file.read_bytes().splitlines()[0]) if not result.code else result.err

    return run


def test_an_evaluation_states_what_prompts_are_made_of(evaluate, model):
    plain, told = evaluate(model, "plain"), evaluate(model, "told", "--system", "Be brief.", "--thinking", "off")
    assert (told.pop("system"), told.pop("thinking")) == ("Be brief.", "off")
    assert "--system 'Be brief.' --thinking off" in told.pop("command")
    assert plain.pop("command")
    assert plain["tasks"][0]["digests"].pop("prompts") != told["tasks"][0]["digests"].pop("prompts")
    assert plain == told  # nothing else differs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--thinking", "maybe"), "thinking must be on, off, or a number of tokens"),
        (("--thinking", "9"), None),
        (("--system", ""), "the system message is empty"),
    ],
)
def test_options_are_checked_before_the_work(evaluate, model, options, message):
    found = evaluate(model, "checked", *options)
    assert found["thinking"] == "9" if message is None else message in found


def test_a_model_that_cannot_think_is_refused(evaluate, tmp_path):
    assert "the model's chat template has no thinking" in evaluate(
        write_tiny(tmp_path / "p.gguf"), "p", "--thinking", "on"
    )


def test_solve_takes_both(intact_command, evaluate, model):
    asked = (
        "solve",
        "chain_of_thought",
        "-m",
        model,
        "--max-tokens",
        "4",
        "--json",
        "--system",
        "Hm.",
        "--thinking",
        "on",
    )
    assert intact_command(*asked, "What is 1 + 1?").code == 0
    result = intact_command(*asked, "--task", "gsm8k")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert (summary["system"], summary["thinking"]) == ("Hm.", "on")
