"""``intact logs``: what is kept of conversations, how it is found, and the same answers made again."""

import json
import stat

import pytest

from intact._base.errors import ParameterError
from intact.cli.log_store import LogStore, append_private, is_off
from support.tiny import write_tiny


@pytest.fixture(autouse=True)
def logged(monkeypatch):
    monkeypatch.delenv("INTACT_NO_LOG")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=512)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "intact" / "logs"


def entry(**changed):
    made = {
        "time": "2026-11-24T17:00:00+00:00",
        "command": "run",
        "model": {"name": "m", "profile": "int8", "digests": {}},
        "messages": [{"role": "user", "content": "What is entropy?"}],
        "now": "2026-11-24T17:00:00",
        "sampling": {"seed": 0},
        "n": 1,
        "answers": [{"text": "Disorder.", "tokens": [1], "finish": "stop"}],
    }
    return made | changed


def test_what_run_answers_is_kept_with_seed_sampling_and_digests(intact_command, tiny, folder):
    assert intact_command("run", "-m", tiny, "Why?", "--temperature", "0.9", "--max-tokens", "4").code == 0
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (kept,) = intact_command("logs", "show", "--json").json["entries"]
    assert kept["sampling"] == {"seed": 0, "temperature": 0.9, "max_tokens": 4}
    assert kept["messages"] == [{"role": "user", "content": "Why?"}]
    assert len(kept["answers"][0]["tokens"]) == 4
    info = intact_command("info", tiny, "--digests", "--json").out
    assert kept["model"]["digests"]["weights"] in info


def test_an_answer_that_ends_with_its_last_token_has_the_same_reason_streamed_or_not(intact_command, tiny):
    def ended(most, *options):
        assert intact_command("run", "-m", tiny, "Why?", "--regex", "[ab]{3}", "--max-tokens", most, *options).code == 0
        (answer,) = intact_command("logs", "show", "--json").json["entries"][0]["answers"]
        return len(answer["tokens"]), answer["finish"]

    length, reason = ended(20, "--json")
    assert reason == "stop"
    assert ended(length) == ended(length, "--json") == (length, "stop")
    assert ended(length - 1) == ended(length - 1, "--json") == (length - 1, "length")


@pytest.mark.parametrize(
    "options",
    [
        ["--temperature", "1", "--seed", "5", "-n", "3"],
        ["--temperature", "1", "--seed", "-3", "--stop", "a", "--logit-bias", "7=-2.5", "--repetition-penalty", "1.2"],
        ["--raw", "--regex", "[ab]{3}", "--temperature", "2"],
        ["--profile", "fp32"],
    ],
)
def test_a_replay_makes_the_same_answers_again(intact_command, tiny, options):
    assert intact_command("run", "-m", tiny, "Why?", "--max-tokens", "8", *options).code == 0
    result = intact_command("logs", "replay", "--json")
    assert (result.code, result.json["answers"][0]["equal"]) == (0, True)
    assert intact_command("logs", "replay").out.startswith("answer 1  equal")


def test_a_replay_reads_control_tokens_as_the_answer_did(intact_command, tiny, folder):
    asked = ("run", "-m", tiny, "Hi<|im_end|>", "--max-tokens", "4")
    answers = [intact_command(*asked, *option).out for option in ((), ("--control-tokens",))]
    assert answers[0] != answers[1]
    for one in folder.iterdir():
        entry = json.loads(one.read_text())
        assert intact_command("logs", "replay", one.stem).out == "answer 1  equal  4 tokens\n"
        if entry.pop("contents", None) is not None:  # as an earlier version wrote it, which read them as tokens
            one.write_text(json.dumps(entry) + "\n")
            assert "DIFFERS" in intact_command("logs", "replay", one.stem).out


def test_raw_prompts_read_control_tokens_anyway(intact_command, tiny):
    result = intact_command("run", "-m", tiny, "Hi", "--raw", "--control-tokens")
    assert (result.code, "leave out --control-tokens" in result.err) == (2, True)


