"""``intact diff``: where two runs part, from receipts, logs and completions alike."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import intact
from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts.document import Output
from intact.receipts.request import AnswerRequest
from support.receipts import rich_receipt
from support.tiny import write_tiny

PROMPT = [1, 40, 77, 99]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("diff") / "tiny.gguf", "llama")


@pytest.fixture(scope="module")
def model(path):
    return intact.load(path, threads=1)


@pytest.fixture(scope="module")
def greedy(model):
    """Tokens and the logits that each was the largest of."""
    (completion,) = model.generate(PROMPT, max_tokens=12, ignore_eos=True, logprobs=True)[0]
    return completion, model.logits([*PROMPT, *completion.tokens[:-1]])[len(PROMPT) - 1 :]


def diff(*words):
    from intact.cli.app import app

    result = CliRunner().invoke(app, ["diff", *map(str, words)], prog_name="intact")
    return result, (json.loads(result.stdout) if "--json" in words and result.exit_code < 2 else None)


def write_log(path, tokens, **more):
    path.write_text(json.dumps({"prompt_tokens": PROMPT, "output_tokens": list(tokens), "temperature": 0, **more}))
    return path


def write_completions(path, *answers, **more):
    keys = {"text": "", "logprobs": None, "finish": "length"}
    document = {"model": "m", "profile": "int8", "completions": [{**keys, **answer} for answer in answers], **more}
    path.write_text(json.dumps(document, indent=2))
    return path


def write_receipt(path, tokens):
    request = AnswerRequest(tuple(PROMPT), SamplingParameters(), ("0123456789abcdef", 0))
    receipt = rich_receipt(output=Output(tuple(tokens), "length", ""), chain=bytes(32 * len(tokens)), request=request)
    path.write_bytes(receipt.encode())
    return path


def test_the_second_likeliest_token_is_told_with_its_gap(tmp_path, path, greedy):
    completion, logits = greedy
    place = int(np.argmin(np.diff(-np.sort(-logits, axis=1)[:, :2])[3:, 0])) + 3
    second = int(np.argsort(-logits[place], kind="stable")[1])
    other = [*completion.tokens[:place], second, 5, 6]
    a, b = write_log(tmp_path / "a.jsonl", completion.tokens), write_log(tmp_path / "b.jsonl", other)
    result, document = diff(a, b, "--model", path, "--json")
    assert result.exit_code == 1
    (answer,) = document["answers"]
    assert (answer["common"], answer["unit"], answer["prompts"]) == (place, "tokens", "same")
    found = answer["logits"]
    assert (found["a"]["token"], found["a"]["rank"]) == (completion.tokens[place], 0)
    assert (found["b"]["token"], found["b"]["rank"]) == (second, 1)
    assert found["gap"] == pytest.approx(float(logits[place].max() - logits[place, second]))
    assert found["near_tie"] == (found["gap"] < 0.25)
    assert [candidate["rank"] for candidate in found["top"]] == [0, 1, 2, 3, 4]
    words = diff(a, b, "--model", path)[0].stdout
    assert f"equal for {place} tokens" in words
    assert f"{found['gap']:.4f} logits apart" in words


@pytest.mark.parametrize("write", [write_log, write_receipt], ids=["log", "receipt"])
def test_equal_runs_are_equal_whatever_holds_them(tmp_path, greedy, write):
    tokens = greedy[0].tokens
    a, b = write(tmp_path / "a", tokens), write_completions(tmp_path / "b", {"tokens": list(tokens)})
    result, document = diff(a, b, "--json")
    assert (result.exit_code, document["answers"][0]["equal"]) == (0, True)


def test_a_file_may_hold_several_receipts(tmp_path, greedy):
    tokens = list(greedy[0].tokens)
    one, other = (
        write_receipt(tmp_path / name, some).read_bytes() for name, some in (("1", tokens), ("2", tokens[:5]))
    )
    (tmp_path / "a").write_bytes(one + b"\n" + other + b"\n")
    b = write_completions(tmp_path / "b", {"tokens": tokens}, {"tokens": tokens})
    result, document = diff(tmp_path / "a", b, "--json")
    assert result.exit_code == 1
    assert [answer["equal"] for answer in document["answers"]] == [True, False]


def test_log_probabilities_of_the_common_tokens_are_compared(tmp_path, greedy):
    completion, _ = greedy
    own = list(completion.logprobs)
    a = write_completions(tmp_path / "a", {"tokens": list(completion.tokens), "logprobs": own})
    off = [value / (1 << 24) for value in own]
    off[4] -= 0.5
    b = write_log(tmp_path / "b", completion.tokens, logprobs=off)
    answer = diff(a, b, "--json")[1]["answers"][0]
    assert answer["logprobs"]["first"] == 4
    assert answer["logprobs"]["largest"] == pytest.approx(0.5)
    assert answer["equal"]


def test_one_that_has_ended_parts_there(tmp_path, path, greedy):
    tokens = greedy[0].tokens
    a, b = write_log(tmp_path / "a", tokens), write_log(tmp_path / "b", tokens[:7])
    answer = diff(a, b, "--model", path, "--json")[1]["answers"][0]
    assert (answer["common"], answer["logits"]["b"], answer["logits"]["gap"]) == (7, None, None)
    assert "B has ended here" in diff(a, b, "--model", path)[0].stdout


def test_settings_that_differ_are_named_and_texts_shown(tmp_path):
    a = write_completions(tmp_path / "a", {"tokens": [5, 6], "text": "two words"}, temperature=0.5)
    b = write_completions(tmp_path / "b", {"tokens": [5, 7], "text": "two birds"}, temperature=0.7)
    words = diff(a, b)[0].stdout
    assert "temperature: A 0.5, B 0.7" in words
    assert "'words'" in words
    assert "'birds'" in words


def test_the_prompt_is_asked_for_where_no_file_tells_it(tmp_path, path, greedy):
    tokens = list(greedy[0].tokens)
    a = write_completions(tmp_path / "a", {"tokens": tokens})
    b = write_completions(tmp_path / "b", {"tokens": [*tokens[:3], 9]})
    result, _ = diff(a, b, "--model", path)
    assert result.exit_code == 2
    assert "--prompt" in result.stderr
    result, document = diff(a, b, "--model", path, "--prompt", "Hello", "--json")
    assert (result.exit_code, document["answers"][0]["common"]) == (1, 3)


def test_more_answers_on_one_side_are_a_difference(tmp_path):
    a = write_completions(tmp_path / "a", {"tokens": [5]}, {"tokens": [6]})
    b = write_completions(tmp_path / "b", {"tokens": [5]})
    result, _ = diff(a, b)
    assert result.exit_code == 1
    assert "2 answers" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b'{"completions": 3}', "completions must be a list"),
        (b'{"completions": [{"tokens": "x"}]}', "tokens must be a list"),
        (b'{"format": "intact-receipt"}', ""),
        (b'{"prompt_tokens": [1], "output_tokens": [2]}', "temperature is missing"),
    ],
)
def test_what_cannot_be_compared_is_no_difference(tmp_path, content, message):
    a, b = tmp_path / "a", write_completions(tmp_path / "b", {"tokens": [5]})
    a.write_bytes(content)
    result, _ = diff(a, b)
    assert result.exit_code == 2
    assert message in result.stderr


def test_different_prompts_and_foreign_tokens_cannot_be_explained(tmp_path, path):
    a = write_log(tmp_path / "a", [5, 6])
    for more, tokens, message in (
        ({"prompt_tokens": [1, 2]}, [5, 7], "different prompts"),
        ({}, [5, 99999], "outside"),
    ):
        b = write_log(tmp_path / "b", tokens, **more)
        result, _ = diff(a, b, "--model", path)
        assert result.exit_code == 2
        assert message in result.stderr
