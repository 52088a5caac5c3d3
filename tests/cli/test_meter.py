"""`intact meter`: a real server that never changes, endpoints that do, exit codes, reports, and bad input."""

import json

import pytest

from support.moody import Moody, serve
from support.serving import running
from support.tiny import write_tiny

QUICK = "--tokens", "8", "--probes", "2", "--pause", "0", "--company", "2"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=1 << 14)


@pytest.fixture(scope="module")
def server(tiny):
    with running({"tiny": tiny}) as there:
        yield there


@pytest.mark.parametrize("api", ["openai", "ollama", "anthropic"])
def test_intacts_own_server_changes_nothing(intact_command, server, api):
    found = intact_command("meter", server.url, *QUICK, "--api", api, "--json")
    assert (found.code, found.json["status"]) == (0, 0)
    assert found.json["total"]["changed"] == 0
    assert found.json["total"]["shifted"] == 0
    assert found.json["total"]["answers"] > 10


def test_a_report_shows_all_without_a_script(intact_command, server, tiny, tmp_path):
    page = tmp_path / "meter.html"
    found = intact_command("meter", server.url, *QUICK, "--claims", tiny, "--out", page, "--journal", tmp_path / "j")
    assert found.code == 0
    assert "No answer changed: 0 of" in found.out
    assert "are those of the exact" in found.out
    text = page.read_text()
    for part in ("No answer changed", "among 2", "<svg", "The exact model", "intact meter", "Clopper-Pearson"):
        assert part in text
    assert "<script" not in text


def test_a_key_is_nowhere_in_report_and_output(intact_command, tmp_path, monkeypatch):
    secret = "sk-very-secret-key"
    monkeypatch.setenv("INTACT_API_KEY", secret)
    page, journal = tmp_path / "meter.html", tmp_path / "j"
    with serve(Moody(statuses=[200] * 2 + [401])) as moody:
        found = intact_command("meter", moody.url, *QUICK, "--out", page, "--journal", journal, "--json")
    assert moody.asked[0][1]["authorization"] == f"Bearer {secret}"
    assert "Bearer ***" in found.out
    assert secret not in found.out + found.err + page.read_text() + journal.read_text()


def test_changed_answers_are_shown_and_give_1(intact_command, tmp_path):
    mood = lambda number, now, body: "<b>flow</b>" if body.get("stream") else ""  # noqa: E731
    page = tmp_path / "meter.html"
    with serve(Moody(mood)) as moody:
        found = intact_command("meter", moody.url + "/v1", *QUICK, "--out", page)
    assert found.code == 1
    assert "4 of " in found.out
    assert "token 5" in found.out
    assert "<b>flow" not in page.read_text()


def test_an_endpoint_that_cannot_be_measured_gives_2(intact_command):
    with serve(Moody(refuse=("messages",))) as moody:
        found = intact_command("meter", moody.url, *QUICK)
    assert found.code == 2
    assert "Nothing could be measured." in found.out
    assert "unknown field: messages" in found.out


def test_a_journal_continues(intact_command, tmp_path):
    journal = tmp_path / "meter.jsonl"
    with serve(Moody()) as moody:
        first = intact_command("meter", moody.url, *QUICK, "--max-requests", "9", "--journal", journal, "--json").json
        after = intact_command("meter", moody.url, *QUICK, "--journal", journal, "--json").json
    assert first["unmeasured"]
    assert not after["unmeasured"]
    assert after["used"]["requests"] > first["used"]["requests"]
    assert after["trials"][: len(first["trials"])] == first["trials"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: lines[1:], "is no journal of intact meter"),
        (lambda lines: [lines[0].replace("8000", "9000"), *lines[1:]], "give another --journal"),
        (lambda lines: [lines[0], lines[1].replace('"trials"', '"other"')], "is damaged"),
        (lambda lines: [lines[0], "{]"], "line 2"),
    ],
)
def test_a_journal_of_something_else_is_refused_unchanged(intact_command, tmp_path, damage, message):
    journal = tmp_path / "meter.jsonl"
    about = {"url": "http://127.0.0.1:8000", "api": "", "model": "", "tokens": 8, "prompts": None}
    spent = {"requests": 2, "tokens": 9, "seconds": 1.0, "cost": 0.0}
    step = {"step": "s", "session": 1, "failure": "", "spent": spent, "trials": []}
    head = {"format": "intact-meter", "version": 1, "about": about}
    lines = damage([json.dumps(head), json.dumps(step)])
    journal.write_text("\n".join(lines) + "\n")
    before = journal.read_bytes()
    found = intact_command("meter", "http://127.0.0.1:8000", *QUICK, "--journal", journal)
    assert found.code == 2
    assert message in " ".join(found.err.split())
    assert journal.read_bytes() == before


