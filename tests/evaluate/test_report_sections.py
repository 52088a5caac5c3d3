"""Sections of reports on records of known truth: what they find, and when they are not shown."""

import importlib
import json
import pkgutil
import re
from dataclasses import replace

import numpy as np
import pytest

from intact._base.errors import FormatError
from intact.evaluate.report import sections
from intact.evaluate.report.arms import EXTRAPOLATED
from intact.evaluate.report.blocks import Paragraph, Table
from intact.evaluate.report.contents import SECTIONS, as_list, report
from intact.evaluate.report.sections import (
    checkers,
    costs,
    derivations,
    judges,
    length,
    markers,
    saturation,
    scaling,
    summary,
)
from intact.evaluate.report.sections.base import OmittedError, SectionBody
from intact.evaluate.report.sections.scores import caveats_of
from intact.evaluate.results import AnswerTurn, SingleVerdict, TaskScore
from intact.stats.laws.revision import RevisionChain
from intact.stats.laws.verifier import Verifier, ceiling
from support.report_runs import arm, few_resamples  # noqa: F401

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_titles_differ_and_sections_that_print_formulas_name_their_sources():
    assert len({section.title for section in SECTIONS}) == len(SECTIONS)
    assert all(re.search(r"arXiv \d{4}\.\d{5}|\b(18|19|20)\d\d\b", one) for s in SECTIONS for one in s.sources)
    assert [section.title for section in SECTIONS if not section.sources] == [
        "In short", "Cost and accuracy", "Problems", "Failed proofs", "Failures",
        "How to make it again",
    ]  # fmt: skip


def test_every_file_of_sections_adds_one_section_with_a_place_of_its_own():
    names = [module.name for module in pkgutil.iter_modules(sections.__path__) if module.name != "base"]
    own = [importlib.import_module(f"{sections.__name__}.{name}").SECTION for name in names]
    assert sorted(own, key=lambda section: section.place) == list(SECTIONS)
    assert len({section.place for section in SECTIONS}) == len(SECTIONS)


def lengthy(seed, effect=0.0, problems=60, samples=8):
    """Texts that are longer where problems are hard; within a problem `effect` points for each 100 tokens."""
    rng = np.random.default_rng(seed)
    made = []
    for hard in rng.uniform(-1, 1, problems):
        tokens = (200 + 100 * hard + rng.uniform(-80, 80, samples)).round()
        chance = 0.5 - 0.3 * hard + effect * (tokens - 200 - 100 * hard) / 100
        right = rng.random(samples) < chance
        made.append([{"correct": one, "tokens": int(count)} for one, count in zip(right, tokens, strict=True)])
    return made


def alike(problems):
    """The same texts, all of one length."""
    return [[{**one, "tokens": 100} for one in own] for own in problems]


def test_length_by_difficulty_alone_has_no_effect_within_problems():
    (found,) = length.SECTION.make([arm(lengthy(1))]).numbers.values()
    assert found.pooled.high < 0
    assert found.within.low < 0 < found.within.high
    assert found.delta.low < 0 < found.delta.high
    for part in found.bins:
        assert part.right.low - 0.05 < part.expected < part.right.high + 0.05


def test_an_effect_of_length_is_found_beside_difficulty():
    (found,) = length.SECTION.make([arm(lengthy(2, effect=0.4))]).numbers.values()
    assert found.within.low <= 0.004 <= found.within.high
    assert found.within.low > 0
    assert found.delta.low > 0


def test_cut_texts_are_left_out_and_counted():
    made = lengthy(3)
    for own in made:
        own.append({"correct": False, "tokens": 512, "why": "length", "cut": True})
    (found,) = length.SECTION.make([arm(made)]).numbers.values()
    (known,) = length.SECTION.make([arm(lengthy(3))]).numbers.values()
    assert (found.cut, found.cut_right) == (60, 0)
    assert found.within == known.within


