"""The commands of ``intact chat``: what each changes, and what it says where it cannot."""

import json
import re
import stat
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.cli.chat_session import COMMANDS, ChatSession
from support.speaker import SENTENCE

SAMPLING = {"max_tokens": 100, "top_p": 1.0, "seed": 4}


@pytest.fixture
def talk(speaker):
    return ChatSession(speaker, "S", SAMPLING)


def exchange(talk, *questions):
    for question in questions:
        list(talk.answer(question))


def test_help_names_every_command(talk):
    assert re.findall(r"^(/\w+)", talk.obey("/help").text, re.MULTILINE) == list(COMMANDS)
    assert talk.obey("/?") == talk.obey("/help")


def test_leaving_has_several_names(talk):
    assert all(talk.obey(name).leaves for name in ("/exit", "/quit", "/bye"))


def test_an_unknown_command_is_no_message_and_the_nearest_is_suggested(talk, speaker):
    assert talk.obey("/regenrate").text == "no command /regenrate: did you mean /regenerate?"
    assert speaker.asked == []


def test_regenerate_asks_again_with_the_next_seed(talk, speaker):
    exchange(talk, "one", "two")
    talk.obey("/set temperature 0.5")
    reply = talk.obey("/regenerate")
    assert (reply.text, reply.question) == ("with seed 5", "two")
    exchange(talk, reply.question)
    assert [prompt for prompt, _ in speaker.asked[-2:]] == [speaker.asked[-1][0]] * 2
    assert [parameters["seed"] for _, parameters in speaker.asked] == [4, 4, 5]
    assert len(talk.messages) == 5


def test_a_greedy_answer_is_not_regenerated(talk):
    exchange(talk, "one")
    with pytest.raises(ParameterError, match="a greedy answer is always the same"):
        talk.obey("/retry")
    assert len(talk.messages) == 3


@pytest.mark.parametrize("command", ["/regenerate", "/undo"])
def test_there_is_nothing_to_take_back_at_first(talk, command):
    with pytest.raises(ParameterError, match="there is no answer yet"):
        talk.obey(command)


def test_undo_takes_the_last_exchange_back(talk):
    exchange(talk, "one", "two")
    assert talk.obey("/undo").text == "removed: two"
    assert [message["content"] for message in talk.messages] == ["S", "one", SENTENCE]


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("/set temperature 0.5", "temperature", 0.5),
        ("/set top_k=40", "top_k", 40),
        ("/set seed -1", "seed", -1),
        ("/set stop \\nQ:", "stop", ("\nQ:",)),
        ("/set ignore_eos true", "ignore_eos", True),
        ("/set regex [ab]+", "regex", "[ab]+"),
    ],
)
def test_set_changes_what_the_next_answer_is_drawn_with(talk, speaker, command, name, value):
    talk.obey(command)
    exchange(talk, "one")
    assert speaker.asked[0][1][name] == value


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/set temprature 1", "'temprature' is not a sampling parameter: did you mean temperature?"),
        ("/set top_p 2", "top_p must lie in"),
        ("/set top_k many", "top_k must be a whole number, got 'many'"),
        ("/set temperature", "temperature must be a number, got ''"),
        ("/set ignore_eos 1", "ignore_eos must be true or false, got '1'"),
        ("/set logit_bias 1=2", "cannot be set here: use intact chat --logit-bias"),
        ("/save", "/save needs a file name"),
        ("/load nowhere.json", "nowhere.json cannot be read"),
    ],
)
def test_what_cannot_be_done_changes_nothing(talk, command, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        talk.obey(command)
    assert talk.sampling == SAMPLING


def test_a_saved_chat_is_loaded_with_its_sampling(talk, speaker, tmp_path):
    file = tmp_path / "chat.json"
    exchange(talk, "one")
    talk.obey("/set temperature 0.5")
    talk.obey(f"/save {file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = ChatSession(speaker, None, {"max_tokens": 7, "top_p": 1.0})
    assert other.obey(f"/load {file}").text == f"3 messages from {file}"
    assert other.messages == talk.messages
    assert (other.system, other.sampling["temperature"], other.sampling["seed"]) == ("S", 0.5, 4)
    other.obey("/new")
    assert other.messages == [{"role": "system", "content": "S"}]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "x", "version": 1, "messages": [], "sampling": {}}'])
def test_what_is_no_chat_is_not_loaded(talk, tmp_path, content):
    file = tmp_path / "chat.json"
    file.write_text(content)
    with pytest.raises(ParameterError, match="does not contain a chat written by /save"):
        talk.obey(f"/load {file}")
    assert [message["content"] for message in talk.messages] == ["S"]


def test_show_has_the_conversation_and_the_settings(talk):
    exchange(talk, "one")
    assert talk.obey("/show").text == f"system: S\nuser: one\nassistant: {SENTENCE}\nmax_tokens 100, seed 4"


def test_lines_go_on_where_they_are_piped_too(intact_command, speaker):
    intact_command("chat", stdin='one\\\ntwo\n"""three\n\n/four\n"""\n"""five"""\n"""never ended\n')
    assert [prompt.rpartition("<user>")[2] for prompt, _ in speaker.asked] == [
        "one\ntwo<assistant>",
        "three\n\n/four<assistant>",
        "five<assistant>",
        "never ended<assistant>",
    ]


def test_an_error_of_a_command_does_not_end_the_chat(intact_command, speaker):
    result = intact_command("chat", stdin="/load nowhere\n/regenerate\n/save /nowhere/x\none\n")
    assert (result.code, result.out) == (0, SENTENCE + "\n")
    assert result.err.count("error: ") == 3
    assert json.dumps(result.err).count("/nowhere/x") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_chat_that_fills_the_disk_names_the_file(talk):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        talk.obey("/save /dev/full")