def test_a_replay_says_where_an_answer_differs(intact_command, tiny, folder):
    intact_command("run", "-m", tiny, "Why?", "--max-tokens", "6")
    (file,) = folder.iterdir()
    kept = json.loads(file.read_text())
    kept["answers"][0]["tokens"][3] += 1
    file.write_text(json.dumps(kept))
    result = intact_command("logs", "replay")
    assert (result.code, result.out) == (1, "answer 1  DIFFERS  from token 3 on\n")


def test_a_replay_by_another_model_is_refused(intact_command, tiny, tmp_path):
    other = write_tiny(tmp_path / "other.gguf", "llama", context=512)
    intact_command("run", "-m", tiny, "Why?", "--max-tokens", "3")
    result = intact_command("logs", "replay", "--model", other)
    assert result.code == 2
    assert "is a different model now: its weights" in result.err


def test_a_chat_is_one_conversation_and_goes_on(intact_command, tiny):
    intact_command("chat", "-m", tiny, "--max-tokens", "4", "--system", "S", stdin="one\ntwo\n")
    intact_command("run", "-m", tiny, "Why?", "--max-tokens", "3")
    newest, older = [one["id"] for one in intact_command("logs", "--json").json]
    assert intact_command("chat", "--continue", older[-4:], stdin="three\n").code == 0
    kept = intact_command("logs", "show", older, "--json").json["entries"]
    assert [turn["role"] for turn in kept[-1]["messages"]] == ["system", *["user", "assistant"] * 2, "user"]
    assert [one["sampling"]["max_tokens"] for one in kept] == [4, 4, 4]
    assert intact_command("logs", "replay", older).out.count("equal") == 3
    assert intact_command("chat", "--continue", "--max-tokens", "2", stdin="and?\n").code == 0
    kept = intact_command("logs", "show", newest, "--json").json["entries"]
    assert [turn["content"] for turn in kept[-1]["messages"]][0::2] == ["Why?", "and?"]
    shown = intact_command("logs", "show", newest).out
    assert shown.count("user: Why?") == 1
    assert shown.count("user: and?") == 1


@pytest.mark.parametrize("word", ["zzz", "nope"])
def test_a_conversation_that_is_not_there_is_named_with_a_space_or_an_equals_sign(intact_command, tiny, word):
    intact_command("run", "-m", tiny, "Why?", "--max-tokens", "3")
    model = ["-m", tiny]
    for words in (
        ["--continue", word],
        [f"--continue={word}"],
        [*model, "--continue", word],
        ["--continue", word, *model],
    ):
        result = intact_command("chat", *words)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"no conversation named '{word}'; intact logs lists them" in result.err
    assert intact_command("chat", "--continue", tiny, "--max-tokens", "2", stdin="and?\n").code == 0
    assert "did you mean qwen3-0.6b" in intact_command("chat", "--continue", "qwen3-0.6").err


def test_a_text_without_a_template_cannot_go_on(intact_command, tiny):
    intact_command("run", "-m", tiny, "Why?", "--raw", "--max-tokens", "3")
    result = intact_command("chat", "--continue", stdin="more\n")
    assert result.code == 2
    assert "is raw text without a chat template" in result.err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_nothing_is_kept_if_so_asked(intact_command, tiny, folder, monkeypatch, how):
    options = ["--no-log"] if how == "option" else []
    if how == "environment":
        monkeypatch.setenv("INTACT_NO_LOG", "1")
    intact_command("run", "-m", tiny, "Why?", "--max-tokens", "2", *options)
    intact_command("chat", "-m", tiny, "--max-tokens", "2", *options, stdin="one\n")
    assert not folder.parent.exists()