def test_votes_by_length_count_short_texts_more():
    made = lengthy(4)
    short, long = {"tokens": 10, "answer": "a", "correct": True}, {"tokens": 100, "answer": "b", "correct": False}
    made += [[long, short, long, *[{"tokens": 50, "answer": None, "correct": False}] * 5]] * 5
    (found,) = length.SECTION.make([arm(made)]).numbers.values()
    assert found.votes.only_first >= 5


@pytest.mark.parametrize(
    ("arms", "because"),
    [
        ([arm(lengthy(1), independent=False)], "several independent samples"),
        ([arm(lengthy(1, problems=5))], "problems have both right and wrong whole texts, but 10 are needed"),
        ([arm(alike(lengthy(1)))], "x does not vary"),
    ],
)
def test_length_is_not_shown_without_its_data(arms, because):
    with pytest.raises(OmittedError, match=re.escape(because)):
        length.SECTION.make(arms)


def test_a_run_that_lacks_data_is_named_beside_one_that_has_them():
    made = length.SECTION.make([arm(lengthy(1)), arm(lengthy(1), "other", independent=False)])
    assert isinstance(made, SectionBody)
    assert list(made.numbers) == ["made"]
    assert "other is not shown, because it does not have several independent samples" in made.blocks[-1].text


def test_json_has_an_object_for_each_section_shown_or_not(monkeypatch):
    monkeypatch.setattr(saturation, "_DRAWS", 2_000)
    one = arm(lengthy(1, problems=30))
    document = report({one.path: one.run})
    sections = json.loads(json.dumps(as_list(document), allow_nan=False))
    assert {one["title"] for one in sections} == {section.title for section in SECTIONS} | {"Not shown"}
    of = {one["title"]: one for one in sections}
    assert of["Comparisons"] == {"title": "Comparisons", "shown": False, "because": "no two runs are of the same task"}
    assert all(one["numbers"] for one in sections if one["shown"] and one["title"] != "Not shown")
    (numbers,) = of["Length"]["numbers"].values()
    assert numbers["within"]["low"] < numbers["within"]["estimate"] < numbers["within"]["high"]
    assert any("arXiv 2502.15631" in source for source in of["Length"]["sources"])


def test_numbers_of_scaling_are_the_curves_and_what_the_law_foretells():
    scores = [TaskScore(0, f"pass@{k}", 0.5 + k / 100, None, None, 60, "") for k in (1, 2, 4, 8)]
    one = arm(lengthy(1), scores=scores)
    made = scaling.SECTION.make([one])
    ((name, found),) = made.numbers.items()
    assert found["pass@k"] == scores
    assert found["law"]["exponent"] == one.law.exponent
    (table,) = [block for block in made.blocks if isinstance(block, Table)]
    for at, cell in zip(EXTRAPOLATED, table.rows[0][3:], strict=True):
        estimate, low, high = found["law"][f"pass@{at}"]
        assert 0 < low <= estimate <= high <= 1
        assert cell == f"{estimate:.1%} ({low:.1%} to {high:.1%})"
    assert table.rows[0][0] == name


def checked(seed, rates, completeness=0.9, soundness=0.7, samples=32):
    """Texts that a checker judged, with verdicts and a reward that says the same."""
    rng = np.random.default_rng(seed)
    made = []
    for rate in rates:
        own = []
        for correct in rng.random(samples) < rate:
            accepted = rng.random() < (completeness if correct else 1 - soundness)
            values = (float(accepted), None, float(accepted))
            verdicts = tuple(SingleVerdict("judge", value, 5) for value in values)
            own.append({"correct": correct, "verdicts": verdicts, "rewards": {"raw": 3.0 * accepted - 1}})
        made.append(own)
    return made


