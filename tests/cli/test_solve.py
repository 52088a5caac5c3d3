"""``intact solve``, ``intact methods`` and ``intact trace`` on a tiny random model."""

import io
import itertools
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import intact
from intact._base.errors import UndecidedError
from intact.cli import solve_task, trace
from intact.cli.solve import show_result
from intact.reason import Answer, Cost, Result
from intact.reason.recommended import RECOMMENDED
from intact.reason.registry import METHODS
from intact.tasks.gsm8k import GSM8K
from support.tiny import write_tiny

MINE = '''
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect


@method("mine", temperature=1.0)
def majority(problem: Problem, *, n: int = 3, loud: bool = False) -> Steps:
    """Vote.

    Parameters
    ----------
    n : int
        Samples.
    """
    samples = yield [Extend(problem.start)] * n
    return elect(problem, samples, loud=loud)
'''


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf")


@pytest.fixture
def solve(intact_command, model):
    def run(*arguments):
        return intact_command("solve", *arguments, "-m", model, "--threads", 1, "--max-tokens", 8)

    return run


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"It is {2 * i}.\n#### {2 * i}"} for i in range(5)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))


def test_methods_are_listed_with_source_and_parameters(intact_command):
    listed = {method["name"]: method for method in intact_command("methods", "--json").json}
    assert {"self_consistency", "best_of_n", "particle_filter", "short_m_at_k"} <= set(listed)
    for method in listed.values():
        assert method["paper"]
        assert method["line"].endswith(".")
        assert all(parameter["help"] for parameter in method["parameters"]), method["name"]
    shown = intact_command("methods", "self_consistency").out
    assert "--set n=16" in shown
    assert "2203.11171" in shown
    assert r"--set delimiter=\n\n" in intact_command("methods", "best_of_n").out


def test_the_list_begins_with_the_recommended_methods_and_has_all_by_group(intact_command):
    shown = intact_command("methods").out
    first, *groups = shown.split("\n\n")
    names = [re.findall(r"^(\w+)  \S", part, re.MULTILINE) for part in (first, *groups)]
    assert names[0] == list(RECOMMENDED)
    assert sorted(name for members in names[1:] for name in members) == sorted(METHODS)
    for part, members in zip(groups, names[1:], strict=True):
        assert {METHODS[name].group for name in members} == {part[:1].lower() + part.partition("\n")[0][1:]}


def test_an_answer_with_its_trace(solve, intact_command, tmp_path):
    trace = tmp_path / "trace.json"
    result = solve("self_consistency", "What is 1 + 1?", "-n", 4, "--json", "--trace", trace)
    assert result.code == 0, result.err
    assert result.json["cost"]["tokens"] <= 32
    assert result.json["why"] == "done"
    shown = intact_command("trace", "show", trace)
    assert shown.code == 0
    assert sum(" tokens, " in line for line in shown.out.splitlines()) == 5
    assert intact_command("trace", "show", trace, "--json").json == json.loads(trace.read_text())
    assert "one after the other" in solve("self_consistency", "What is 1 + 1?", "-n", 4).out


@pytest.mark.parametrize(
    ("votes", "line"),
    [
        ({"401": 2.0, "391": 1.0, "12": 1.0}, "answer  401, 2 of 4 votes  confidence 0.50"),
        ({"401": 1.0, "391": 1.0}, "answer  401, 1 of 2 votes (tie, the first of 2)  confidence 0.50"),
        ({"401": 0.5, "391": 0.25}, "answer  401, 66.7% of the weight  confidence 0.50"),
        ({}, "answer  401  confidence 0.50"),
    ],
)
def test_an_answer_says_how_close_the_vote_was(capsys, votes, line):
    show_result(Result("p", "self_consistency", Answer("401", votes, 0.5), Cost()))
    assert capsys.readouterr().out.splitlines()[0] == line


def test_an_answer_may_be_a_whole_text_and_what_cannot_be_read_is_said(solve):
    unread = solve("best_of_n", "Why?", "-n", 2).out
    assert "answer  None" in unread
    assert "--answer text takes texts whole" in unread
    whole = solve("best_of_n", "Why?", "-n", 2, "--answer", "text").out
    assert whole.count(whole.splitlines()[0]) == 2, "the text, and the text as the answer"
    assert "--answer" not in whole
    result = solve("best_of_n", "Why?", "-n", 2, "--answer", "text", "--json").json
    assert result["answer"] == result["text"].strip() != ""


