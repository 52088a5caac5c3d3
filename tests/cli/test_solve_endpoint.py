"""``intact solve`` and ``eval`` on an endpoint: methods that write step by step, where it says how answers go on."""

import json

import pytest

from intact.evaluate.manifest import digest
from support.endpoint import Endpoint, Reply, answer, event, serve, usage


@pytest.fixture
def endpoint(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serve(Endpoint()) as served:
        yield served


@pytest.fixture
def solve(intact_command, endpoint):
    def run(*arguments):
        options = ("-n", 3, "--set", "delimiter=.", "--max-tokens", 20, "--json")
        return intact_command("solve", "particle_filter", "ask", "-m", f"{endpoint.url}#toy", *options, *arguments)

    return run


@pytest.mark.parametrize(("way", "sent"), [("vllm", True), ("prefill", False)])
def test_a_conversations_answer_goes_on_step_by_step(solve, endpoint, way, sent):
    told = solve("--set", "steps=3", "--continues", way)
    assert told.code == 0, told.err
    assert told.json["why"] == "done"
    going = [body for _, _, body in endpoint.asked if body["messages"][-1]["role"] == "assistant"]
    assert going
    assert all(body["messages"][-1]["content"].endswith(".") for body in going)
    assert all(("continue_final_message" in body) is sent for body in going)


def test_an_evaluation_goes_on_so_too_and_says_how(intact_command, endpoint, tmp_path):
    task = tmp_path / "sums.toml"
    (tmp_path / "sums.jsonl").write_text('{"q": "ask", "a": "42"}\n')
    task.write_text('name="sums"\ngrader="number"\n[items]\nfile="sums.jsonl"\nquestion="{q}"\nanswer="{a}"\n')
    out = tmp_path / "out.jsonl"
    steps = ("--method", "particle_filter", "--set", "n=3", "--set", "delimiter=.", "--set", "steps=3")
    options = (*steps, "--seed", "0-5", "--max-tokens", 20, "--out", out, "--continues", "prefill")
    told = intact_command("eval", f"{endpoint.url}#toy", task, *options)
    assert told.code == 0, told.err
    assert any(body["messages"][-1]["role"] == "assistant" for _, _, body in endpoint.asked)
    manifest = json.loads(out.read_text().splitlines()[0])
    assert "--continues prefill" in manifest["command"]
    assert manifest["now"] is None
    (question,) = next(body["messages"] for _, _, body in endpoint.asked if len(body["messages"]) == 1)
    prompts = digest([[[["user", question["content"]]]]])  # of the messages: the endpoint renders them
    assert manifest["tasks"][0]["digests"]["prompts"] == prompts
    refused = intact_command("eval", f"{endpoint.url}#toy", task, *options, "--now", "1999-12-31T23:59:59")
    assert (refused.code, "endpoints apply their own chat templates" in refused.err) == (2, True)


def test_without_a_way_to_go_on_it_is_named(solve, endpoint):
    told = solve("--set", "steps=3")
    assert "--continues" in told.err + str(told.json)
    assert "answers of conversations cannot be continued" in told.json["caveats"]
    refused = solve("--continues", "maybe")
    assert refused.code == 2
    assert "'maybe' is not one of" in refused.err


def test_a_stop_of_the_users_ends_answers(solve, endpoint):
    told = solve("--set", "steps=4", "--continues", "prefill", "--stop", "c", "--stop", r"\n")
    assert told.code == 0, told.err
    assert "c" not in told.json["text"]
    assert "stop" not in endpoint.asked[0][2], "they are looked for in what arrives"


def test_a_text_of_several_lines_is_not_printed_twice(intact_command, endpoint):
    endpoint.script = [answer([event(True, "two\nlines")], event(True, "", None, "stop"), usage(2))]
    model = ("-m", f"{endpoint.url}#toy", "--max-tokens", 9)
    told = intact_command("solve", "first_finish", "ask", "-n", 1, "--answer", "text", *model)
    assert told.out.startswith("two\nlines\n\nanswer  the text above"), told.err


def test_texts_that_could_not_be_written_are_told(intact_command, endpoint):
    said = answer([event(True, "42")], event(True, "", None, "stop"), usage(2))
    endpoint.script = [said, said, Reply(status=400, parts=[b"no more today"])]
    told = intact_command("solve", "self_consistency", "ask", "-m", f"{endpoint.url}#toy", "-n", 3, "--max-tokens", 9)
    assert told.code == 0, told.err
    assert "answer  42" in told.out
    assert "not all texts could be generated" in told.out
    assert "no more today" in told.out