def test_a_checker_of_known_quality_is_measured_from_verdicts_and_from_rewards():
    made = checkers.SECTION.make([arm(checked(1, np.linspace(0.05, 0.95, 40)))])
    (found,) = made.numbers.values()
    verdicts = found["verdicts of judge"]
    assert verdicts.completeness.low <= 0.9 <= verdicts.completeness.high
    assert verdicts.soundness.low <= 0.7 <= verdicts.soundness.high
    assert found["raw from 2 on"]._replace(best=[]) == verdicts._replace(best=[])
    true = ceiling(np.linspace(0.05, 0.95, 40), verifier=Verifier(0.9, 0.7))
    assert verdicts.ceiling.low <= true <= verdicts.ceiling.high
    assert verdicts.best[-1].attempts <= verdicts.best[0].attempts


def test_problems_with_a_text_that_was_not_judged_are_left_out():
    made = checked(1, np.linspace(0.05, 0.95, 40))
    made[7][3] |= {"verdicts": (), "rewards": {}}
    (found,) = checkers.SECTION.make([arm(made)]).numbers.values()
    assert next(iter(found)) == "verdicts of judge, on 39 of 40 problems"
    assert all(name.endswith(", on 39 of 40 problems") for name in found)
    (rest,) = checkers.SECTION.make([arm(made[:7] + made[8:])]).numbers.values()
    assert list(found.values()) == list(rest.values())
    few = "fewer than 10 problems that a checker judged have right texts, or fewer have wrong ones"
    with pytest.raises(OmittedError, match=few):
        checkers.SECTION.make([arm(made[:9])])
    bare = [[{"correct": one["correct"]} for one in own] for own in made]
    with pytest.raises(OmittedError, match="no verdict or reward is recorded of all texts of its problems"):
        checkers.SECTION.make([arm(bare)])


def test_rewards_of_one_that_are_the_most_are_a_bound_of_their_own():
    made = checked(3, np.linspace(0.05, 0.95, 30))
    for own in made:
        for place, one in enumerate(own):
            one |= {"verdicts": (), "rewards": {"tests": (one["rewards"]["raw"] + 1) / 3 if place % 2 else 0.6}}
    (found,) = checkers.SECTION.make([arm(made)]).numbers.values()
    assert list(found) == ["tests from 0.5 on", "tests from 1 on"]
    assert found["tests from 1 on"].soundness.estimate > found["tests from 0.5 on"].soundness.estimate


def test_shares_and_orders_follow_from_verdicts_of_a_judge_that_treats_texts_alike():
    good = arm(checked(4, np.linspace(0.3, 0.95, 400), samples=2), "good")
    bad = arm(checked(5, np.linspace(0.05, 0.7, 400), samples=2), "bad")
    found = judges.SECTION.make([good, bad]).numbers
    for name, share in (("good", 0.625), ("bad", 0.375)):
        one = found[name]["judges"]["verdicts of judge"]
        assert one.seen == pytest.approx(0.9 * share + 0.3 * (1 - share), abs=0.05)
        assert one.corrected.low <= one.truth <= one.corrected.high
        assert one.corrected.high - one.corrected.low < 0.2
        assert one.truth == pytest.approx(share, abs=0.05)
    assert all(one.chance > 0.99 and one.right[0] > one.right[1] for one in found["good"]["orders"])
    assert {one.judge for one in found["good"]["orders"]} == {"verdicts of judge", "raw from 2 on"}


def test_the_correction_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(60):
        made = checked(seed, np.random.default_rng(seed).beta(2, 2, 100), samples=4)
        (found,) = judges.SECTION.make([arm(made)]).numbers.values()
        one = found["judges"]["verdicts of judge"].corrected
        held += one.low <= 0.5 <= one.high
    assert held >= 53


def test_of_a_judge_that_tells_nothing_nothing_follows():
    with pytest.raises(OmittedError, match="nothing follows"):
        judges.SECTION.make([arm(checked(1, np.linspace(0.05, 0.95, 60), 0.5, 0.5))])


def test_a_run_beyond_the_reach_of_resampling_is_named():
    score = TaskScore(0, "pass@1", 0.99, None, None, 40, "")
    better = arm(lengthy(1), "better", scores=[score])
    made = checkers.SECTION.make([arm(checked(1, np.linspace(0.05, 0.95, 40))), better])
    texts = [block.text for block in made.blocks if isinstance(block, Paragraph)]
    assert any(text.startswith("better is at 99.0% from its first text") for text in texts)


