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
    assert json.loads(expected[1]) == {
        name: value for name, value in result.items() if name not in ("folder", "seconds")
    }
    assert {row["trial"] for row in result["seconds"]["settings"]} >= {0}
    assert [rung["problems"] for rung in result["rungs"]] == [2, 6]
    assert len(result["design"]["trials"]) == 7
    assert result["judgement"]["problems"] == 6
    assert sweep("two", "--threads", "2", "--shuffle", "3", "--parallel", "2", "--batch", "8") == expected
    fronts = json.loads(expected[1])["judgement"]["fronts"]
    assert [len(fronts[unit]) > 0 for unit in ("tokens", "operations")] == [True, True]
    assert all(f"Pareto front by {unit}, from the cheapest: " in sweep.result.out for unit in fronts)
    assert sweep("one") == expected
    written = entries(tmp_path / "one" / "journal" / "journal.sqlite")
    assert sweep("three", "--journal", tmp_path / "one" / "journal") == expected
    assert entries(tmp_path / "one" / "journal" / "journal.sqlite") == written, "no text was written again"
    assert "seconds" not in expected[1].decode()
    steps = json.loads((tmp_path / "one" / "sweep.host.json").read_text())["steps"]
    assert min(step["written"] for step in steps) > 0
    assert sum(step["written"] for step in steps) < result["spent"]["total"], "settings share texts"


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


