"""The verdict of a sweep in sentences, its tables, and its picture, of outcomes written out."""

import random

import pytest

from intact.cli.sweep_output import print_sweep, save_plot, to_object
from intact.evaluate.sweep.fronts import SweepSeconds
from intact.evaluate.sweep.run import result_of
from intact.evaluate.sweep.search import Design, SweepOutcome, search
from intact.evaluate.sweep.space import parse_trial

LABELS = ("self_consistency:n=16", "self_consistency:n=10", "chain_of_thought:temperature=0")


def swept(tokens, skill=(0.8, 0.8, 0.3), **options):
    """The result of a sweep whose settings are right where a number drawn for each problem lies below their skill."""
    rng = random.Random(0)
    draws = {part: [rng.random() for _ in range(400)] for part in ("training", "held_out")}

    def answer(trial, part, start, stop):
        return [SweepOutcome(one < skill[trial], tokens[trial], 10 * tokens[trial]) for one in draws[part][start:stop]]

    names = [tuple(f"{part}{i}" for i in range(400)) for part in draws]
    design = Design(tuple(parse_trial(text) for text in LABELS), *names, 10**9, first=400, **options)
    stated = {"design": design.as_dict(), "caveats": [], "tasks": {"held_out": {"label": "made"}}}
    return stated | result_of(search(design, answer))


def shown(capsys, result, tmp_path, seconds=None):
    print_sweep(result, tmp_path, seconds or {})
    return " ".join(capsys.readouterr().out.split())


def test_a_setting_within_the_share_of_tokens_is_found(capsys, tmp_path):
    words = shown(capsys, swept((160, 80, 10)), tmp_path)
    assert "found: self_consistency n=10, non-inferior to self_consistency n=16 within 3.0%" in words
    assert "for 50% of its tokens" in words
    assert "none found" not in words


@pytest.mark.parametrize(("share", "stated"), [({}, "50%"), ({"share": 0.6}, "60%")])
def test_a_dearer_one_is_named_with_its_share_and_is_not_found(share, stated, capsys, tmp_path):
    words = shown(capsys, swept((100, 62, 10), **share), tmp_path)
    assert (
        f"none found in this space: no setting is shown to be within 3.0% of self_consistency n=16 for {stated}"
        in words
    )
    assert "self_consistency n=10 is non-inferior (p = " in words
    assert "but at 62% of the tokens" in words
    assert "non-inferior with a chance of 100%" in words
    assert "2 settings were tried, with method self_consistency, chain_of_thought; n 10; temperature 0.0" in words


def test_where_none_is_non_inferior_the_power_and_the_space_are_printed(capsys, tmp_path):
    words = shown(capsys, swept((100, 20, 10), skill=(0.8, 0.5, 0.3)), tmp_path)
    assert "is non-inferior" not in words
    assert "with a chance of" in words
    assert "the space: 2 settings were tried" in words


def test_costs_are_marked_where_they_are_on_a_front(capsys, tmp_path):
    result = swept((100, 50, 10))
    seconds = {0: SweepSeconds(2.0, 1.0), 1: SweepSeconds(3.0, 0.75)}
    words = shown(capsys, result, tmp_path, seconds)
    assert "50 * 50% 5.00e+02 * ~3.00" in words
    assert "2.00 *" in words
    assert "Pareto front by seconds, from the cheapest: self_consistency n=16" in words
    assert "~ some texts came from the journal" in words
    assert "Pareto front by seconds" not in shown(capsys, result, tmp_path, {0: seconds[0]}), "one alone is no front"
    assert to_object(result, tmp_path, seconds)["seconds"] == {
        "settings": [
            {"trial": 0, "seconds": 2.0, "measured": 1.0},
            {"trial": 1, "seconds": 3.0, "measured": 0.75},
        ],
        "front": [0],
    }


def test_the_picture_has_a_part_for_each_cost(tmp_path):
    pytest.importorskip("matplotlib")
    result, sizes = swept((100, 50, 10)), []
    for name, seconds in (("two", {}), ("three", {0: SweepSeconds(2.0, 1.0), 2: SweepSeconds(0.3, 1.0)})):
        file = tmp_path / f"{name}.png"
        save_plot(result, seconds, file)
        data = file.read_bytes()
        assert data[:4] == b"\x89PNG"
        sizes.append(int.from_bytes(data[16:20], "big"))
    assert sizes[1] * 2 == sizes[0] * 3
