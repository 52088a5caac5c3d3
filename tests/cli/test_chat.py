"""``intact chat``: turns, commands, interruption."""

import json

import pytest

import intact
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from intact.cli.chat_session import ChatSession
from intact.text import ChatPrompt
from intact.text.template import read_time
from support.speaker import SENTENCE
from support.tiny import write_tiny

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


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two tiny models with a chat template and the same vocabulary."""
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny(folder / f"{seed}.gguf", seed=seed, context=512) for seed in range(2)]


BRIEF = ["--max-tokens", 8, "--temperature", 0.7, "--seed", 3]
KEPT = {"max_tokens": 8, "temperature": 0.7, "seed": 3}
NOW = "2026-11-20T17:45:00"


def test_each_answer_is_drawn_from_a_mix_with_the_shadow_in_the_place_of_its_message(intact_command, models, tmp_path):
    file = tmp_path / "talk.receipts"
    asked = ["--mix", "guidance:scale=2.5", "--shadow", "Say.", "--system", "Be brief.", "--now", NOW]
    result = intact_command("chat", "-m", models[0], *BRIEF, *asked, "--json", "--receipt", file, stdin="Why?\nHow?\n")
    answers = [json.loads(line) for line in result.out.splitlines()]
    said = [{"role": "system", "content": "Be brief."}]
    with intact.load(models[0]) as model:
        for answer, question in zip(answers, ("Why?", "How?"), strict=True):
            shadow = ChatPrompt([*said, {"role": "user", "content": "Say."}], now=read_time(NOW))
            said.append({"role": "user", "content": question})
            mixed = {"mix": {"name": "guidance", "scale": 2.5}, "shadow": shadow}
            wanted = model.chat(said, now=NOW, **KEPT, **mixed)
            plain = model.chat(said, now=NOW, **KEPT)
            assert answer["tokens"] == list(wanted.tokens) != list(plain.tokens)
            said.append({"role": "assistant", "content": wanted.text})
    assert intact_command("verify", file, "--model", models[0]).code == 0


def test_a_partner_of_a_mix_and_a_draft_model_are_loaded_with_the_model(intact_command, models):
    paired = [*BRIEF, "--mix", "contrastive", "--with", f"amateur={models[1]}", "--json", "--now", NOW]
    (line,) = intact_command("chat", "-m", models[0], *paired, stdin="Why?\n").out.splitlines()
    message = [{"role": "user", "content": "Why?"}]
    with intact.load(models[0], partners=models[1:]) as model:
        assert json.loads(line)["tokens"] == list(model.chat(message, now=NOW, mix="contrastive", **KEPT).tokens)
        plain = list(model.chat(message, now=NOW, **KEPT).tokens)
    drafted = intact_command(
        "chat", "-m", models[0], *BRIEF, "--draft-model", models[1], "--json", "--now", NOW, stdin="Why?\n"
    )
    assert json.loads(drafted.out)["tokens"] == plain


def test_a_codec_of_the_cache_joins_the_profile(intact_command, speaker):
    assert intact_command("chat", "--kv", "int4", stdin="one\n").code == 0
    ((_, options),) = speaker.loaded
    assert options["profile"] == "int8+kv-int4"


def test_a_draft_model_is_asked_for(intact_command, speaker):
    assert intact_command("chat", "--draft-model", DEFAULT, stdin="one\n").code == 0
    ((_, options),) = speaker.loaded
    assert options["draft_model"].name == CATALOGUE[DEFAULT].file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mix", "guidance"], "the mix guidance needs a shadow prompt"),
        (["--shadow", "x"], "a shadow prompt needs a mix"),
        (["--mix", "contrastive"], "the mix contrastive takes 1 partner, got 0"),
        (["--with", "a=b.gguf"], "no mix is given: add --mix NAME"),
        (["--mix", "contrastive", "--with", "a=b", "--with", "c=d"], "--with names 2 models, but the mix contrastive"),
        (["--mix", "guidance", "--shadow", "x", "--draft-model", "m"], "--draft-model cannot be combined with --mix"),
        (["--mix", "guidance", "--shadow", "x", "--adapter", "m"], "--adapter cannot be combined with --mix"),
    ],
)
@pytest.mark.parametrize("command", ["run", "chat"])
def test_mixes_that_cannot_be_are_refused_before_a_model_is_loaded(
    intact_command, speaker, command, arguments, message
):
    result = intact_command(command, *(["Why?"] if command == "run" else []), *arguments, stdin="one\n")
    assert (result.code, message in result.err, speaker.loaded) == (2, True, [])
