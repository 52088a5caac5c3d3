"""``intact run``: streaming, templates, samples, JSON; and with the engine, a real answer."""

import hashlib
import json

import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch, output
from intact.cli.options import as_bytes
from support.models import real_model
from support.speaker import SENTENCE, Tokenizer


def test_a_single_argument_is_the_prompt_for_the_default_model(intact_command, speaker, default_here):
    result = intact_command("run", "Why?")
    assert (result.code, result.out, result.err) == (0, SENTENCE + "\n", "")
    assert speaker.loaded == [(default_here, {"profile": "int8", "cache_bytes": None})]


def test_options_reach_the_engine(intact_command, speaker):
    options = "--max-tokens 5 --temperature 0.5 --top-p 0.9 --top-k 4 --min-p 0.1 --seed 9 --stop a --stop b "
    options += "--min-tokens 2 --typical-p 0.7 --repetition-penalty 1.1 --presence-penalty 0.2 --frequency-penalty 0.3 "
    options += "--logit-bias 7=-2.5 --logit-bias 9=-inf --regex x+ --no-draft --cache 300MB --threads 2 --profile fp32"
    assert intact_command("run", "x", *options.split()).out == "The s\n"
    ((_, parameters),) = speaker.asked
    assert parameters == {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "min_p": 0.1,
        "seed": 9,
        "stop": ("a", "b"),
        "min_tokens": 2,
        "typical_p": 0.7,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "logit_bias": {7: -2.5, 9: -float("inf")},
        "regex": "x+",
        "draft": False,
    }
    assert speaker.loaded[0][1] == {"profile": "fp32", "threads": 2, "cache_bytes": 300_000_000}


def test_a_bound_of_hopeless_texts_is_passed_on_where_it_is_given(intact_command, speaker):
    assert intact_command("run", "x", "--stop-mean-below", "-1.5", "--stop-window", "8").code == 0
    assert intact_command("run", "x").code == 0
    given = [{name: asked[name] for name in asked if name.startswith("stop_")} for _, asked in speaker.asked]
    assert given == [{"stop_mean_below": -1.5, "stop_window": 8}, {}]


def test_a_draft_model_is_loaded_here_and_beside_the_model(intact_command, speaker, default_here):
    assert intact_command("run", "x", "--draft-model", DEFAULT).code == 0
    loaded = {"profile": "int8", "cache_bytes": None, "draft_model": default_here}
    assert speaker.loaded == [(default_here, loaded)]
    assert "nowhere.gguf" in intact_command("run", "x", "--draft-model", "nowhere.gguf").err


def test_a_drafter_is_chosen_by_its_name(intact_command, speaker, default_here):
    assert intact_command("run", "x", "--drafter", "lookup").code == 0
    loaded = {"profile": "int8", "cache_bytes": None, "drafter": "lookup"}
    assert speaker.loaded == [(default_here, loaded)]


def test_a_codec_of_the_cache_joins_the_profile(intact_command, speaker, default_here):
    told = intact_command("run", "x", "--kv", "int4", "--profile", "mxfp4", "--json")
    assert told.json["profile"] == "mxfp4+kv-int4"
    assert speaker.loaded == [(default_here, {"profile": "mxfp4+kv-int4", "cache_bytes": None})]
    wrong = intact_command("run", "x", "--kv", "int4", "--profile", "fp32")
    assert (wrong.code, "fp32 keeps keys and values as floats" in wrong.err) == (2, True)
    assert "there is no codec 'int5'" in " ".join(intact_command("run", "x", "--kv", "int5").err.split())
    assert len(speaker.loaded) == 1


def test_a_folder_of_pages_is_passed_on_and_checked(intact_command, speaker, default_here, tmp_path):
    assert intact_command("run", "x", "--prefix-cache", tmp_path, "--prefix-cache-bytes", "2GB").code == 0
    assert intact_command("chat", "--prefix-cache", tmp_path, stdin="x\n").code == 0
    kept = [{name: one.get(name) for name in ("prefix_cache", "prefix_cache_bytes")} for _, one in speaker.loaded]
    assert kept == [{"prefix_cache": tmp_path, "prefix_cache_bytes": size} for size in (2_000_000_000, None)]
    result = intact_command("run", "x", "--prefix-cache-bytes", "2GB")
    assert (result.code, result.err) == (
        2,
        "error: --prefix-cache-bytes limits a folder, but no folder is given: add --prefix-cache DIR\n",
    )
    assert "--prefix-cache-bytes must be a size" in intact_command("run", "x", "--prefix-cache-bytes", "much").err


def test_an_instruct_model_gets_its_template_unless_raw(intact_command, speaker):
    intact_command("run", "Why?")
    intact_command("run", "Why?", "--system", "Be brief.")
    intact_command("run", "Why?", "--raw")
    speaker.tokenizer.chat_template = None
    intact_command("run", "Why?")
    assert [prompt for prompt, _ in speaker.asked] == [
        list(b"<user>Why?<assistant>"),
        list(b"<system>Be brief.<user>Why?<assistant>"),
        "Why?",
        "Why?",
    ]
    assert "no chat template" in intact_command("run", "Why?", "--system", "Be brief.").err


