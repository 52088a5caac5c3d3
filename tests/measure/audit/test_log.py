"""Logs are claims that nobody vouches for: what is wrong with one is named with its place."""

import json
from datetime import datetime

import pytest

from intact._base.errors import LogError
from intact.measure.audit.engines import family
from intact.measure.audit.log import read_log
from intact.measure.audit.tokens import ResponseReader
from intact.measure.bench.shapes import tokenizer_metadata
from intact.text import Tokenizer
from support.tiny import TEMPLATE

GOOD = {"prompt_tokens": [1, 2], "output_tokens": [3, 4], "temperature": 0}


def write(tmp_path, *records):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records))
    return path


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"prompt_tokens": [1, 2], "output_tok', "line 2 is not valid JSON"),
        ("[1, 2]", "expected a JSON object"),
        ("[" * 100_000, "nested too deep"),
        ('{"temperature": NaN}', "contains the number NaN"),
        ({**GOOD, "temperature": None}, "temperature is missing"),
        ({**GOOD, "temperature": -1}, "temperature must be a number from 0 to 100"),
        ({**GOOD, "temperature": True}, "temperature must be a number"),
        ({**GOOD, "temperature": 1e-9}, "temperature must be 0 .greedy. or at least 0.001"),
        ({**GOOD, "top_p": 1.5}, "top_p must be a number from 0 to 1"),
        ({**GOOD, "output_tokens": None, "pieces": [[1], [2]]}, "the output is missing"),
        (
            '{"temperature": 1' + "0" * 400 + ', "prompt_tokens": [1], "output_tokens": [2]}',
            "temperature must be a number",
        ),
        ('{"temperature": 1e999, "prompt_tokens": [1], "output_tokens": [2]}', "line 2 contains the number 1e999"),
        ('{"seed": ' + "9" * 5000 + "}", "is not valid JSON"),
        ({**GOOD, "top_k": 1.5}, "top_k must be an integer"),
        ({**GOOD, "seed": "7"}, "seed must be an integer"),
        ({**GOOD, "prompt_tokens": None}, "the prompt is missing"),
        ({**GOOD, "prompt_tokens": []}, "prompt_tokens is empty"),
        ({**GOOD, "prompt_tokens": [1, "2"]}, r"prompt_tokens\[1\] must be an integer"),
        ({**GOOD, "output_tokens": None}, "the output is missing"),
        ({**GOOD, "output_tokens": [1, 2.0]}, r"output_tokens\[1\] must be an integer"),
        ({**GOOD, "logprobs": [-1.0]}, "1 logprobs for 2 output tokens"),
        ({**GOOD, "logprobs": [-1.0, 2.0]}, r"logprobs\[1\] must be a log-probability"),
        ({**GOOD, "repetition_penalty": 1.1}, "repetition_penalty is 1.1: .* cannot be audited"),
        ({**GOOD, "grammar": "root ::= x"}, "grammar is"),
        ({**GOOD, "temperature": 0.8, "do_sample": False}, "do_sample is False"),
        ({**GOOD, "num_beams": 4}, "num_beams is 4"),
        ({**GOOD, "extra_body": {"repetition_penalty": 1.3}}, "repetition_penalty is 1.3"),
        ({"request": {**GOOD, "extra_body": {"best_of": 5}}, "choices": [{"text": "a"}]}, "best_of is 5"),
        ({**GOOD, "extra_body": 3}, "extra_body must be an object"),
        ({**GOOD, "stop": [3]}, "stop must be a string or a list of strings"),
        ({"response": {"choices": []}, "temperature": 0}, "the response has no choices"),
        ({"response": 3}, "response must be an object"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, record, message):
    with pytest.raises(LogError, match=message) as error:
        read_log(write(tmp_path, GOOD, record))
    assert "line 2" in str(error.value)


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_log_holds_no_response(tmp_path, content):
    with pytest.raises(LogError, match="contains no response"):
        read_log(write(tmp_path, content))


def test_what_is_not_named_is_off_and_neutral_settings_are_no_obstacle(tmp_path):
    (entry,) = read_log(write(tmp_path, {**GOOD, "repetition_penalty": 1.0, "tools": [], "seed": -1, "top_k": -1}))
    assert (entry.settings.top_p, entry.settings.top_k, entry.settings.min_p, entry.settings.seed) == (1, 0, 0, None)
    assert entry.engine == ""


def test_settings_in_an_extra_body_count_and_unknown_fields_are_named(tmp_path):
    line = {**GOOD, "temperature": 0.5, "extra_body": {"top_k": 7, "warp": 2}, "stop": "\n", "do_sample": True}
    (entry,) = read_log(write(tmp_path, line))
    assert (entry.settings.top_k, entry.stops, entry.unread) == (7, ("\n",), ("warp",))


@pytest.mark.parametrize(
    ("name", "engine"),
    [("vllm, Llama-3", "vllm"), ("llama-cpp-python", "llama.cpp"), ("vLLM 0.9", "vllm"), ("x", "")],
)
def test_an_engine_stands_before_its_model(name, engine):
    assert family(name) == engine


def chat(**choice):
    request = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "seed": 3, "logprobs": True}
    return {"engine": "vLLM", "request": request, "response": {"choices": [{"index": 0, **choice}]}}


def test_openai_style_exchanges_are_understood(tmp_path):
    content = [{"token": "é", "bytes": [195, 169], "logprob": -0.5}, {"token": "!", "logprob": -1}]
    (entry,) = read_log(write(tmp_path, chat(message={"content": "é!"}, logprobs={"content": content})))
    assert entry.engine == "vllm"
    assert entry.token_bytes == ("é".encode(), b"!")
    assert entry.logprobs == (-0.5, -1.0)
    assert entry.text == "é!"
    assert (entry.settings.temperature, entry.settings.seed) == (0.5, 3)
    assert entry.prompt == ({"role": "user", "content": "Hi"},)


def test_the_older_completions_and_a_batch_line_are_understood(tmp_path):
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0]}
    body = {"choices": [{"text": "ab", "logprobs": logprobs}, {"text": "c"}]}
    line = {"prompt": "x", "temperature": 1, "response": {"status_code": 200, "body": body}}
    one, other = read_log(write(tmp_path, line))
    assert one.token_bytes == (b"a", b"b")
    assert one.prompt == "x"
    assert other.text == "c"
    assert one.batch == 2


@pytest.mark.parametrize("bytes_", [[300], ["a"], [None]])
def test_bytes_that_are_none_are_refused(tmp_path, bytes_):
    with pytest.raises(LogError, match="neither bytes"):
        read_log(write(tmp_path, chat(logprobs={"content": [{"token": None, "bytes": bytes_, "logprob": -1}]})))


def test_a_conversation_is_told_one_time(tmp_path):
    """A template that writes the date makes of a log the prompt that the engine had, on whatever day it is audited."""
    template = {"tokenizer.chat_template": "{{ strftime_now('%d %b %Y') }}" + TEMPLATE}
    metadata = tokenizer_metadata(301) | template
    tokenizer = Tokenizer.from_gguf(metadata)
    messages = [{"role": "user", "content": "Why?"}]
    (entry,) = read_log(write(tmp_path, {"messages": messages, "output_tokens": [5], "temperature": 0}))
    days = [datetime(2026, 2, 3), datetime(2026, 2, 4)]
    prompts = [ResponseReader(tokenizer, 301, 512, day).response(entry).prompt for day in days]
    assert prompts == [tokenizer.encode_chat(messages, now=day) for day in days]
    assert prompts[0] != prompts[1]