def test_pages_of_its_prompts_are_kept_in_a_folder_and_change_no_answer(solve, tmp_path):
    question = "What is 2 + 2? Say it slowly, one word after the other, and then once more."
    kept = ("--prefix-cache", tmp_path / "pages", "--prefix-cache-bytes", "50MB")
    answers = [solve("self_consistency", question, *more, "--json") for more in ((), kept, kept)]
    outcomes = [(one.code, one.json["answer"], one.json["cost"]["tokens"]) for one in answers]
    assert outcomes == [outcomes[0]] * 3
    assert [path for path in (tmp_path / "pages").glob("*/*") if len(path.name) == 64]


def test_the_library_and_the_command_line_agree(solve, model):
    told = solve("self_consistency", "What is 1 + 1?", "-n", 3, "--seed", 5, "--json").json
    loaded = intact.load(model, threads=1)
    result = intact.solve(loaded, "self_consistency", "What is 1 + 1?", n=3, seed=5, max_tokens=8).as_dict()
    for value in (told, result):
        value["cost"].pop("seconds")
    assert json.loads(json.dumps(result)) == told


def test_a_method_of_the_users_own(solve, intact_command, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    result = solve(f"{file}:majority", "What?", "--set", "n=2", "--set", "loud=true", "--json")
    assert result.code == 0, result.err
    assert result.json["details"] == {"loud": True}
    assert "has no method 'vote'" in solve(f"{file}:vote", "What?").err
    for command in (solve(file, "What?"), intact_command("check", file)):
        assert (command.code, command.err) == (2, f"error: give {file}:NAME; it has majority\n")
    file.write_text("1 / 0")
    assert "cannot be loaded: ZeroDivisionError" in solve(f"{file}:majority", "What?").err
    assert "no such file" in solve(f"{tmp_path}/other.py:majority", "What?").err
    assert "File name too long" in solve("x" * 5000 + ".py:majority", "What?").err


def test_the_example_of_a_users_method_runs_on_the_command_line(solve):
    file = Path(__file__).parents[2] / "examples" / "own_method.py"
    result = solve(f"{file}:debate", "What is 1 + 1?", "-n", 2, "--json")
    assert result.code == 0, result.err
    assert result.json["method"] == "debate"
    assert result.json["cost"]["tokens"] <= 32


def test_a_backslash_and_an_n_begin_a_line(solve, tmp_path):
    told = solve("particle_filter", "What?", "-n", 2, "--set", r"delimiter=\n\n", "--trace", tmp_path / "t", "--json")
    assert told.code == 0, told.err
    assert json.loads((tmp_path / "t").read_text())["parameters"] == {"delimiter": "\n\n", "n": 2}


def test_two_models(solve, tmp_path):
    other = write_tiny(tmp_path / "other.gguf", seed=3)
    file = tmp_path / "mine.py"
    file.write_text(
        MINE.replace("[Extend(problem.start)] * n", '[Extend(problem.start, model="large"), Extend(problem.start)]')
    )
    result = solve(f"{file}:majority", "What?", "--with", f"large={other}", "--json", "--trace", tmp_path / "trace")
    assert result.code == 0, result.err
    assert [node.get("model") for node in json.loads((tmp_path / "trace").read_text())["nodes"]] == ["large", None]
    assert "no model named 'large'" in solve(f"{file}:majority", "What?").err
    assert "--with must be NAME=MODEL" in solve(f"{file}:majority", "What?", "--with", str(other)).err


def test_a_task_is_graded_and_kept(solve, data, tmp_path, intact_command):
    journal = tmp_path / "journal"
    arguments = ["self_consistency", "--task", "gsm8k", "-n", 3, "--journal", journal, "--json"]
    first = solve(*arguments, "--limit", 3)
    assert first.code == 0, first.err
    assert [result["id"] for result in first.json["results"]] == [f"gsm8k/test/{i}" for i in range(3)]
    assert [result["right"] for result in first.json["results"]] == ["0", "2", "4"]
    assert first.json["problems"] == 3
    low, high = first.json["interval"]
    assert low <= first.json["accuracy"] <= high
    more = solve(*arguments, "--parallel", 1).json
    for value in (first.json, more):
        for result in value["results"]:
            result["cost"].pop("seconds")
    assert more["results"][:3] == first.json["results"]
    assert "choose one with --id" in intact_command("trace", "show", journal / "answers.jsonl").err
    assert intact_command("trace", "show", journal / "answers.jsonl", "--id", "gsm8k/test/1").code == 0
    shown = solve(*arguments[:-1])
    assert "right (" in shown.out
    assert "tokens/s" not in shown.err, "stderr is no terminal"


def test_a_task_takes_parameters_after_a_colon(solve, data, tmp_path):
    (tmp_path / "data/gsm8k/train.jsonl").write_text('{"question": "What is 3 + 4?", "answer": "#### 7"}')
    for words in (["gsm8k:split=train,style=chat,shots=1"], ["gsm8k:style=chat,shots=1", "--split", "train"]):
        found = solve("self_consistency", "-n", 1, "--json", "--task", *words)
        assert (found.code, [one["right"] for one in found.json["results"]]) == (0, ["7"]), found.err
    plain = solve("self_consistency", "--task", "gsm8k:split=train", "-n", 1, "--json").json
    assert plain["cost"]["prefill"] != found.json["cost"]["prefill"]
    assert "did you mean split" in solve("self_consistency", "--task", "gsm8k:splt=train").err


def test_a_task_with_an_undecided_verdict_has_no_score(solve, data, monkeypatch):
    def gives_up(task, item, answer):
        if item.id.endswith("/1"):
            raise UndecidedError("this machine is too slow")
        return False

    monkeypatch.setattr(GSM8K, "correct", gives_up)
    arguments = ["self_consistency", "--task", "gsm8k", "-n", 2, "--limit", 3]
    told = solve(*arguments, "--json")
    assert told.code == 3, told.err
    assert (told.json["undecided"], told.json["accuracy"]) == (["gsm8k/test/1"], None)
    assert [result["correct"] for result in told.json["results"]] == [False, None, False]
    shown = solve(*arguments)
    assert shown.code == 3
    assert "no score" in shown.out
    assert "gsm8k/test/1" in shown.out
    assert "%" not in shown.out


def test_on_a_terminal_a_task_is_watched(solve, data, monkeypatch):
    shown, lines = io.StringIO(), []
    terminal = Console(file=shown, force_terminal=True, width=200)
    monkeypatch.setattr(solve_task, "err", lambda: terminal)
    monkeypatch.setattr(solve_task, "PAUSE", 0.0)
    line = solve_task.View.line
    monkeypatch.setattr(solve_task.View, "line", lambda view: lines.append(line(view)) or lines[-1])
    arguments = ["self_consistency", "--task", "gsm8k", "-n", 2, "--budget", "tokens=1k,seconds=900"]
    told = solve(*arguments)
    assert told.code == 0, told.err
    assert "problems" in shown.getvalue()
    form = re.compile(r"(\d)/5 problems  (?:(\S+)% right  )?(\S+) tokens/s  (\S+) tokens left  (\S+) s left")
    seen = [form.fullmatch(line).groups() for line in lines]
    assert [int(done) for done, *_ in seen] == sorted(int(done) for done, *_ in seen)
    assert (seen[0][0], seen[0][1], seen[-1][0]) == ("0", None, "5")
    assert 0 <= float(seen[-1][1]) <= 100
    spent = json.loads(solve(*arguments, "--json").out)["cost"]["tokens"]
    assert int(seen[-1][3].replace(",", "")) == 1000 - spent
    assert 0 < int(seen[-1][4]) <= 900


def test_problems_of_a_task_share_a_budget(solve, data):
    told = solve("self_consistency", "--task", "gsm8k", "-n", 3, "--budget", "tokens=50", "--json").json
    assert all(result["cost"]["tokens"] <= 10 for result in told["results"])
    assert told["cost"]["tokens"] <= 50
    assert told["spent"] > 0


def test_traces_may_hold_any_character_that_ends_lines_elsewhere(intact_command, tmp_path):
    """JSON ends lines by line feeds alone: the separators of Unicode stand in texts as they are."""
    text = "one\u2028two\u2029three\u0085four"
    node = {"branch": "p/0", "parent": None, "text": text, "why": "end", "tokens": 4, "logprob": -1.0, "call": ""}
    rows = [{"trace": {"id": name, "method": "m", "why": "done", "nodes": [node]}} for name in "ab"]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    shown = intact_command("trace", "show", file, "--id", "b", "--json")
    assert shown.code == 0, shown.err
    assert shown.json["nodes"][0]["text"] == text


def test_a_problem_of_several_tasks_and_seeds_is_chosen_by_these(intact_command, tmp_path):
    def show(*options):
        return intact_command("trace", "show", file, "--id", "t/1", "--json", *options)

    places = [(0, 0), (0, 7), (1, 0)]
    file = tmp_path / "run.traces.jsonl"
    rows = [{"task": task, "id": "t/1", "seed": seed, "method": "m", "nodes": []} for task, seed in places]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "has 3 matching traces: choose one with --task 0, --seed 0" in show().err
    assert "has 2 matching traces: choose one with --seed 0" in show("--task", "0").err
    assert "has no trace of seed 7; it has 0" in show("--task", "1", "--seed", "7").err
    for task, seed in places:
        found = show("--task", task, "--seed", seed)
        assert (found.json["task"], found.json["seed"]) == (task, seed)
    assert show("--task", "1").json["task"] == 1
    file.write_text(file.read_text() * 2)
    assert "has 2 traces of the same problem, task and seed" in show("--task", "1").err


def traced(*nodes):
    """A trace of texts: place, parent, text."""
    told = {"kind": "extend", "why": "stop", "tokens": 4, "logprob": -1.0}
    texts = [told | {"branch": branch, "parent": parent, "text": text} for branch, parent, text in nodes]
    return json.dumps({"id": "p", "method": "m", "why": "done", "answer": "\x1b]0;title\x07", "nodes": texts})


def test_all_steps_of_a_long_chain_are_shown(intact_command, tmp_path):
    file = tmp_path / "trace.json"
    places = ["p" + "/0" * depth for depth in range(401)]
    chain = [(place, parent, f"step {i}.") for i, (parent, place) in enumerate(itertools.pairwise(places))]
    file.write_text(traced(*chain, ("p/0/0/1", "p/0/0", "another.")))
    shown = intact_command("trace", "show", file).out
    assert all(f"step {i}." in shown for i in range(400))
    assert "another." in shown


def test_uses_of_tools_are_shown_with_what_they_gave(intact_command, tmp_path):
    trace = json.loads(traced(("p/0", "p", "So 2.")))
    node = {"kind": "tool", "tool": "python", "version": "0" * 64, "ended": "ok", "replayable": True}
    node |= {"values": {"code": "x + 1", "before": ["x = 1"], "seconds": 10.0}, "text": "2\n"}
    recorded = node | {"tool": "mcp:notes/search", "ended": "error", "replayable": False, "text": "y" * 500}
    trace["nodes"] += [node, recorded]
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(trace))
    shown = intact_command("trace", "show", file).out
    assert "python ok" in shown
    assert "mcp:notes/search error  recorded, cannot be repeated" in shown
    assert "x + 1" not in shown
    assert shown.count("y") < 400
    full = intact_command("trace", "show", file, "--full").out
    assert "code: x + 1" in full
    assert "before: ['x = 1']" in full
    assert full.count("y") >= 500