def test_saturation_is_that_of_the_known_rates():
    rng = np.random.default_rng(6)
    made = [[{"correct": one} for one in rng.random(16) < 0.3 * able] for able in rng.random(80) < 0.75]
    (found,) = saturation.SECTION.make([arm(made)]).numbers.values()
    fitted = found["samples"]["pass@k"]
    assert fitted.f_max.low <= 0.75 <= fitted.f_max.high
    assert fitted.p.estimate == pytest.approx(0.3, abs=0.05)
    assert found["foretold"].samples == 32
    assert found["foretold"].coverage.low <= 0.75 <= found["foretold"].coverage.high
    forecast = found["forecasts"]["pass@k"]
    assert forecast.at.tolist() == [32, 64]
    assert (forecast.low <= 0.75).all()
    assert (forecast.high >= 0.75).all()
    assert forecast.effective >= 100


def test_a_forecast_with_few_effective_draws_is_not_shown(monkeypatch):
    monkeypatch.setattr(saturation, "_EFFECTIVE", 10**6)
    monkeypatch.setattr(saturation, "_DRAWS", 2_000)
    rng = np.random.default_rng(6)
    made = saturation.SECTION.make([arm([[{"correct": one} for one in rng.random(8) < 0.3] for _ in range(20)])])
    texts = [block.text for block in made.blocks if isinstance(block, Paragraph)]
    assert any(text.startswith("made: the forecast of pass@k is not shown, because only ") for text in texts)


def test_rounds_of_revision_mend_and_spoil_as_often_as_they_do():
    rng = np.random.default_rng(7)
    made = arm([[{"correct": True}]] * 60, independent=False)
    records = []
    for record in made.records:
        right = [bool(rng.random() < 0.5)]
        while len(right) < 9:
            right.append(bool(rng.random() < (0.9 if right[-1] else 0.3)))
        records.append(record._replace(turns=(tuple(AnswerTurn(None, one) for one in right),)))
    revised = replace(made, run=replace(made.run, records=tuple(records)))
    (found,) = saturation.SECTION.make([revised]).numbers.values()
    rounds = found["rounds"]
    assert rounds.rounds == 480
    assert rounds.mended.low <= 0.3 <= rounds.mended.high
    assert rounds.spoilt.low <= 0.1 <= rounds.spoilt.high
    assert rounds.limit.low <= 0.75 <= rounds.limit.high
    assert rounds.point.low <= RevisionChain(0.5, 0.3, 0.1).point() <= rounds.point.high
    assert rounds.most == 8
    assert abs(rounds.next_doubling.estimate) < 0.01
    with pytest.raises(OmittedError, match="it does not have several independent samples of each problem, in a number"):
        saturation.SECTION.make([made])


def test_problems_without_a_draft_leave_rounds_of_revision_to_the_others():
    """Of a problem whose method failed before its first answer there are no turns."""
    turns = [AnswerTurn(None, one) for one in (False, True, True, False)]
    made = arm([[{"correct": True}]] * 22, independent=False)
    records = [
        record._replace(turns=(tuple(turns),) if place < 20 else ()) for place, record in enumerate(made.records)
    ]
    revised = replace(made, run=replace(made.run, records=tuple(records)))
    (found,) = saturation.SECTION.make([revised]).numbers.values()
    assert found["rounds"].rounds == 60


@pytest.mark.filterwarnings("error")
def test_a_run_without_tokens_is_in_the_table_of_costs_and_not_in_its_picture():
    right = TaskScore(0, "accuracy", 0.0, 0.0, 0.5, 2, "Wilson")
    runs = []
    for name, count in (("silent", 0), ("wordy", 10)):
        tokens = TaskScore(0, "tokens", count, None, None, 2, "all alike")
        runs.append(arm([[{"correct": False}]] * 2, name, scores=[right, tokens]))
    picture, table, note, *_ = costs.SECTION.make(runs).blocks
    assert [row[0] for row in table.rows] == ["silent", "wordy"]
    assert "wordy" in picture.svg
    assert "silent" not in picture.svg
    assert note == Paragraph("silent is not drawn, as it wrote no token.")
    table, *_ = costs.SECTION.make([runs[0], replace(runs[0], name="mute")]).blocks
    assert len(table.rows) == 2


