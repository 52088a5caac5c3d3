"""``--seed`` of commands: one seed, a range or a list."""

import json

import pytest

from intact._base.errors import ParameterError
from intact.cli.seeds import one_seed, parse_seeds
from support.models import real_model


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("0,7", (0, 7)), ("-5", (-5,)), ("7, 1-2", (7, 1, 2))]
)
def test_seeds_are_read_in_their_order(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "1,", "-5-3", "0-99999", "1.5"])
def test_what_names_no_seeds_is_refused(text):
    with pytest.raises(ParameterError, match="--seed must be a seed, a range or a list, such as 3, 0-4 or 0,7"):
        parse_seeds(text)


def test_a_seed_twice_is_refused():
    with pytest.raises(ParameterError, match="must be distinct"):
        parse_seeds("1,0-2")


def test_one_seed_has_bounds():
    assert one_seed("9", "a search", low=0) == 9
    with pytest.raises(ParameterError, match="--seed must be an integer from 0 to"):
        one_seed("-1", "a search", low=0)


@pytest.mark.parametrize(
    "words",
    [
        ("chat",),
        ("sweep", "gsm8k"),
        ("traffic", "make", "none.jsonl"),
        ("solve", "self_consistency", "--task", "gsm8k"),
        ("solve", "self_consistency", "What?", "--trace", "tree.json"),
    ],
    ids=" ".join,
)
def test_what_has_one_seed_says_so(intact_command, words):
    result = intact_command(*words, "--seed", "0-4")
    assert result.code == 2
    assert "--seed" in result.err
    assert " 5" in result.err


def test_run_answers_once_per_seed_in_their_order(intact_command):
    asked = ("run", "-m", real_model("smollm2-135m"), "Name a colour.", "--temperature", "1", "--max-tokens", "4")
    both = intact_command(*asked, "--seed", "7,0", "--json")
    alone = [intact_command(*asked, "--seed", seed, "--json").json for seed in (7, 0)]
    assert both.json == alone
    assert [one["seed"] for one in both.json] == [7, 0]
    shown = intact_command(*asked, "--seed", "7,0").out
    assert shown == "".join(f"seed {one['seed']}\n{one['completions'][0]['text']}\n" for one in alone)


def test_the_old_option_of_eval_says_what_to_write(intact_command):
    result = intact_command("eval", "none.gguf", "reasoning_gym", "--seeds", "0-1")
    assert "--seeds 0-1 is an old form: write --seed 0-1" in result.err
    assert "both are given" in intact_command("eval", "none.gguf", "--seeds", "0-1", "--seed", "2").err


def test_solve_answers_once_per_seed_in_their_order(intact_command):
    asked = (
        "solve",
        "self_consistency",
        "What is 2 + 3?",
        "-m",
        real_model("smollm2-135m"),
        "-n",
        "2",
        "--max-tokens",
        "8",
    )
    both = intact_command(*asked, "--seed", "3-4", "--json").json
    alone = [intact_command(*asked, "--seed", seed, "--json").json for seed in (3, 4)]
    assert [one.pop("seed") for one in both] == [3, 4]
    for one in (*both, *alone):
        one["cost"].pop("seconds")
    assert json.dumps(both) == json.dumps(alone)
    assert [line for line in intact_command(*asked, "--seed", "3-4").out.splitlines() if line.startswith("seed")] == [
        "seed 3",
        "seed 4",
    ]
