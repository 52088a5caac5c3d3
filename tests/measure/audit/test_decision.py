"""The verdict: honest logs are called suspicious as seldom as promised, and too little to judge is said to be so."""

import numpy as np
import pytest

from intact._base.errors import LogError
from intact.measure.audit.decision import BLOCK, Honest, comparable, in_blocks, judge, measured
from intact.measure.audit.log import LogEntry, SamplerSettings
from intact.measure.audit.recompute import Scored
from intact.measure.audit.scores import TokenScore
from intact.measure.audit.tokens import Response

SEEDED = SamplerSettings(0.8, seed=1)


def scored(values, kind="inverse", variance=None, settings=SEEDED):
    entry = LogEntry("log, line 1", "llama.cpp", settings, (1,), tuple(range(len(values))), None, None, None)
    response = Response(entry, [1], list(range(len(values))))
    scores = [TokenScore(None, *((None, value) if variance else (value, None)), variance, None) for value in values]
    return Scored(response, kind, tuple(scores))


def clustered(rng, count, length=64):
    """Responses that differ in how often they err, as real ones do."""
    rates = rng.beta(2, 20, count)
    return [np.where(rng.random(length) < rate, rng.exponential(0.05, length), 0.0) for rate in rates]


@pytest.mark.parametrize("responses", [1, 4, 16])
def test_honest_logs_are_seldom_called_suspicious(responses):
    rng = np.random.default_rng(3)
    known = Honest("llama.cpp", "m", "int8", "inverse", 0.2, tuple(in_blocks(t, 0.2) for t in clustered(rng, 400)))
    alarms = 0
    for _ in range(400):
        log = [scored(list(text)) for text in clustered(rng, responses)]
        alarms += judge(log, "int8", [known]).verdict == "suspicious"
    assert alarms <= 12  # 1% of 400 is 4; more than 12 has probability 0.0003


def test_the_more_honest_tokens_are_known_the_surer_is_a_verdict():
    rng = np.random.default_rng(5)
    texts = clustered(rng, 200)
    tails = []
    for count in (20, 200):
        known = Honest("", "m", "int8", "inverse", 0.2, tuple(in_blocks(text, 0.2) for text in texts[:count]))
        tails.append(known.tail(3 * known.mean, 256))
    assert tails[1] < tails[0] < 0.2


def test_an_engine_that_never_differed_may_differ_once():
    known = Honest("", "m", "fp32", "gumbel", 0.5, ((0.0,) * 4,) * 30)
    assert known.tail(0.0, 640) == 1
    assert known.tail(0.5 / 640, 640) > 0.05
    assert known.tail(0.1, 640) < 0.005


def test_an_outlier_counts_as_the_clip():
    assert in_blocks([np.inf] + [0.0] * (BLOCK - 1), 1.0) == (1 / BLOCK,)
    assert in_blocks([1.0] * (BLOCK - 1), 1.0) == ()


def test_evidence_is_found_and_named():
    known = Honest("llama.cpp", "m", "int8", "inverse", 0.2, (((0.01,) * 3 + (0.02,)),) * 30)
    (finding,) = judge([scored([0.15] * 64)], "int8", [known]).findings
    assert finding.p < 1e-6
    assert finding.against == "honest llama.cpp, m"
    assert judge([scored([0.15] * 64)], "int8", [known]).verdict == "suspicious"
    assert judge([scored([0.01] * 64)], "int8", [known]).verdict == "consistent"


def test_of_several_honest_logs_the_kindest_decides():
    strict = Honest("llama.cpp", "strict", "int8", "inverse", 0.2, ((0.0,) * 4,) * 30)
    kind = Honest("llama.cpp", "kind", "int8", "inverse", 0.2, ((0.1,) * 4,) * 30)
    report = judge([scored([0.1] * 64)], "int8", [strict, kind])
    assert report.verdict == "consistent"
    assert report.findings[0].against.endswith("kind")


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_surprises_count_on_both_sides(shift):
    unseeded = SamplerSettings(0.8)
    values = list(np.random.default_rng(0).normal(0, 1, 400))
    honest = scored(values, "likelihood", 1.0, unseeded)
    hot = scored([value + shift for value in values], "likelihood", 1.0, unseeded)
    assert judge([honest], "int8").verdict == "consistent"
    assert judge([hot], "int8").verdict == "suspicious"


def test_too_few_tokens_are_not_judged():
    with pytest.raises(LogError, match="too little to judge: only 15 tokens"):
        judge([scored([0.0] * 15)], "int8")


def test_nothing_to_compare_with_is_said():
    one = scored([])
    told = Scored(one.response, "greedy", (), prompt_off=(0.0,) * 64)
    with pytest.raises(LogError, match="--honest"):
        judge([told], "int8", [])


def test_what_an_honest_log_lacks_is_compared_with_those_that_were_measured():
    greedy = Honest("log", "m", "int8", "greedy", 0.5, ((0.0,) * 4,) * 30)
    report = judge([scored([0.3] * 64)], "int8", [greedy])
    assert report.verdict == "suspicious"
    assert [(one.kind, one.against.startswith("honest llama.cpp")) for one in report.findings] == [("inverse", True)]


def test_what_is_not_judged_is_named_with_the_reason():
    one = scored([0.0] * 64)
    told = Scored(one.response, "inverse", one.scores, prompt_off=(9.0,) * 64)
    report = judge([told, scored([0.0] * 15, "greedy")], "int8")
    assert report.verdict == "consistent"
    assert [(one.kind, one.tokens) for one in report.unjudged] == [("greedy", 15), ("logprobs", 64)]
    assert "fewer than 16" in report.unjudged[0].why
    assert "--honest" in report.unjudged[1].why


def test_what_was_measured_covers_engines_and_profiles():
    found = {(one.engine, one.kind) for one in measured()}
    assert {("llama.cpp", "inverse"), ("llama.cpp", "greedy"), ("transformers", "gumbel")} <= found
    for profile in ("int8", "fp32"):
        assert {one.engine for one in comparable("inverse", "llama-cpp-python", profile)} == {"llama.cpp"}
        gumbel = {(one.engine, one.profile) for one in comparable("gumbel", "transformers", profile)}
        assert gumbel == {("transformers", profile)}
        assert comparable("greedy", "some endpoint", profile)
    assert all(0 <= one.mean < one.clip for one in measured())