def test_the_summary_counts_every_wrong_answer_once_by_what_went_wrong():
    made = arm(
        [
            [{"correct": True}],
            [{"correct": False}, {"correct": True}],
            [{"correct": False}, {"correct": False}],
            [{"correct": False, "answer": None}, {"correct": False}],
            [{"correct": False, "why": "length", "cut": True}],
        ]
    )
    texts = [block.text for block in summary.SECTION.make([made]).blocks]
    (failures,) = [text for text in texts if " are wrong: " in text]
    assert failures == (
        "made: 4 answers of 5 are wrong: 1 where a right sample was there but not chosen, 1 where no text is right, "
        "1 where no answer was found in the texts, 1 where the chosen text was cut."
    )


@pytest.mark.parametrize(("apart", "verdict"), [(12, "they differ"), (2, "a difference is not shown")])
def test_the_summary_says_whether_runs_differ(apart, verdict):
    one = arm([[{"correct": True}]] * 20, "one")
    other = arm([[{"correct": number >= apart}] for number in range(20)], "other")
    texts = [block.text for block in summary.SECTION.make([one, other]).blocks]
    assert texts[-1].startswith(f"one − other on made: +{100 * apart / 20:.1f} points")
    assert texts[-1].endswith(f": {verdict}.")


def written(problems, name="made", **settings):
    """A run whose samples have texts: dictionaries of a sample's fields, `text` among them."""
    fields = [[{key: value for key, value in one.items() if key != "text"} for one in own] for own in problems]
    traces = [
        json.dumps(
            {
                "nodes": [
                    {"kind": "extend", "branch": f"p{number}/{place}", "parent": f"p{number}", "text": one["text"],
                     "tokens": 10, "logprob": -1.0, "why": "end"}
                    for place, one in enumerate(own)
                ]
            }
        )
        for number, own in enumerate(problems)
    ]  # fmt: skip
    return arm(fields, name, traces=traces, **settings)


CLEAN, FAILING, SILENT = "3 * 4 = 12, so 12.", "3 * 4 = 13, 13 - 1 = 12, so 12.", "It is 12."


def derived(seed, rate, problems=60, samples=8):
    """Texts half of which are right; a right one has a failing equation with the chance `rate`, a wrong one always."""
    rng = np.random.default_rng(seed)
    return [
        [
            {"correct": good, "text": FAILING if not good or rng.random() < rate else CLEAN}
            for good in (rng.random(samples) < 0.5).tolist()
        ]
        for _ in range(problems)
    ]


def test_false_positives_are_counted_by_hand():
    own = [{"correct": True, "text": text} for text in (CLEAN, FAILING, FAILING)] + [{"correct": False, "text": SILENT}]
    (found,) = derivations.SECTION.make([written([own] * 10)]).numbers.values()
    assert (found.right, found.unchecked, found.failing, found.problems) == (30, 0, 20, 10)
    assert found.rate.estimate == pytest.approx(2 / 3)
    assert [(one.samples, one.graded, one.clean) for one in found.coverage] == [
        (1, 0.75, 0.25), (2, 1.0, 0.5), (4, 1.0, 1.0)
    ]  # fmt: skip
    assert found.rate_wrong is None


def test_a_known_rate_of_false_positives_lies_in_its_interval():
    (found,) = derivations.SECTION.make([written(derived(1, 0.1))]).numbers.values()
    assert found.rate.low <= 0.1 <= found.rate.high < 0.2
    assert found.rate_wrong.estimate == 1