@pytest.mark.parametrize("content", ["one line of notes", "two lines\nof notes", '{"a": 1}\n{"b"'])
def test_a_file_that_is_no_journal_keeps_its_last_line(intact_command, tmp_path, content):
    notes = tmp_path / "notes.txt"
    notes.write_text(content)
    assert intact_command("meter", "http://127.0.0.1:8000", *QUICK, "--journal", notes).code == 2
    assert notes.read_text() == content


def test_a_journal_whose_last_line_is_cut_off_continues(intact_command, tmp_path):
    journal = tmp_path / "meter.jsonl"
    with serve(Moody()) as moody:
        run = "meter", moody.url, *QUICK, "--journal", journal, "--json"
        first = intact_command(*run).json
        whole = journal.read_text()
        journal.write_text(whole[:-20])
        second = intact_command(*run).json
    lost = len(first["trials"]) - len(second["trials"])
    assert lost == 0
    assert journal.read_text().count("\n") == whole.count("\n")


def test_other_prompts_need_another_journal(intact_command, tmp_path):
    journal, prompts = tmp_path / "meter.jsonl", tmp_path / "prompts.txt"
    prompts.write_text("One?\nTwo?\n")
    with serve(Moody()) as moody:
        run = "meter", moody.url, *QUICK, "--journal", journal, "--prompts", prompts
        assert intact_command(*run).code == 0
        prompts.write_text("Three?\nFour?\n")
        found = intact_command(*run)
    assert found.code == 2
    assert "give another --journal" in " ".join(found.err.split())


def test_bad_input_is_named_before_anything_is_sent(intact_command, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    for arguments, message in (
        (("http://user@127.0.0.1:9",), "without a user or a query"),
        (("ftp://127.0.0.1",), "the address must be http://HOST"),
        (("http://127.0.0.1:9", "--api", "grpc"), "--api must be one of openai, ollama, anthropic, got 'grpc'"),
        (("http://127.0.0.1:9", "--company", "8,8"), "sizes of company must be different"),
        (("http://127.0.0.1:9", "--company", "2-8"), "sizes of company must be numbers, such as 2,8,32, got '2-8'"),
        (("http://127.0.0.1:9", "--temperature", "-1"), "temperatures must be 0 to 100, got [-1.0]"),
        (("http://127.0.0.1:9", "--temperature", "nan"), "temperatures must be 0 to 100"),
        (("http://127.0.0.1:9", "--company", "0"), "sizes of company must be different, 1 to 4096 each"),
        (("http://127.0.0.1:9", "--tolerance", "1"), "--tolerance must lie between 0 and 1"),
        (("http://127.0.0.1:9", "--max-cost", "1"), "--max-cost needs --price-in or --price-out"),
        (("http://127.0.0.1:9", "--prompts", tmp_path / "empty.txt"), "has no prompts"),
        (("http://127.0.0.1:9", "--out", tmp_path / "no" / "x.html"), "--out"),
        (("http://127.0.0.1:9", "--wait", "0"), "http://127.0.0.1:9 does not answer within 0 s"),
    ):
        found = intact_command("meter", *arguments)
        assert found.code == 2
        assert message in " ".join(found.err.split())