def test_a_trace_does_not_steer_the_terminal(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    file = tmp_path / "trace.json"
    file.write_text(traced(("p/0", "p", "one\x1b]0;title\x07\x9b2J"), ("p/\x1bc", "p", "two")))
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    trace.show(file)
    shown = re.sub("\x1b\\[[0-9;]*m", "", terminal.getvalue())  # bold
    assert "one\ufffd]0;title\ufffd\ufffd2J" in shown
    assert not set("\x1b\x07\x9b") & set(shown)


@pytest.mark.parametrize("words", [("majority_of_bests", "-n", "4", "--set", "m=2"), ("deepconf", "--set", "keep=2.5")])
def test_values_are_read_as_the_type_that_a_parameter_is_written_with(solve, words):
    """None is no example of a number, nor 10 one of all shares."""
    method, *options = words
    result = solve(method, "What is 1 + 1?", *options)
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["self_consistency"], "QUESTION is missing"),
        (["self_consistency", "What?", "--task", "gsm8k"], "not both"),
        (["xyz", "What?"], "no method named 'xyz': did you mean "),
        (["selfconsistency", "What?"], "no method named 'selfconsistency': did you mean self_consistency, "),
        (["best_of_n", "What?", "--set", "scorer=ptrue"], "no scorer named 'ptrue': did you mean p_true?"),
        (["best_of_n", "--task", "gsm8"], "no task named 'gsm8': did you mean gsm8k or gsm8k_numbers?"),
        (["self_consistency", " "], "the question is missing"),
        (["self_consistency", "What?", "--set", "m=3"], "self_consistency has no parameter 'm'; it has n"),
        (["self_consistency", "What?", "-n", "3", "--set", "n=many"], "n must be of type int, such as 16, got 'many'"),
        (["majority_of_bests", "What?", "--set", "m=few"], "m must be of type int, got 'few'"),
        (
            ["uct_search", "What?", "--set", "exploration=nan"],
            "exploration must be of type float, such as 1.4142135623730951, got 'nan'",
        ),
        (
            ["uct_search", "What?", "--set", "exploration=inf"],
            "exploration must be of type float, such as 1.4142135623730951, got 'inf'",
        ),
        (
            ["self_consistency", "What?", "--budget", "tokens=few"],
            "a budget must have a form such as tokens=200k,seconds=60",
        ),
        (["self_consistency", "What?", "--budget", "hopes=3"], "got 'hopes=3'"),
        (["best_of_n", "What?", "--set", "scorer=taste"], "no scorer named 'taste'; available:"),
        (["self_consistency", "--task", "riddles"], "no task named 'riddles'"),
        (["self_consistency", "What?", "--limit", "3", "--split", "x"], "can only be used with --task"),
        (["self_consistency", "What?", "--continues", "vllm"], "but none is given"),
        (["self_consistency", "What?", "--trace", "/nowhere/t.json"], "--trace: /nowhere/t.json cannot be written"),
        (["best_of_n", "--task", "gsm8k", "--answer", "text"], "--answer needs a single question"),
        (["model.gguf", "What?"], "intact solve METHOD QUESTION --model model.gguf"),
        (["short_m_at_k", "What?", "--set", "m=9"], "m must be at most k (8), got 9"),
        (["beam_search", "--task", "gsm8k", "--set", "width=3"], "n must be a multiple of the width, got n = 16"),
        (["archon", "What?", "--set", "layers=critique"], "the first layer, and no other"),
    ],
)
def test_what_makes_no_sense_is_named(solve, arguments, message):
    result = solve(*arguments)
    assert result.code == 2
    assert message in result.err