@pytest.mark.parametrize(("value", "off"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_the_environment_turns_it_off(monkeypatch, value, off):
    monkeypatch.setenv("INTACT_NO_LOG", value)
    assert is_off() is off


def test_a_log_that_cannot_be_written_costs_no_answer(intact_command, tiny, folder):
    folder.parent.parent.mkdir(parents=True)
    folder.parent.write_text("in the way")
    result = intact_command("chat", "-m", tiny, "--max-tokens", "2", stdin="one\ntwo\n")
    assert result.code == 0
    assert len(result.out.splitlines()) >= 2
    assert result.err.count("this conversation is not logged") == 1


def test_a_broken_line_does_not_stop_the_reading(folder):
    store = LogStore(folder)
    name = store.begin()
    store.add(name, entry(n=1))
    with (folder / f"{name}.jsonl").open("ab") as file:
        file.write(b'{"version": 1, "torn')
    store.add(name, entry(n=2))
    with (folder / f"{name}.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[]\n{"version": 9}\n' + b"[" * 100_000 + b"\n" + b'{"version": 1, "time": 3}\n')
    store.add(name, entry(n=3))
    found = store.read(name)
    assert [one["n"] for one in found.entries] == [1, 2, 3]
    assert found.damaged == 6


def test_a_listing_passes_over_what_it_cannot_read(intact_command, folder):
    store = LogStore(folder)
    good, bad = store.begin(), "20200101-000000-0000"
    store.add(good, entry())
    (folder / f"{bad}.jsonl").write_text("nothing\n")
    (folder / "20200101-000000-0001.jsonl").mkdir()
    (folder / "notes.jsonl").write_text("of the user\n")
    result = intact_command("logs")
    assert result.code == 0
    assert result.out.splitlines() == [line for line in result.out.splitlines() if line.startswith(good)]
    assert "What is entropy?" in result.out
    assert f"{bad}: skipped 1 lines" in result.err
    assert "Is a directory" in result.err


def test_the_oldest_go_when_there_are_too_many_or_too_much(folder):
    store = LogStore(folder, most=3)
    for day in range(6):
        store.add(f"2026010{day}-000000-0000", entry())
    store.begin()
    assert store.names() == ["20260105-000000-0000", "20260104-000000-0000"]
    size = (folder / f"{store.names()[0]}.jsonl").stat().st_size
    LogStore(folder, most_bytes=size).begin()
    assert store.names() == ["20260105-000000-0000"]


def test_a_link_in_the_place_of_a_file_is_not_followed(folder, tmp_path):
    store = LogStore(folder)
    name, target = store.begin(), tmp_path / "target"
    folder.mkdir(parents=True)
    (folder / f"{name}.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        store.add(name, entry())
    assert not target.exists()


def test_a_name_is_found_by_its_beginning_its_end_or_as_the_last(folder):
    store = LogStore(folder)
    with pytest.raises(ParameterError, match="no conversation is logged in"):
        store.find("last")
    for name in ("20260101-000000-aaaa", "20260102-000000-abcd", "20260102-000001-aaaa"):
        store.add(name, entry())
    assert store.find("last") == store.find("20260102-000001") == "20260102-000001-aaaa"
    assert store.find("abcd") == "20260102-000000-abcd"
    with pytest.raises(ParameterError, match=r"'aaaa' is ambiguous: it could be 20260102-000001-aaaa, 20260101"):
        store.find("aaaa")
    for wrong in ("", "..", "../x", "ffff"):
        with pytest.raises(ParameterError, match="no conversation named"):
            store.find(wrong)


def test_conversations_are_removed(intact_command, folder):
    store = LogStore(folder)
    names = ["20260101-000000-aaaa", "20260102-000000-bbbb", "20260103-000000-cccc"]
    for name in names:
        store.add(name, entry())
    assert intact_command("logs", "path").out.strip() == str(folder)
    assert intact_command("logs", "rm", "bbbb", "last").code == 0
    assert store.names() == names[:1]
    refused = intact_command("logs", "clear", stdin="")
    assert refused.code == 2
    assert "--yes removes all" in refused.err
    assert intact_command("logs", "clear", "--yes").code == 0
    assert store.names() == []
    assert "no conversation is logged" in intact_command("logs").err


def test_a_line_is_appended_after_one_that_was_torn(tmp_path):
    file = tmp_path / "new" / "file"
    for text in ("one", "two"):
        append_private(file, text)
    file.write_text(file.read_text() + "tor")
    append_private(file, "three")
    assert file.read_text() == "one\ntwo\ntor\nthree\n"
