"""``intact sweep`` on a tiny random model: the same bytes for any threads, order, kill and resumption."""

import json

import pytest

from support.killed import entries, run
from support.tiny import write_evaluated, write_tiny

ASKED = (
    "gsm8k", "--space", "method=self_consistency,chain_of_thought", "--space", "n=1,2",
    "--space", "temperature=0.7,1.2",
    "--baseline", "self_consistency:n=4", "--max-tokens", "12", "--training", "6", "--first", "2", "--finalists", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and problems that it gets right now and then."""
    return write_evaluated(tmp_path_factory.mktemp("sweep"), 12)


@pytest.fixture
def sweep(intact_command, place, tmp_path, monkeypatch):
    """Sweep into a folder of this name, and give the bytes of design and result."""
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))

    def start(name, *options, words=ASKED):
        result = intact_command("sweep", *words, "-m", place / "tiny.gguf", "--out", tmp_path / name, *options)
        start.result = result
        assert result.code == 0, result.err
        return [(tmp_path / name / file).read_bytes() for file in ("design.json", "sweep.json")]

    return start


def test_threads_order_and_resumption_change_no_byte(sweep, tmp_path):
    expected = sweep("one", "--threads", "1", "--json")
    result = sweep.result.json
    assert json.loads(expected[1]) == {name: value for name, value in result.items() if name != "folder"}
    assert [rung["problems"] for rung in result["rungs"]] == [2, 6]
    assert len(result["design"]["trials"]) == 7
    assert result["judgement"]["problems"] == 6
    assert sweep("two", "--threads", "2", "--shuffle", "3", "--parallel", "2", "--batch", "8") == expected
    assert "Pareto front" in sweep.result.out
    assert sweep("one") == expected
    written = entries(tmp_path / "one" / "journal" / "journal.sqlite")
    assert sweep("three", "--journal", tmp_path / "one" / "journal") == expected
    assert entries(tmp_path / "one" / "journal" / "journal.sqlite") == written, "no text was written again"
    assert "seconds" not in expected[1].decode()
    assert json.loads((tmp_path / "one" / "sweep.host.json").read_text())["steps"]


def test_more_problems_use_the_answers_of_a_smaller_sweep(sweep, tmp_path):
    journal = tmp_path / "journal"
    few = [word if word != "6" else "4" for word in ASKED]
    sweep("few", "--journal", journal, words=few)
    before, _ = entries(journal / "journal.sqlite")
    more = sweep("more", "--journal", journal)
    after, _ = entries(journal / "journal.sqlite")
    assert more == sweep("alone")
    alone, _ = entries(tmp_path / "alone" / "journal" / "journal.sqlite")
    assert before > 0
    assert after - before < alone, "the larger sweep took over what the smaller one had answered"


def test_a_sweep_that_is_killed_twice_ends_with_the_same_bytes(sweep, place, tmp_path):
    expected = sweep("whole")
    words = ["sweep", *ASKED, "-m", str(place / "tiny.gguf"), "--out", str(tmp_path / "killed"), "--threads", "1"]
    environment = {"INTACT_DATA": str(place / "data")}
    for count in (15, 10):
        ended = run(words, environment, "step", count)
        assert ended.killed
        assert not (tmp_path / "killed" / "sweep.json").exists()
        assert (tmp_path / "killed" / "design.json").read_bytes() == expected[0]
    assert not run(words, environment).killed
    assert (tmp_path / "killed" / "sweep.json").read_bytes() == expected[1]


def test_all_texts_of_a_sweep_are_drawn_from_its_mix(sweep, tmp_path):
    shadowed = ("--mix", "guidance:scale=2.5", "--shadow", "Say it.")
    partner = write_tiny(tmp_path / "partner.gguf", seed=1)
    plain = sweep("plain")
    mixed = sweep("mixed", *shadowed, "--threads", "1")
    (model,) = json.loads(mixed[0])["models"]
    assert model["mix"]["parameters"] == {"scale": 2_500_000}
    assert model["mix"]["shadow"] == "Say it."
    assert "mix" not in json.loads(plain[0])["models"][0]
    assert json.loads(mixed[1])["rungs"] != json.loads(plain[1])["rungs"]
    design = ("--design", tmp_path / "plain" / "design.json")
    assert sweep("again", *shadowed, "--shuffle", "3", "--batch", "4", words=design) == mixed
    (model,) = json.loads(sweep("paired", "--mix", "contrastive", "--partner", partner)[0])["models"]
    assert (model["mix"]["name"], len(model["mix"]["partners"])) == ("contrastive", 1)


@pytest.mark.parametrize(
    ("options", "because"),
    [
        (("--mix", "guidance"), "a shadow prompt is missing"),
        (("--mix", "contrastive"), "takes 1 partner, got 0"),
        (("--partner", "x.gguf"), "--partner names a model for a mix, and there is none"),
        (("--mix", "guidance", "--shadow", "x", "--draft-model", "m"), "--draft-model cannot be combined with --mix"),
        (("--mix", "guidance", "--shadow", "x", "--ray", "local"), "--ray cannot be combined with --mix"),
    ],
)
def test_mixes_that_cannot_be_are_refused_before_the_work(options, because, intact_command, place, tmp_path):
    result = intact_command("sweep", "gsm8k", "-m", place / "tiny.gguf", "--out", tmp_path / "new", *options)
    assert (result.code, because in result.err) == (2, True), result.err
    assert not (tmp_path / "new").exists()


def test_bad_input_is_named_before_the_work(sweep, intact_command, place, tmp_path):
    def error(*options, task="gsm8k", folder="bad"):
        words = ("sweep", task, "-m", place / "tiny.gguf", "--out", tmp_path / folder, *options)
        result = intact_command(*words)
        assert result.code == 2
        assert not (tmp_path / "bad").exists()
        return result.err

    assert "no task 'gsm9k'" in error(task="gsm9k")
    assert "there is no axis 'm'" in error("--space", "method=self_consistency", "--space", "m=2")
    assert "no setting other than the baseline" in error("--space", "method=self_consistency", "--space", "n=16")
    assert "margin and level must lie" in error("--margin", "2")
    assert "--budget" in error("--tokens", "many") or "tokens" in error("--tokens", "many")
    assert "problems to search on" in error("--training", "12")
    assert "temperature is an axis" in error("--temperature", "0.5")
    assert "shots must be" in error("--space", "method=self_consistency", "--space", "shots=99")
    sweep("one")
    assert "holds another sweep" in error(*ASKED[1:], "--seed", "1", folder="one")
    (tmp_path / "file").write_text("")
    assert "is a file" in error(folder="file")


def test_a_design_that_was_written_gives_the_same_bytes(sweep, tmp_path):
    expected = sweep("told")
    design = tmp_path / "told" / "design.json"
    assert sweep("read", words=("--design", design)) == expected
    assert sweep("read from the result", words=("--design", tmp_path / "told" / "sweep.json")) == expected


def test_a_design_of_ones_own_has_the_settings_that_it_names(sweep, tmp_path):
    sweep("told")
    value = json.loads((tmp_path / "told" / "design.json").read_text())
    for name in ("models", "now", "caveats"):
        del value[name]
    value["design"]["trials"] = [
        {"method": "self_consistency", "parameters": {"n": 2}, "sampling": {}, "prompt": {}},
        {"method": "chain_of_thought", "parameters": {}, "sampling": {"temperature": 0.7}, "prompt": {"shots": "1"}},
    ]
    value["tasks"] = {part: {"label": about["label"]} for part, about in value["tasks"].items()}
    own = tmp_path / "own.json"
    own.write_text(json.dumps(value))
    _, result = sweep("own", words=("--design", own))
    trials = json.loads(result)["design"]["trials"]
    assert [trial["label"] for trial in trials] == ["self_consistency n=2", "chain_of_thought temperature=0.7 shots=1"]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda value: value.update(format="other"), "is no design of"),
        (lambda value: value.update(version=9), "is of version 9"),
        (lambda value: value["design"].pop("tokens"), "is damaged: KeyError('tokens')"),
        (lambda value: value["design"]["training"].append("gsm8k/test/x"), "has no problem gsm8k/test/x"),
        (lambda value: value["design"].update(rungs=[2, 5]), "rungs are [2, 5], and would be [2, 6]"),
        (lambda value: value["design"]["trials"][1]["sampling"].update(heat=1), "heat is no sampling parameter"),
        (lambda value: value["design"]["trials"][1].update(method="guess"), "guess"),
    ],
)
def test_what_is_no_design_is_refused_before_the_work(change, because, intact_command, sweep, place, tmp_path):
    sweep("told")
    value = json.loads((tmp_path / "told" / "design.json").read_text())
    change(value)
    file = tmp_path / "other.json"
    file.write_text(json.dumps(value))
    result = intact_command("sweep", "--design", file, "-m", place / "tiny.gguf", "--out", tmp_path / "new")
    assert result.code == 2
    assert because in result.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [("gsm8k",), ("--tokens", "5k"), ("--max-tokens", "5")])
def test_a_design_takes_no_other_options(options, intact_command, place, tmp_path):
    words = ("--design", tmp_path / "design.json", "-m", place / "tiny.gguf")
    result = intact_command("sweep", *options, *words)
    assert result.code == 2
    assert "leave out all of these" in result.err


def test_a_sweep_needs_a_task_or_a_design(intact_command):
    result = intact_command("sweep")
    assert result.code == 2
    assert "needs a TASK, or --design FILE" in result.err
