"""The file: readable, in an order that does not depend on time, merged from parts, and bounded when it is read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from intact._base.errors import CassetteError
from intact.serve.cassette import cassette as module
from intact.serve.cassette import matching, recorder, redaction, streams
from intact.serve.cassette.cassette import FORMAT, VERSION, Cassette
from intact.serve.cassette.content import KINDS, BodyContent
from intact.serve.cassette.entry import CassetteEntry, Origin, RecordedAnswer
from intact.serve.cassette.matching import HttpRequest

REMOTE = Origin("remote", "https://api.example")


def entry(prompt="Hi", answer="Hello", scope="", origin=REMOTE, **more):
    body = BodyContent("json", {"model": "m", "messages": [{"role": "user", "content": prompt}]} | more)
    headers = {"content-type": "application/json"}
    request = HttpRequest("POST", "/v1/chat/completions", host="https://api.example", headers=headers, content=body)
    return CassetteEntry(
        request, RecordedAnswer(200, headers, BodyContent("json", {"id": "c1", "text": answer})), origin, scope
    )


def test_a_file_is_read_as_it_was_written(tmp_path):
    local = Origin("local", "tiny.gguf", "intact-1-int8-00")
    cassette = Cassette([entry(), entry("Ho", scope="test_a.py::test"), entry("Ha", origin=local)])
    cassette.write(tmp_path / "c.json")
    again = Cassette.read(tmp_path / "c.json")
    assert again.text() == cassette.text()
    assert {one.origin for one in again.entries} == {REMOTE, local}
    assert sorted(one.scope for one in again.entries) == ["", "", "test_a.py::test"]


def test_the_order_in_the_file_is_that_of_tests_and_conversations_not_of_time():
    entries = [
        entry("b", scope="t2"),
        entry("a longer prompt", scope="t1"),
        entry("a", scope="t1"),
        entry("a", "2", "t1"),
    ]
    orders = [entries, entries[::-1][1:] + entries[-1:]]
    texts = [Cassette(order).text() for order in orders]
    assert texts[0] == texts[1]
    read = Cassette.parse(texts[0].encode()).entries
    prompts = [(one.scope, one.request.content.value["messages"][0]["content"], one.occurrence) for one in read]
    assert prompts == [("t1", "a", 1), ("t1", "a", 2), ("t1", "a longer prompt", 1), ("t2", "b", 1)]


def test_short_objects_and_lists_of_numbers_take_one_line():
    text = Cassette([entry(x=list(range(500)))]).text()
    assert '     "messages": [{"role": "user", "content": "Hi"}],\n' in text.replace("      ", "     ")
    assert sum(line.strip().startswith('"x": [0, 1, 2, 3') for line in text.splitlines()) == 1


def test_parts_of_processes_are_merged_the_same_in_any_order():
    shared = entry("of a fixture")
    parts = [[entry("a", scope="t1"), shared], [shared, entry("b", scope="t2")], []]
    base = Cassette([entry("old", scope="t0")])
    assert base.merged(parts).text() == base.merged(parts[::-1]).text()
    merged = base.merged(parts)
    assert len(merged.entries) == 4
    again = merged.merged([[entry("a", "other", scope="t1")]], {"t1"})
    assert len(again.entries) == 4
    assert '"other"' in again.text()
    assert [one.occurrence for one in merged.merged([[entry("a", "other", scope="t1")]]).numbered()].count(2) == 1


def test_a_lone_surrogate_is_escaped():
    cassette = Cassette([entry("\ud800")])
    assert Cassette.parse(cassette.text().encode()).text() == cassette.text()


def document(**changes):
    value = json.loads(Cassette([entry()]).text())
    return value | changes


def changed(place, value):
    whole = document()
    inner = whole["entries"][0]
    *steps, last = place
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return whole


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "is no cassette"),
        ({"format": "intact-test-lock"}, "is no cassette"),
        (document(version=2), "has version 2"),
        (document(version=True), "has version True"),
        (document(extra=1), "unknown member"),
        (document(match_on=[]), "match_on must be"),
        (document(match_on=["cookies"]), "match_on must be"),
        (document(entries={}), "must be a list"),
        (document(entries=[1]), "must be an object"),
        (changed(["request", "path"], "v1"), "begins with /"),
        (changed(["request", "method"], "post"), "an HTTP method"),
        (changed(["request", "body"], {}), "exactly one member"),
        (changed(["request", "body"], {"json": 1, "text": ""}), "exactly one member"),
        (changed(["request", "extra"], 1), "unknown member"),
        (changed(["request", "headers"], {"content-type": "b\r\nset-cookie: c"}), "printable"),
        (changed(["answer", "headers"], {"Content-Type": "b"}), "expected only anthropic-beta"),
        (changed(["answer", "headers"], {"location": "https://elsewhere.example"}), "expected only anthropic-beta"),
        (changed(["answer", "headers"], []), "must be an object"),
        (changed(["answer", "status"], 99), "integer from 200 to 599"),
        (changed(["answer", "body"], {"base64": "?"}), "must be base64"),
        (changed(["answer", "body"], {"events": "x"}), "list of events"),
        (changed(["origin"], {"remote": "https://user:key@host"}), "without credentials"),
        (changed(["origin"], {"local": "m"}), "lacks the member"),
        (changed(["occurrence"], 0), "integer from 1"),
        (changed(["test"], 4), "must be a string"),
    ],
)
def test_hostile_files_are_refused(value, message, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(value))
    with pytest.raises(CassetteError, match=message) as error:
        Cassette.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "not valid JSON"),
        (b"[" * 10_000, "nested too deep|no cassette|not valid JSON"),
        (b'{"format":"intact-cassette","format":""}', "duplicate member"),
        (b'{"format": NaN}', "NaN"),
    ],
)
def test_what_is_not_strict_json_is_refused(data, message):
    with pytest.raises(CassetteError, match=message):
        Cassette.parse(data)


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document(entries=document()["entries"] * 3)))
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    with pytest.raises(CassetteError, match="more than 2 entries"):
        Cassette.read(path)
    with pytest.raises(CassetteError, match="split the suite"):
        Cassette([entry(str(i)) for i in range(3)]).write(tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()
    parts = [Cassette.read(part) for part in sorted(tmp_path.glob("new.part*.json"))]
    assert [len(part.entries) for part in parts] == [1, 2]  # nothing that was recorded is lost
    assert len({one.request.path + str(one.request.content) for part in parts for one in part.entries}) == 3
    monkeypatch.setattr(module, "MOST_BYTES", 50)
    with pytest.raises(CassetteError, match="larger than 50 bytes"):
        Cassette.read(path)


def test_equal_requests_are_numbered_within_their_test():
    same = [entry(scope="t1"), entry(scope="t2"), replace(entry(scope="t1"), occurrence=9)]
    assert [(one.scope, one.occurrence) for one in Cassette(same).numbered()] == [("t1", 1), ("t2", 1), ("t1", 2)]
    assert json.loads(Cassette(same).text())["format"] == FORMAT
    assert json.loads(Cassette(same).text())["version"] == VERSION


def test_the_documented_format_names_what_the_code_names():
    text = (Path(__file__).parents[3] / "docs" / "spec" / "cassettes.md").read_text()
    groups = (
        *(matching.KEPT_HEADERS, matching.IDENTIFIERS, matching.TIMES, matching.LABELS, matching.MATCHERS),
        *(redaction.SECRET_HEADERS, redaction.SECRET_QUERIES, redaction.VARIABLES, streams.TEXTS, KINDS),
    )
    assert [name for group in groups for name in sorted(group) if f"`{name}`" not in text] == []
    assert f'"{FORMAT}"`, {VERSION}' in text
    for number in (module.MOST_ENTRIES, streams.MOST_DEPTH, *recorder.NOT_KEPT):
        assert f"{number:,}" in text
