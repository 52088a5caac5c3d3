"""``intact chat``: turns, commands, interruption."""

import json

from intact.cli.chat_session import ChatSession
from support.speaker import SENTENCE

SAMPLING = {"max_tokens": 100, "top_p": 1.0}


def test_the_conversation_grows(intact_command, speaker):
    result = intact_command("chat", "--system", "S", stdin="one\n\ntwo\n")
    assert result.out == (SENTENCE + "\n") * 2
    assert [prompt for prompt, _ in speaker.asked] == [
        "<system>S<user>one<assistant>",
        f"<system>S<user>one<assistant>{SENTENCE}<user>two<assistant>",
    ]


def test_commands_start_over_and_leave(intact_command, speaker):
    result = intact_command("chat", stdin="one\n/new\ntwo\n/system T\nthree\n/what\n/exit\nfour\n")
    assert [prompt for prompt, _ in speaker.asked] == [
        "<user>one<assistant>",
        "<user>two<assistant>",
        "<system>T<user>three<assistant>",
    ]
    assert "no command /what" in result.err


def test_json_is_a_line_an_answer(intact_command, speaker):
    lines = intact_command("chat", "--json", stdin="one\ntwo\n").out.splitlines()
    assert [json.loads(line)["content"] for line in lines] == [SENTENCE] * 2
    assert json.loads(lines[0])["tokens"] == list(SENTENCE.encode())


def test_a_message_that_does_not_fit_is_taken_back(intact_command, speaker):
    result = intact_command("chat", stdin="x" * 600 + "\nshort\n")
    assert "the prompt has" in result.err
    assert (result.code, result.out) == (2, SENTENCE + "\n")
    assert [prompt for prompt, _ in speaker.asked] == ["<user>short<assistant>"]


def test_a_message_that_does_not_fit_has_a_line_too(intact_command, speaker):
    result = intact_command("chat", "--json", stdin="x" * 600 + "\nshort\n")
    refused, answered = map(json.loads, result.out.splitlines())
    assert "the prompt has" in refused["error"]
    assert answered["content"] == SENTENCE
    assert (result.code, result.err) == (2, "error: 1 of the messages could not be answered\n")


def test_an_answer_cut_short_stays_in_the_conversation(speaker):
    talk = ChatSession(speaker, None, SAMPLING)
    answer = talk.answer("one")
    for _ in range(3):
        next(answer)
    answer.close()
    assert talk.messages == [{"role": "user", "content": "one"}, {"role": "assistant", "content": "The"}]


def test_ctrl_c_in_an_answer_does_not_leave_the_chat(intact_command, speaker, monkeypatch):
    stream = speaker.stream

    def interrupted(prompt, **parameters):
        for index, chunk in enumerate(stream(prompt, **parameters)):
            if index == 3 and len(speaker.asked) == 1:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(speaker, "stream", interrupted)
    result = intact_command("chat", stdin="one\ntwo\n")
    assert result.code == 0
    assert result.out == f"The\n{SENTENCE}\n"
    assert "(cut short)" in result.err
    assert speaker.asked[1][0] == "<user>one<assistant>The<user>two<assistant>"


def test_a_base_model_is_refused(intact_command, speaker):
    speaker.tokenizer.chat_template = None
    assert "has no chat template" in intact_command("chat").err