@pytest.mark.parametrize("words", [["What?"], ["What?", "--json"], ["--task", "gsm8k"]])
def test_sampling_that_makes_no_sense_is_an_error_before_any_work(solve, data, words):
    result = solve("self_consistency", *words, "-n", 2, "--top-p", 3)
    assert (result.code, result.out, result.err) == (2, "", "error: top_p must lie in (0, 1], got 3.0\n")


def test_a_hyphen_does_as_an_underscore(solve):
    result = solve("self-consistency", "What?", "-n", "2", "--json")
    assert result.json == solve("self_consistency", "What?", "-n", "2", "--json").json | {"cost": result.json["cost"]}


def test_an_answer_is_shown_though_its_trace_cannot_be_written(solve, tmp_path, monkeypatch):
    def full(file, parts):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr("intact.cli.solve.write_whole", full)
    result = solve("self_consistency", "What?", "-n", "2", "--trace", tmp_path / "t.json", "--json")
    assert result.code == 2
    assert result.err == f"error: {tmp_path / 't.json'}: No space left on device\n"
    assert result.json["method"] == "self_consistency"


def test_a_file_that_is_no_trace_is_named(intact_command, tmp_path):
    for name, text, message in (
        ("none", None, "cannot be read"),
        ("text", "no JSON", "is not valid JSON"),
        ("other", '{"a": 1}', "contains no trace"),
        ("list", "[1, 2]", "contains no trace"),
        ("bare", '{"nodes": [{}]}', "is incomplete (KeyError"),
        ("odd", '{"id": "a", "method": "m", "nodes": [3]}', "is incomplete (TypeError"),
        ("circle", traced(("p/0", "p/0", "a")).replace('"id"', '"chosen": "p/0", "id"'), ""),
    ):
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        result = intact_command("trace", "show", file)
        assert result.code == (2 if message else 0)
        assert message in result.err


