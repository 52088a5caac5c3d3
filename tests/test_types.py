"""Type checkers see every argument of the library: a wrong name or type is an error, and right ones pass."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import intact
from intact.engine.sampling.parameters import DEFINITIONS, SamplingFields
from intact.library import AdapterFields, MixFields, Model, RequestFields, ServiceFields
from intact.solving.run import solve

ROOT = Path(intact.__file__).parents[2]
PROGRAM = """
import intact
from intact.text import ChatPrompt

model = intact.load("smollm2-135m-instruct")
messages = [{"role": "user", "content": "Name a colour."}]


def right() -> str:
    answer = model.chat(messages, now="2026-11-20", id="a", max_tokens=20, stop=["\\n"], receipt="blake3")
    batch, _ = model.generate(["a", "b"], 2, ids=["x", "y"], logit_bias={3: -1.5}, draft=False, on_error="return")
    chunks = [*model.chat_stream(messages, top_k=5, priority=2), *model.stream("a", regex="a+", logprobs=True)]
    talk = intact.Conversation(model, system="Be brief.", max_tokens=20, seed=1)
    told = talk.say("one", json_schema={"type": "object"}).text + "".join(chunk.text for chunk in talk.stream("two"))
    solved = intact.solve(model, "self_consistency", "What is 2 + 2?", n=4, temperature=0.5, stop="\\n")
    with intact.load() as other:
        other.generate(ChatPrompt(messages), top_p=0.5)
    return answer.text + batch[0].text + chunks[0].text + told + str(solved.answer.answer)


async def right_too() -> str:
    answer = await model.achat(messages, min_p=0.1)
    text = "".join([chunk.text async for chunk in model.achat_stream(messages, typical_p=0.5)])
    talk = intact.Conversation.load("talk.json", model, max_tokens=5)
    text += "".join([chunk.text async for chunk in talk.astream("three", grammar="start: /a/")])
    ((sample,),) = await model.agenerate("a", repetition_penalty=1.1)
    return answer.text + text + sample.text + (await talk.asay("four")).text


def wrong() -> None:
    model.chat(messages, max_token=20)  # wrong
    model.chat(messages, max_tokens="20")  # wrong
    model.chat(messages, n=2)  # wrong
    model.chat_stream(messages, temperatur=1.0)  # wrong
    model.generate("a", on_error="ignore")  # wrong
    model.generate("a", receipt="md5")  # wrong
    model.stream("a", ids=["x"])  # wrong
    intact.Conversation(model, top_n=5)  # wrong
    intact.Conversation(model).say("one", seeds=5)  # wrong
    intact.solve(model, "self_consistency", "What is 2 + 2?", temperature="hot")  # wrong
    model.nothing()  # wrong


async def wrong_too() -> None:
    await model.achat(messages, top_q=1.0)  # wrong
    model.achat_stream(messages, seed="1")  # wrong
    await model.agenerate("a", logprob=True)  # wrong
    model.astream("a", priority="high")  # wrong
"""


@pytest.mark.slow
def test_mypy_finds_the_wrong_names_and_types_and_no_others(tmp_path):
    pytest.importorskip("mypy", reason="needs mypy")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(program)]
    options = ["--config-file", str(ROOT / "pyproject.toml")]  # the same cache serves the linter's run
    found = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT).stdout
    lines = PROGRAM.splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    errors = [line for line in found.splitlines() if ": error: " in line]
    assert {int(line.split(":")[1]) for line in errors} == wrong, found
    files = {Path(line.partition(":")[0]).name for line in errors}  # the cache keeps the folder of an earlier run
    assert files == {program.name}, found


def test_the_arguments_by_name_are_those_that_are_checked():
    assert set(RequestFields.__annotations__) == DEFINITIONS.keys() | (
        ServiceFields.__annotations__.keys() | MixFields.__annotations__.keys() | AdapterFields.__annotations__.keys()
    )
    for method in (Model.generate, Model.stream, Model.agenerate, Model.astream, Model.asamples, Model.chat,
                   Model.chat_stream, Model.achat, Model.achat_stream):  # fmt: skip
        *_, options = inspect.signature(method).parameters.values()
        assert (options.kind, options.annotation) == (options.VAR_KEYWORD, "Unpack[RequestFields]"), method


def test_solve_takes_the_sampling_parameters_of_methods():
    hints, types = typing.get_type_hints(solve), typing.get_type_hints(SamplingFields)
    named = [name for name in inspect.signature(solve).parameters if name in DEFINITIONS and name != "seed"]
    assert set(named) == {name for name, one in DEFINITIONS.items() if one.methods} | {"regex", "grammar"}
    assert [hints[name] for name in named] == [types[name] | None for name in named]