@pytest.mark.parametrize("strikes", [(15,), pytest.param((15, 10), marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_ends_with_the_same_bytes(sweep, place, tmp_path, strikes):
    expected = sweep("whole")
    words = ["sweep", *ASKED, "-m", str(place / "tiny.gguf"), "--out", str(tmp_path / "killed"), "--threads", "1"]
    environment = {"INTACT_DATA": str(place / "data")}
    for count in strikes:
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
        (("--mix", "guidance"), "the mix guidance needs a shadow prompt"),
        (("--mix", "contrastive"), "takes 1 partner, got 0"),
        (("--partner", "x.gguf"), "--partner names a model for a mix, but no mix is given"),
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

    assert "no task named 'gsm9k'" in error(task="gsm9k")
    assert "generate 4, critique" in error("--space", "method=archon", "--space", "layers=generate 4, critique")
    assert "no axis named 'm'" in error("--space", "method=self_consistency", "--space", "m=2")
    assert "no setting other than the baseline" in error("--space", "method=self_consistency", "--space", "n=16")
    assert "margin and level must lie" in error("--margin", "2")
    assert "the share of tokens must lie" in error("--share", "1.5")
    assert "must end with one of" in error("--plot", tmp_path / "fronts.docx")
    assert "--budget" in error("--tokens", "many") or "tokens" in error("--tokens", "many")
    assert "problems to search on" in error("--training", "12")
    assert "temperature is an axis" in error("--temperature", "0.5")
    assert "shots must be" in error("--space", "method=self_consistency", "--space", "shots=99")
    sweep("one")
    assert "contains another sweep" in error(*ASKED[1:], "--seed", "1", folder="one")
    (tmp_path / "file").write_text("")
    assert "is a file" in error(folder="file")


def test_the_fronts_are_drawn(sweep, tmp_path):
    sweep("drawn", "--plot", tmp_path / "fronts.png")
    assert (tmp_path / "fronts.png").read_bytes()[:4] == b"\x89PNG"


def test_a_guess_of_another_sweep_is_tried_first_and_what_it_lacks_is_drawn(sweep, intact_command, tmp_path):
    sweep("told")
    told, guess = tmp_path / "told" / "sweep.json", tmp_path / "guess.json"
    words = ("learn", "settings", told, "--task", "gsm8k", "--baseline", "self_consistency:n=4", "--to", guess)
    facts = intact_command(*words, "--json").json
    assert facts["left_one_out"] is None
    settings = facts["settings"]
    assert settings, "settings of fewer tokens than the baseline's gain where none is right more often"
    assert "fewer than three records" in intact_command(*words).out
    design, _ = sweep("guessed", "--guess", guess, "--trials", "3")
    trials = [trial["label"] for trial in json.loads(design)["design"]["trials"]]
    assert trials[1:3] == [one["label"] for one in settings[:2]]
    assert len(trials) == 4 == len(set(trials))


def test_result_files_are_records_too(intact_command, place, tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    runs = {"vote": ("self_consistency", "n=4"), "pair": ("self_consistency", "n=2"), "one": ("chain_of_thought", "")}
    for name, (method, given) in runs.items():
        own = ("--method", method, *(("--set", given) if given else ()), "--max-tokens", "12")
        done = intact_command("eval", place / "tiny.gguf", "gsm8k", *own, "--out", tmp_path / f"{name}.jsonl")
        assert done.code == 0, done.err
    words = ("learn", "settings", *(tmp_path / f"{name}.jsonl" for name in runs), "--to", tmp_path / "guess.json")
    facts = intact_command(*words, "--baseline", "self_consistency:n=4", "--json").json
    assert facts["records"] == ["gsm8k, tiny.gguf"]
    assert {one["method"] for one in facts["settings"]} <= {"self_consistency", "chain_of_thought"}
    assert all(one["parameters"].get("n") != 4 and one["records"] == 1 for one in facts["settings"])
    assert facts["settings"], "settings of fewer tokens than the baseline's gain where none is right more often"
    refused = intact_command(*words)
    assert refused.code == 2
    assert "has the setting self_consistency n=16, to which gains are relative" in refused.err


@pytest.mark.parametrize(
    ("name", "text", "because"),
    [
        ("told/design.json", None, "is not the result of a sweep"),
        (
            "told/sweep.json",
            None,
            "has the baseline self_consistency n=4, but gains are relative to self_consistency n=16",
        ),
        ("own.json", '{"format": "intact sweep", "version": 9, "judgement": {}}', "has version 9"),
        ("own.json", '{"format": "intact sweep", "version": 1, "judgement": {}}', "is damaged"),
        ("own.json", "{", "own.json"),
    ],
)
def test_what_is_no_record_is_refused(name, text, because, sweep, intact_command, tmp_path):
    if text is None:
        sweep("told")
    else:
        (tmp_path / name).write_text(text)
    result = intact_command("learn", "settings", tmp_path / name, "--to", tmp_path / "guess.json")
    assert (result.code, because in result.err) == (2, True), result.err
    assert not (tmp_path / "guess.json").exists()


def test_a_file_that_is_no_guess_is_refused_before_the_work(intact_command, place, tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    file = tmp_path / "guess.json"
    for text, because in (
        ("[]", "is not a first guess"),
        ('{"format": "intact first guess", "version": 9}', "has version 9"),
        ('{"format": "intact first guess", "version": 1}', "is damaged: KeyError('settings')"),
    ):
        file.write_text(text)
        words = ("sweep", "gsm8k", "-m", place / "tiny.gguf", "--guess", file, "--out", tmp_path / "new")
        result = intact_command(*words)
        assert (result.code, because in result.err) == (2, True), result.err
        assert not (tmp_path / "new").exists()


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
        (lambda value: value.update(format="other"), "is not a design of"),
        (lambda value: value.update(version=9), "has version 9"),
        (lambda value: value["design"].pop("tokens"), "is damaged: KeyError('tokens')"),
        (lambda value: value["design"]["training"].append("gsm8k/test/x"), "has no problem gsm8k/test/x"),
        (lambda value: value["design"]["training"].append(value["design"]["training"][0]), "occurs twice in one part"),
        (lambda value: value["design"].update(share="half"), "is damaged: ValueError"),
        (lambda value: value["design"].update(rungs=[2, 5]), "rungs are [2, 5], but the factor gives [2, 6]"),
        (lambda value: value["design"]["trials"][1]["sampling"].update(heat=1), "heat is not a sampling parameter"),
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
    assert "leave them out" in result.err


def test_a_sweep_needs_a_task_or_a_design(intact_command):
    result = intact_command("sweep")
    assert result.code == 2
    assert "needs a TASK, or --design FILE" in result.err