def test_every_problem_of_a_task_has_a_receipt(solve, intact_command, model, data, tmp_path):
    file, journal = tmp_path / "gsm8k.receipts", tmp_path / "j"
    asked = ("self_consistency", "--task", "gsm8k", "--limit", 3, "-n", 2, "--receipt", file)
    assert solve(*asked).code == 0
    made = file.read_bytes()
    assert made.count(b"\n") == 3
    verified = intact_command("verify", file, "--model", model, "--json")
    assert (verified.code, verified.json["true"]) == (0, 3)
    for _ in range(2):  # with an empty journal, then with a full one
        assert solve(*asked, "--journal", journal).code == 0
        assert file.read_bytes() == made
    refused = solve(*asked, "--budget", "seconds=9")
    assert (refused.code, "it could not be repeated exactly" in refused.err) == (2, True)


def test_texts_are_drawn_from_a_mix(solve, intact_command, model, tmp_path):
    partner = write_tiny(tmp_path / "partner.gguf", seed=1)
    sampled = ["self_consistency", "What is 1 + 1?", "-n", 3, "--seed", 5, "--json"]
    made = {
        "guidance": solve(*sampled, "--mix", "guidance:scale=2.5", "--shadow", "Say it.").json,
        "contrastive": solve(*sampled, "--mix", "contrastive", "--partner", partner).json,
        "": solve(*sampled).json,
    }
    asked = {"n": 3, "seed": 5, "max_tokens": 8}
    with intact.load(model, partners=[partner], threads=1) as loaded:
        wanted = {
            "guidance": intact.solve(
                loaded,
                "self_consistency",
                "What is 1 + 1?",
                mix={"name": "guidance", "scale": 2.5},
                shadow="Say it.",
                **asked,
            ),
            "contrastive": intact.solve(loaded, "self_consistency", "What is 1 + 1?", mix="contrastive", **asked),
            "": intact.solve(loaded, "self_consistency", "What is 1 + 1?", **asked),
        }
    for name, result in wanted.items():
        assert made[name]["answer"] == result.as_dict()["answer"]
        assert made[name]["cost"]["tokens"] == result.cost.tokens
        assert made[name]["cost"]["operations"] == result.cost.operations
    assert len({json.dumps(one["cost"]["operations"]) for one in made.values()}) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mix", "guidance"], "the mix guidance needs a shadow prompt"),
        (["--mix", "contrastive"], "the mix contrastive takes 1 partner, got 0"),
        (["--partner", "x.gguf"], "--partner names a model for a mix, but no mix is given"),
        (["--mix", "guidance", "--shadow", "x", "--draft-model", "m"], "--draft-model cannot be combined with --mix"),
        (["--mix", "guidance", "--shadow", "x", "-m", "http://127.0.0.1:1/v1#m"], "--mix needs a local model"),
        (["--mix", "guidance", "--shadow", "x", "--task", "gsm8k", "--ray", "local"], "--ray cannot be combined"),
    ],
)
def test_mixes_that_cannot_be_are_refused_before_a_model_is_loaded(intact_command, speaker, arguments, message):
    question = [] if "--task" in arguments else ["Why?"]
    result = intact_command("solve", "self_consistency", *question, *arguments)
    assert (result.code, message in result.err, speaker.loaded) == (2, True, [])


def test_what_a_method_tells_of_its_work_is_shown(solve):
    result = solve("solve_or_verify", "What is 2 + 3?", "--json").json
    counts = result["details"]["solutions"], result["details"]["checks"]
    assert f"solutions {counts[0]}, checks {counts[1]}\n" in solve("solve_or_verify", "What is 2 + 3?").out


def test_the_error_for_a_table_that_is_not_there_says_what_writes_it(solve, tmp_path):
    refused = solve("compute_optimal", "What is 2 + 3?", "--set", f"table={tmp_path / 'none.json'}")
    assert refused.code == 2
    assert "none.json cannot be read: No such file or directory; `intact learn methods` writes" in refused.err
