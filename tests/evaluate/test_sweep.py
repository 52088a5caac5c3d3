"""The search of a sweep: spaces, halving on two aims, budgets, and verdicts on held-out problems."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence

import pytest

from intact._base.errors import ParameterError
from intact.engine.sampling.parameters import DEFINITIONS
from intact.evaluate.sweep.fronts import SweepSeconds, front_by, fronts, seconds_of
from intact.evaluate.sweep.halving import SweepPoint, front, keep, rank, rung_sizes
from intact.evaluate.sweep.judging import compare, judge, power, problems_for
from intact.evaluate.sweep.recorded import read_design
from intact.evaluate.sweep.run import plan_of, split
from intact.evaluate.sweep.search import Design, SweepOutcome, search
from intact.evaluate.sweep.space import (
    DEFAULT,
    PROMPT,
    SAMPLING,
    SweepTrial,
    draw,
    expand,
    parse_axes,
    parse_trial,
    suited,
    tables,
)


def table(seed: int, trials: int, problems: int) -> dict[tuple[int, str], list[SweepOutcome]]:
    """Outcomes of all trials on all problems, drawn from a seed: dear trials are right more often."""
    rng = random.Random(seed)
    found = {}
    for trial in range(trials):
        mean, skill = rng.randint(20, 200), rng.random()
        for part in ("training", "held_out"):
            found[trial, part] = [
                SweepOutcome(rng.random() < skill, rng.randint(1, 2 * mean), rng.randint(1, 9)) for _ in range(problems)
            ]
    return found


def design(trials: int, problems: int, tokens: int, **options) -> Design:
    names = [tuple(f"{part}{i}" for i in range(problems)) for part in ("a", "b")]
    return Design(tuple(SweepTrial("m", {"n": i}) for i in range(trials)), names[0], names[1], tokens, **options)


def by_counting_dominators(points: Sequence[SweepPoint]) -> list[int]:
    """Order points by the longest chain of points that dominate each other above them: the number of its front."""

    def depth(i: int) -> int:
        right, tokens = points[i]
        above = [j for j, (r, t) in enumerate(points) if (r >= right and t <= tokens) and (r > right or t < tokens)]
        return 1 + max(map(depth, above), default=-1)

    return sorted(range(len(points)), key=lambda i: (depth(i), -points[i].right, points[i].tokens, i))


@pytest.mark.parametrize("seed", range(20))
def test_ranks_are_those_of_the_longest_chain_of_dominators(seed):
    rng = random.Random(seed)
    points = [SweepPoint(rng.randint(0, 5), rng.randint(0, 5)) for _ in range(rng.randint(1, 12))]
    assert rank(points) == by_counting_dominators(points)
    assert set(front(points)) == {i for i in range(len(points)) if not any(o.dominates(points[i]) for o in points)}
    assert keep(points, 3) == rank(points)[: math.ceil(len(points) / 3)]


def test_rungs_grow_by_the_factor_up_to_all_problems():
    assert rung_sizes(60, 8, 3) == (8, 24, 60)
    assert rung_sizes(8, 8, 3) == (8,)
    assert rung_sizes(5, 8, 2) == (5,)
    for wrong in ((0, 1, 2), (5, 0, 2), (5, 1, 1)):
        with pytest.raises(ParameterError, match="rungs need"):
            rung_sizes(*wrong)


def halved(outcomes, trials, sizes, factor, finalists):
    """Successive halving without a budget, written again from its definition."""
    alive = list(range(1, trials))
    for number, size in enumerate(sizes):
        points = [
            SweepPoint(
                sum(o.right for o in outcomes[t, "training"][:size]),
                sum(o.tokens for o in outcomes[t, "training"][:size]),
            )
            for t in alive
        ]
        best = [alive[i] for i in by_counting_dominators(points)]
        alive = best if number == len(sizes) - 1 else sorted(best[: math.ceil(len(best) / factor)], key=best.index)
    return alive[:finalists]


@pytest.mark.parametrize(("seed", "factor", "first"), [*itertools.product(range(6), (2, 3), (1, 4))])
def test_with_tokens_to_spare_the_finalists_are_those_of_plain_successive_halving(seed, factor, first):
    outcomes = table(seed, 13, 40)
    found = search(
        design(13, 40, 10**9, factor=factor, first=first),
        lambda trial, part, start, stop: outcomes[trial, part][start:stop],
    )
    assert found.finalists == halved(outcomes, 13, rung_sizes(40, first, factor), factor, 3)
    assert found.judged == 40
    assert not found.untried


def test_no_problem_is_asked_twice_and_a_promoted_trial_is_asked_only_further_ones():
    outcomes, asked = table(1, 9, 30), []

    def answer(trial, part, start, stop):
        asked.extend((trial, part, i) for i in range(start, stop))
        return outcomes[trial, part][start:stop]

    found = search(design(9, 30, 10**9, first=3), answer)
    assert len(asked) == len(set(asked))
    assert found.spent == sum(outcomes[trial, part][i].tokens for trial, part, i in asked)
    assert [len(rung.points) for rung in found.rungs] == [9, 4, 2, 2]


@pytest.mark.parametrize("seed", range(8))
def test_the_budget_leaves_trials_out_and_shortens_the_judging(seed):
    outcomes = table(seed, 12, 200)
    dearest = max(sum(o.tokens for o in outcomes[trial, "training"][:8]) for trial in range(12))
    for tokens in (20_000, 40_000, 80_000):
        found = search(design(12, 200, tokens), lambda trial, part, start, stop: outcomes[trial, part][start:stop])
        first = sum(point.tokens for point in found.rungs[0].points.values())
        assert first < tokens / 2 + dearest, "a trial begins while tokens of the search's half are left"
        if found.untried:
            assert first >= tokens / 2
        assert 2 <= found.judged <= 200
        assert found.spent < 1.25 * tokens, "means on the training part foretell the tokens of the held-out part"
    with pytest.raises(ParameterError, match="the baseline used"):
        search(design(12, 200, 10), lambda trial, part, start, stop: outcomes[trial, part][start:stop])


def test_trials_that_fail_are_left_out_and_a_baseline_that_fails_is_an_error():
    outcomes = table(3, 4, 20)

    def failing(which):
        def answer(trial, part, start, stop):
            own = outcomes[trial, part][start:stop]
            return [o._replace(right=False, error="no such shots") for o in own] if trial in which else own

        return answer

    found = search(design(4, 20, 10**9), failing({2}))
    assert found.rungs[0].failed == [2]
    assert 2 not in found.finalists
    with pytest.raises(ParameterError, match="the baseline failed on every problem: no such shots"):
        search(design(4, 20, 10**9), failing({0}))
    with pytest.raises(ParameterError, match="every setting failed; the first was m n=1: no such shots"):
        search(design(4, 20, 10**9), failing({1, 2, 3}))


def test_bounds_and_p_values_of_non_inferiority_agree_and_are_corrected():
    rng = random.Random(0)
    baseline = [rng.random() < 0.5 for _ in range(300)]
    others = [[one if rng.random() < 0.95 else rng.random() < 0.5 for one in baseline] for _ in range(3)]
    found = compare(baseline, others, 0.05, 0.05)
    raw = sorted(one.p for one in found)
    expected = {p: min(1.0, max((3 - i) * q for i, q in enumerate(raw[: raw.index(p) + 1]))) for p in raw}
    for one, own in zip(found, others, strict=True):
        b = sum(x and not y for x, y in zip(own, baseline, strict=True))
        c = sum(y and not x for x, y in zip(own, baseline, strict=True))
        d, s, n = (b - c) / 302, (b + c + 2) / 302, 302
        p = math.erfc((d + 0.05) / math.sqrt((s - d * d) / n) / math.sqrt(2)) / 2
        assert one.p == pytest.approx(p, rel=1e-8)
        assert (one.low > -0.05) == (one.p < 0.05 / 3), "the interval's lower end is the bound of the test"
        assert one.adjusted == pytest.approx(expected[one.p], rel=1e-8), "Holm's step-down"
        assert one.non_inferior == (one.adjusted <= 0.05)


def test_the_stated_power_is_the_share_of_simulated_sweeps_that_find_an_equal_setting():
    rng, discordant, n, margin = random.Random(5), 0.2, 300, 0.06
    hits, runs = 0, 2000
    for _ in range(runs):
        alone = [rng.random() for _ in range(n)]
        b, c = sum(x < 0.1 for x in alone), sum(x > 0.9 for x in alone)  # each is right alone on a tenth
        d, s = (b - c) / (n + 2), (b + c + 2) / (n + 2)
        # the p-value that `compare` is held to above
        hits += math.erfc((d + margin) / math.sqrt((s - d * d) / (n + 2)) / math.sqrt(2)) / 2 <= 0.05
    assert power(discordant, n, margin, 0.05) == pytest.approx(hits / runs, abs=0.05)
    needed = problems_for(discordant, margin, 0.05)
    assert power(discordant, needed, margin, 0.05) >= 0.8 > power(discordant, needed - 1, margin, 0.05)


def judged(right: Sequence[Sequence[bool]], tokens: Sequence[int], **options):
    """The judgement where all settings are alike on the training part, and as given on the held-out part."""
    n = len(right[0])

    def answer(trial, part, start, stop):
        if part == "training":
            return [SweepOutcome(True, 10)] * (stop - start)
        return [SweepOutcome(one, tokens[trial]) for one in right[trial][start:stop]]

    return judge(search(design(len(right), n, 10**9, **options), answer))


def test_the_cheapest_non_inferior_setting_is_found_and_a_dearer_one_never():
    same = [i % 2 == 0 for i in range(400)]
    bad = [i % 4 == 0 for i in range(400)]
    found = judged([same, bad, same, same], [100, 10, 50, 40], first=400)
    assert (found["found"], found["front"], found["power"]) == (3, [1, 3], None)
    assert found["fronts"] == {"tokens": [1, 3]}, "no operations were counted"
    assert judged([same, same], [100, 101])["found"] is None


@pytest.mark.parametrize(("share", "found"), [(0.5, None), (0.61, None), (0.62, 1), (1.0, 1)])
def test_a_setting_above_the_share_of_tokens_is_reported_and_not_found(share, found):
    same = [i % 2 == 0 for i in range(400)]
    verdict = judged([same, same], [100, 62], share=share)
    assert (verdict["share"], verdict["found"], verdict["dearer"]) == (share, found, None if found else 1)
    assert (verdict["power"] is None) == (found is not None), "the power is stated whenever nothing is found"


def test_a_setting_at_half_of_the_tokens_is_found_and_one_that_costs_a_token_more_is_not():
    same = [i % 2 == 0 for i in range(400)]
    assert judged([same, same], [100, 50])["found"] == 1
    assert judged([same, same], [101, 51])["found"] is None


def test_a_design_states_its_share_only_where_it_is_not_the_default():
    assert "share" not in design(2, 4, 100).as_dict(), "designs that were written before keep their bytes"
    assert design(2, 4, 100, share=0.7).as_dict()["share"] == 0.7
    with pytest.raises(ParameterError, match="share of tokens must lie in"):
        design(2, 4, 100, share=0.0)


DESIGN_OF_VERSION_1 = """{"format": "intact sweep", "version": 1, "sampling": {"max_tokens": 256}, "models": [],
"tasks": {"training": {"label": "gsm_ranges:size=4"}, "held_out": {"label": "gsm_ranges:size=4"}},
"design": {"trials": [{"label": "self_consistency n=16", "method": "self_consistency", "parameters": {"n": 16},
"sampling": {}, "prompt": {}}, {"label": "adaptive_consistency n=4 temperature=0.9 top_p=1.0",
"method": "adaptive_consistency", "parameters": {"n": 4}, "sampling": {"temperature": 0.9, "top_p": 1.0},
"prompt": {}}], "training": ["gsm_ranges/made/1-0-0"],
"held_out": ["gsm_ranges/made/1-0-1", "gsm_ranges/made/1-0-2"],
"rungs": [1], "tokens": 6000000, "factor": 3, "finalists": 3, "margin": 0.03, "level": 0.05, "seed": 0}}"""


def test_a_design_that_was_written_before_there_was_a_share_is_read_and_written_as_it_was(tmp_path):
    file = tmp_path / "design.json"
    file.write_text(DESIGN_OF_VERSION_1)
    found = read_design(file)
    assert found.design.share == 0.5
    assert found.design.as_dict() == json.loads(DESIGN_OF_VERSION_1)["design"]
    value = json.loads(DESIGN_OF_VERSION_1)
    value["design"]["share"] = 0.7
    file.write_text(json.dumps(value))
    assert read_design(file).design.share == 0.7


def test_where_nothing_is_shown_to_be_non_inferior_the_power_is_stated():
    rng = random.Random(2)
    right = [[rng.random() < 0.5 for _ in range(60)] for _ in range(3)]
    found = judged(right, [100, 50, 40])
    assert found["found"] is None
    assert found["power"]["power"] < 0.2
    assert found["power"]["problems_for_80"] > 60


def test_held_out_figures_are_without_the_luck_of_the_search():
    rng = random.Random(7)
    gaps_of_search, gaps_of_judging = [], []
    for _ in range(12):
        answer = lambda trial, part, start, stop: [SweepOutcome(rng.random() < 0.5, 10) for _ in range(stop - start)]  # noqa: E731
        found = judge(search(design(40, 60, 10**9), answer))
        best = found["settings"][1]
        gaps_of_search.append(best["training_accuracy"] - 0.5)
        gaps_of_judging.append(best["accuracy"] - 0.5)
    assert sum(gaps_of_search) / 12 > 0.04, "the best of forty equal settings looks better than it is"
    assert abs(sum(gaps_of_judging) / 12) < 0.06


def test_a_space_is_a_product_in_which_methods_take_the_axes_that_they_have():
    space = parse_axes(["method=chain_of_thought,self_consistency", "n=2,4", "temperature=0.5", "shots=0,2"])
    assert [trial.label for trial in expand(space)] == [
        "chain_of_thought temperature=0.5 shots=0",
        "chain_of_thought temperature=0.5 shots=2",
        *(f"self_consistency n={n} temperature=0.5 shots={shots}" for n in (2, 4) for shots in (0, 2)),
    ]
    assert expand(space)[-1].task("gsm8k").shots == 2
    assert expand(space)[-1].task("gsm8k:split=train").split == "train"


def test_settings_that_do_the_same_are_one():
    axes = [{"method": ["self_consistency"], "n": ["16"], "temperature": ["0.7"], "top_p": ["1", "1.0"]}]
    (trial,) = expand(axes)
    assert trial.key == parse_trial("self_consistency").key == parse_trial("self_consistency:n=16").key
    assert trial.key != parse_trial("self_consistency:n=16,top_p=0.9").key


def test_the_settings_drawn_follow_from_the_seed_and_not_from_the_order_of_the_space():
    space = tables(DEFAULT)
    turned = [table[::-1] for table in space[::-1]]
    assert draw(space, 9, 0) == draw(turned, 9, 0) == draw(space, 12, 0)[:9]
    assert draw(space, 9, 0) != draw(space, 9, 1)
    assert sorted(one.key for one in draw(space, 10**6, 0)) == sorted(one.key for one in expand(DEFAULT))


@pytest.mark.parametrize("seed", range(5))
def test_every_table_of_a_space_is_tried_while_there_is_room(seed):
    space = tables(DEFAULT)
    drawn = {trial.key for trial in draw(space, len(space), seed)}
    assert all(len(drawn & {trial.key for trial in table}) == 1 for table in space)
    assert parse_trial("chain_of_thought:temperature=0").key in drawn, "the greedy text is a table of its own"


NUMBERS = "gsm_ranges:size=4"


@pytest.mark.parametrize("trial", expand(DEFAULT), ids=lambda trial: trial.label)
def test_every_setting_of_the_default_space_can_be_run(trial):
    planned = plan_of(trial, NUMBERS, {}, 0)
    assert planned.problem(next(planned.units()), True).prompt


@pytest.mark.parametrize("name", [*PROMPT, *SAMPLING])
def test_the_name_of_every_axis_resolves(name):
    values = {"style": "base", "shots": "2", "cut": "stated", "digits": "grouped", "prompt": "direct"}
    values |= {"stop_mean_below": "-0.5"}
    default = {"flag": "true", "integer": "3", "decimal": "0.5"}
    value = values[name] if name in values else default[DEFINITIONS[name].kind]
    trial = parse_trial(f"self_consistency:{name}={value}")
    planned = plan_of(trial, NUMBERS, {"stop_mean_below": -1.0} if name == "stop_window" else {}, 0)
    (chosen,) = planned.tasks
    found = getattr(chosen, name) if name in PROMPT else planned.task_sampling(0, True)[name]
    assert str(found).lower() == value
    assert name in trial.label


@pytest.mark.parametrize(
    ("axis", "method"), [("scorer", "best_of_n"), ("n", "self_consistency"), ("window", "early_stopping_consistency")]
)
def test_axes_of_methods_are_their_parameters(axis, method):
    axes = {name: values for table in DEFAULT if method in table["method"] for name, values in table.items()}
    found = {str(trial.parameters[axis]) for trial in expand([{"method": [method], axis: axes[axis]}])}
    assert found == set(axes[axis])


def test_a_default_setting_that_a_task_cannot_be_asked_in_is_left_out():
    space = tables(DEFAULT)
    assert suited(space, [NUMBERS]) == space
    left = [trial for table in suited(space, [NUMBERS, "humaneval"]) for trial in table]
    assert [trial for trial in expand(DEFAULT) if not trial.prompt] == left


def test_a_prompt_option_at_its_default_makes_no_other_setting():
    assert parse_trial("self_consistency:prompt=steps").key == parse_trial("self_consistency").key
    assert parse_trial("self_consistency:prompt=direct").key != parse_trial("self_consistency").key


def test_fronts_are_of_each_unit_and_leave_out_what_was_not_counted():
    right, tokens, operations = (50, 50, 40, 30), (100, 60, 50, 55), (10, 20, 30, 5)
    rows = [
        {"trial": i, "right": a, "tokens": b, "operations": c}
        for i, (a, b, c) in enumerate(zip(right, tokens, operations, strict=True))
    ]
    assert fronts(rows) == {"tokens": [2, 1], "operations": [3, 0]}
    assert fronts([row | {"operations": 0} for row in rows]) == {"tokens": [2, 1]}
    assert set(fronts(rows)["tokens"]) == set(front([SweepPoint(a, b) for a, b in zip(right, tokens, strict=True)]))


def test_seconds_are_of_texts_that_were_written_under_the_clock():
    rows = [{"trial": trial, "tokens": 1000, "right": 5 + trial} for trial in range(4)]
    steps = [
        {"trial": 0, "part": "training", "seconds": 99.0, "written": 500},
        {"trial": 0, "part": "held_out", "seconds": 20.0, "written": 400},
        {"trial": 0, "part": "held_out", "seconds": 30.0, "written": 600},  # after a kill
        {"trial": 1, "part": "held_out", "seconds": 20.0, "written": 500},
        {"trial": 2, "part": "held_out", "seconds": 9.0, "written": 499},
    ]
    found = seconds_of({"settings": rows, "problems": 10}, steps)
    assert found == {0: SweepSeconds(5.0, 1.0), 1: SweepSeconds(4.0, 0.5)}
    assert front_by({trial: one.seconds for trial, one in found.items()}, rows) == [1]


def test_a_space_in_a_file_has_tables_of_lists(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text('[[space]]\nmethod = ["self_consistency"]\nn = [2, 4]\n[[space]]\nmethod = ["chain_of_thought"]\n')
    assert [trial.label for trial in expand(parse_axes([str(file)]))] == [
        "self_consistency n=2", "self_consistency n=4", "chain_of_thought",
    ]  # fmt: skip
    for text, message in (
        ("n = 3", r"must contain only \[\[space\]\] tables"),
        ("[[space]]\nn = 3", "must be a list"),
        ("[[space]", "is not valid TOML"),
    ):
        file.write_text(text)
        with pytest.raises(ParameterError, match=message):
            parse_axes([str(file)])


def test_a_value_that_is_a_list_keeps_its_commas():
    stacks = ["generate 4, critique, fuse 1", "generate 2, fuse 1"]
    trials = expand(parse_axes(["method=archon", f"layers={'; '.join(stacks)}", "temperature=0.5,1"]))
    assert [trial.parameters["layers"] for trial in trials] == [stacks[0]] * 2 + [stacks[1]] * 2
    trial = parse_trial(f"archon:layers={stacks[0]},temperature=0.5")
    assert trial.parameters == {"layers": stacks[0]}
    assert trial.sampling == {"temperature": 0.5}
    with pytest.raises(ParameterError, match="a setting must be METHOD:NAME=VALUE"):
        parse_trial("self_consistency:n=4, 8")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["n=2"], "needs the axis method"),
        (["method=nobody"], "nobody"),
        (["method=self_consistency", "m=2"], "no axis named 'm'"),
        (["method=self_consistency", "n=two"], "n must be of type int, such as 16, got 'two'"),
        (["method=self_consistency", "n=0"], "n must"),
        (["method=self_consistency", "temperature=-1"], "temperature"),
        (["method=self_consistency", "temperature=hot"], "temperature must be a value such as"),
        (["method=best_of_n", "scorer=nobody"], "nobody"),
        (["method"], "NAME=V1,V2"),
        (["method=a", "method=b"], "given twice"),
        (["space.toml", "n=2"], "not both"),
        (["nowhere.toml"], "nowhere.toml"),
        (["method=self_consistency", "n=2,,4"], "NAME=V1,V2"),
        (["method=archon", "layers=generate 4, critique"], "critique must come directly before rank or fuse"),
        (["method=archon", "layers=generate 4; critique"], "the first layer, and no other"),
        (["method=short_m_at_k", "k=4", "m=2,5"], "m must be at most k .4., got 5"),
    ],
)
def test_a_space_that_makes_no_sense_is_named(texts, message):
    with pytest.raises(ParameterError, match=message):
        expand(parse_axes(texts))


def test_parts_share_no_problem_and_follow_from_the_seed():
    one = split("gsm_ranges:size=40", seed=1)
    names = [{item.id for item in items} for items in (one.training, one.held_out)]
    assert not names[0] & names[1]
    assert one == split("gsm_ranges:size=40", seed=1) != split("gsm_ranges:size=40", seed=2)
    few = split("gsm_ranges:size=40", training=5, held_out=7, seed=1)
    assert (few.training, few.held_out) == (
        one.training[:5],
        split("gsm_ranges:size=40", training=5, seed=1).held_out[:7],
    )
    with pytest.raises(ParameterError, match="problems to search on"):
        split("gsm_ranges:size=2", training=10_000)
    with pytest.raises(ParameterError, match="generated and graded"):
        split("arc_easy_likelihood")