def test_the_template_writes_the_first_token_itself(intact_command, speaker):
    speaker.tokenizer = Tokenizer(adds_bos=True)
    intact_command("run", "Why?")
    assert speaker.asked[0][0] == list(b"<user>Why?<assistant>")


def test_a_dash_reads_the_prompt_from_standard_input(intact_command, speaker):
    intact_command("run", "-", "--raw", stdin="Grüße\n")
    assert speaker.asked[0][0] == "Grüße\n"
    result = intact_command("run", "-", "--raw", stdin=b"ab\xff")
    assert "standard input is not valid UTF-8: byte 0xff at offset 2" in result.err


def test_an_argument_that_is_not_utf8_is_an_error(intact_command, speaker):
    result = intact_command("run", "caf\udce9")
    assert result.code == 2
    assert "PROMPT is not valid UTF-8: byte 0xe9 at offset 3" in result.err


def test_several_samples_are_told_apart(intact_command, speaker):
    assert intact_command("run", "x", "-n", "3").out.count(SENTENCE + "\n") == 3


def test_json_holds_the_whole_answer_and_nothing_that_varies(intact_command, speaker):
    first, second = (intact_command("run", "x", "-n", "2", "--json", "--logprobs", "--stats") for _ in range(2))
    assert first.out == second.out
    assert first.json["model"] == DEFAULT
    assert first.json["logprob_scale"] == 2**24
    assert [answer["text"] for answer in first.json["completions"]] == [SENTENCE] * 2
    assert first.json["completions"][0]["logprobs"][2] == -2 * 2**24
    assert "tokens/s" in first.err


def test_logprobs_are_told_token_by_token(intact_command, speaker):
    lines = intact_command("run", "x", "--logprobs", "--max-tokens", "2").out.splitlines()
    assert lines[0] == "Th"
    assert lines[1].split() == ["0.000000", "84", "'T'"]
    assert lines[2].split() == ["-1.000000", "104", "'h'"]


def test_a_model_cannot_steer_the_terminal():
    class Terminal:
        def isatty(self):
            return True

    assert output.printable("a\x1b[2Jb\n\tc\x9b", Terminal()) == "a\ufffd[2Jb\n\tc\ufffd"


def test_the_default_model_is_pulled_on_first_use_and_others_are_not(
    intact_command, speaker, default_here, monkeypatch
):
    default_here.unlink()
    pulled = []

    def pull(entry):
        pulled.append(entry.name)
        default_here.touch()
        return type("Pulled", (), {"path": default_here})

    monkeypatch.setattr(fetch, "pull_with_progress", pull)
    result = intact_command("run", "hello")
    assert result.out == SENTENCE + "\n"
    assert "fetching smollm2-135m-instruct (98 MB, Apache-2.0)" in result.err
    assert intact_command("run", "-m", "qwen3-0.6b", "hello").code == 2
    assert pulled == [DEFAULT]


def test_an_empty_prompt_is_an_error(intact_command):
    result = intact_command("run", " ")
    assert result.code == 2
    assert "PROMPT is empty" in result.err


@pytest.mark.slow
def test_a_real_model_answers(intact_command):
    path = real_model("smollm2-135m")
    arguments = ("run", "-m", path, "Why is the sky blue?", "--max-tokens", "16")
    streamed = intact_command(*arguments)
    assert streamed.code == 0, streamed.err
    assert "light" in streamed.out
    whole = intact_command(*arguments, "--json", "--logprobs", "--threads", "1")
    assert whole.json["completions"][0]["text"] + "\n" == streamed.out
    again = intact_command(*arguments, "--json", "--logprobs", "--threads", "2")
    assert hashlib.sha256(whole.out.encode()).digest() == hashlib.sha256(again.out.encode()).digest()
    assert json.loads(again.out)["completions"][0]["logprobs"]


@pytest.mark.parametrize("size", ["9" * 400, "1." + "9" * 400, "0", "2X"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ParameterError, match="--cache must be a size such as 300MB"):
        as_bytes(size)
    with pytest.raises(ParameterError, match="--memory must be a size such as 300MB"):
        as_bytes(size, "--memory")


@pytest.mark.parametrize("option", ["--json-schema", "--grammar"])
def test_a_mistyped_file_is_no_text(intact_command, speaker, option):
    result = intact_command("run", "one", option, "nowhere.json")
    assert (result.code, result.err) == (2, "error: nowhere.json cannot be read: No such file or directory\n")


def test_a_backslash_and_an_n_are_a_line_feed_in_a_stop_string(intact_command, speaker):
    intact_command("run", "one", "--stop", "\\nQ:", "--stop", "end")
    assert speaker.asked[0][1]["stop"] == ("\nQ:", "end")


def test_what_is_refused_leaves_nothing_on_stdout(intact_command, speaker, monkeypatch):
    def refuse(*_, **__):
        raise ParameterError("it does not fit")

    monkeypatch.setattr(speaker, "stream", refuse)
    result = intact_command("run", "one")
    assert (result.code, result.out) == (2, "")