def test_no_failing_equation_is_not_taken_for_certainty():
    (found,) = derivations.SECTION.make([written(derived(1, 0.0, problems=20))]).numbers.values()
    assert found.rate.estimate == found.rate.low == 0
    assert 0.1 < found.rate.high < 0.2


@pytest.mark.parametrize(
    ("problems", "because"),
    [
        (derived(1, 0.1, problems=9), "9 problems have right texts with an equation that can be checked"),
        (
            [[{"correct": True, "text": CLEAN}, *[{"correct": True, "text": SILENT}] * 3]] * 20,
            "only 25.0% of its right",
        ),
    ],
)
def test_false_positives_are_not_shown_without_equations(problems, because):
    with pytest.raises(OmittedError, match=re.escape(because)):
        derivations.SECTION.make([written(problems)])


def test_texts_are_those_of_the_result_file_or_missed():
    bare = arm([[{"correct": True}] * 2] * 20)
    with pytest.raises(OmittedError, match=r"not available: made\.traces\.jsonl is missing"):
        derivations.SECTION.make([bare])
    torn = written([[{"correct": True, "text": CLEAN}] * 2] * 20)
    torn = replace(torn, run=replace(torn.run, traces=(*torn.run.traces[:-1], '{"nodes": []}')))
    with pytest.raises(FormatError, match=r"made\.traces\.jsonl is damaged"):
        derivations.SECTION.make([torn])


def marked(seed, right, wrong, problems=60, samples=8):
    """Texts that say "Wait!" with the chance `right` if they are right, else `wrong`; all say "so" once."""
    rng = np.random.default_rng(seed)
    return [
        [
            {"correct": good, "text": "so it is twelve now. " + ("Wait!" if rng.random() < chance else "Fine!")}
            for good, chance in ((good, right if good else wrong) for good in (rng.random(samples) < 0.5).tolist())
        ]
        for _ in range(problems)
    ]


def test_markers_have_the_effect_that_they_were_given():
    found = markers.SECTION.make([written(marked(1, 0.2, 0.6))]).numbers["made"]
    wait = found["backtracking"]
    # P(right has it, wrong not) - P(wrong has it, right not) = 0.2 - 0.6
    assert wait.delta.low <= -0.4 <= wait.delta.high < 0
    assert wait.share_right == pytest.approx(0.2, abs=0.06)
    assert wait.rate_wrong == pytest.approx(1000 * wait.share_wrong / 6)
    assert found["inference"].delta.estimate == 0
    assert found["hedging"].delta is None
    words = markers.SECTION.make([written(marked(1, 0.2, 0.6))]).blocks[0].text
    assert words == "made: among texts of one problem, wrong ones have more backtracking, thinking."


def test_markers_without_an_effect_are_seldom_called_different():
    calls = 0
    for seed in range(20):
        found = markers.SECTION.make([written(marked(seed, 0.4, 0.4, problems=20, samples=4))]).numbers["made"]
        calls += any(one.delta and not one.delta.low <= 0 <= one.delta.high for one in found.values())
    assert calls <= 3


@pytest.mark.parametrize(
    ("problems", "because"),
    [
        (marked(1, 0.2, 0.6, problems=5), "5 problems have both right and wrong whole texts"),
        (marked(1, 0.2, 0.6, problems=1), "only 1 problem has both right and wrong whole texts"),
        ([[{"correct": True, "text": "12"}, {"correct": False, "text": "13"}]] * 20, "no habit or marker occurs in"),
    ],
)
def test_markers_are_not_shown_without_their_data(problems, because):
    with pytest.raises(OmittedError, match=re.escape(because)):
        markers.SECTION.make([written(problems)])


def test_a_report_says_that_chosen_texts_were_cut():
    whole, cut = {"correct": True}, {"correct": True, "why": "length", "cut": True}
    warned = [one.text for one in caveats_of([arm([[whole], [cut], [cut]])])]
    assert warned == ["made.jsonl: 2 of 3 chosen texts were cut before their end (length 2)."]
    assert [*caveats_of([arm([[whole], [whole]])])] == []
