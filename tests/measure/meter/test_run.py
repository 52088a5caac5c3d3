"""The meter against endpoints that are honest, or that change their answers on purpose."""

from pathlib import Path

import pytest

from intact.measure.meter.apis.base import Setting
from intact.measure.meter.plan import MeterPlan
from intact.measure.meter.spending import Caps, Spending
from intact.measure.meter.summary import summarize
from measure.meter.conftest import PLAN
from support.moody import Moody


def changed(journal):
    """Names of conditions in which an answer changed."""
    return sorted({trial.condition for trial in journal.trials if not trial.comparison.equal})


ALL = ["again", "among 2", "long prompt", "n=4", "pause 0.01 s", "streamed"]


@pytest.mark.parametrize("api", ["openai", "ollama", "anthropic"])
def test_an_honest_endpoint_changes_nothing(metered, api):
    journal, outcome, endpoint = metered(Moody(apis=(api,)), api=api)
    expected = ALL if api == "openai" else [name for name in ALL if name != "n=4"]
    assert sorted({trial.condition for trial in journal.trials}) == expected
    assert changed(journal) == []
    assert summarize(journal.trials).status == 0
    assert endpoint.api.name == api
    assert [step for step, _ in outcome.unmeasured] == ([] if api == "openai" else ["round 1, temperature 0, n=4"])


def test_answers_that_depend_on_company_are_found_in_company_alone(metered):
    together = range(7, 10)  # after three references and three asked again
    journal, _, _ = metered(Moody(lambda number, now, body: "crowd" if now == 3 else "", together))
    assert changed(journal) == ["among 2"]
    some = [trial for trial in journal.trials if trial.condition == "among 2"]
    assert len(some) == 3
    for trial in some:
        assert (trial.others, trial.comparison.unit, trial.comparison.place) == (2, "token", 5)
        assert trial.comparison.got == " crowd"
    assert summarize(journal.trials).status == 1


def test_answers_that_depend_on_the_stream_are_found(metered):
    journal, _, _ = metered(Moody(lambda number, now, body: "flow" if body.get("stream") else ""))
    assert changed(journal) == ["streamed"]


def test_an_endpoint_that_ignores_seeds_is_found_where_it_samples(metered):
    plan = MeterPlan(3, settings=(Setting(0.0), Setting(0.8, 5)), company=(2,), pause=0)
    mood = lambda number, now, body: f"draw{number}" if body["temperature"] else ""  # noqa: E731
    journal, _, _ = metered(Moody(mood), plan)
    settings = {trial.setting for trial in journal.trials if not trial.comparison.equal}
    assert settings == {"temperature 0.8, seed 5"}
    assert all(not trial.comparison.equal for trial in journal.trials if trial.setting in settings)


def test_another_model_after_a_while_is_found(metered):
    journal, _, _ = metered(Moody(lambda number, now, body: "swapped" if number > 12 else ""))
    assert "again" not in changed(journal)
    assert "pause 0.01 s" in changed(journal)


def test_changed_log_probabilities_show_before_an_answer_changes(metered):
    journal, _, _ = metered(Moody(lambda number, now, body: "shift" if number > 3 else ""))
    summary = summarize(journal.trials)
    assert (summary.total.changed, summary.status) == (0, 0)
    assert summary.total.shifted == summary.total.answers
    assert journal.trials[0].comparison.shift == 0.25


def test_the_gap_to_the_other_token_comes_from_the_reference(metered):
    journal, _, _ = metered(Moody(lambda number, now, body: "other" if number > 3 else ""))
    assert journal.trials[0].comparison.gap == pytest.approx(0.25)


def test_characters_are_compared_where_tokens_are_not_listed(metered):
    journal, _, _ = metered(Moody(lambda number, now, body: "else" if number > 3 else "", logprobs=False))
    found = journal.trials[0].comparison
    assert (found.equal, found.unit, found.place) == (False, "character", 26)


def test_a_restart_is_followed_by_the_same_requests(metered, tmp_path):
    plan = MeterPlan(2, settings=(Setting(0.0),), company=(), pause=0, restart=f"touch {tmp_path / 'restarted'}")
    before = lambda number, now, body: "after" if (tmp_path / "restarted").exists() else ""  # noqa: E731
    journal, _, _ = metered(Moody(before), plan)
    assert changed(journal) == ["restart"]


def test_a_restart_that_fails_is_reported(metered):
    plan = MeterPlan(2, settings=(Setting(0.0),), company=(), pause=0, restart="exit 3")
    _, outcome, _ = metered(Moody(), plan)
    assert outcome.unmeasured == [("round 1, temperature 0, restart", "--restart ended with status 3")]


def test_a_restart_that_hangs_is_ended_with_what_it_started(metered, tmp_path, monkeypatch):
    monkeypatch.setattr("intact.measure.meter.conditions.RESTART_SECONDS", 0.3)
    started = tmp_path / "pid"
    plan = MeterPlan(2, settings=(Setting(0.0),), company=(), pause=0, restart=f"sleep 600 & echo $! > {started}; wait")
    _, outcome, _ = metered(Moody(), plan)
    assert outcome.unmeasured == [("round 1, temperature 0, restart", "--restart has not ended within 0.3 s")]
    state = Path(f"/proc/{started.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] in "ZX"


def test_time_before_the_first_request_does_not_count(monkeypatch):
    now = iter([0.0, 1000.0, 1001.0])
    monkeypatch.setattr("intact.measure.meter.spending.clock", lambda: next(now))
    spending = Spending(Caps(seconds=300))
    spending.start()
    assert spending.left() == 299


def test_what_an_endpoint_refuses_is_left_out_and_said(metered):
    moody = Moody(refuse=("logprobs", "top_logprobs", "n"))
    journal, outcome, endpoint = metered(moody)
    assert changed(journal) == []
    assert endpoint.notes == ["the endpoint refuses logprobs, which was left out"]
    ((step, why),) = outcome.unmeasured
    assert step == "round 1, temperature 0, n=4"
    assert "unknown field: n" in why


def test_each_run_has_prompts_that_no_cache_knows(metered):
    first, second = Moody(), Moody()
    metered(first)
    metered(second)
    systems = [{body["messages"][0]["content"] for _, _, body in moody.asked} for moody in (first, second)]
    assert not systems[0] & systems[1]
    users = [[body["messages"][1]["content"] for _, _, body in moody.asked[:3]] for moody in (first, second)]
    assert users[0] == users[1]


@pytest.mark.parametrize(
    ("caps", "why"),
    [
        (Caps(requests=7), "needs 3 requests, more than --max-requests 7 leaves"),
        (Caps(tokens=900), "--max-tokens-total 900"),
        (Caps(cost=0.002, prices=(1.0, 10.0)), "--max-cost 0.002"),
    ],
)
def test_caps_hold_and_what_they_cost_is_said(metered, caps, why):
    moody = Moody()
    journal, outcome, endpoint = metered(moody, caps=caps)
    spent = endpoint.spending
    assert 0 < spent.requests <= caps.requests
    assert len(moody.asked) <= spent.requests  # one that was counted may have been cancelled
    assert caps.tokens is None or spent.tokens <= caps.tokens
    assert caps.cost is None or 0 < spent.cost <= caps.cost
    assert why in " ".join(reason for _, reason in outcome.unmeasured)
    assert len(outcome.unmeasured) + len(journal.done) >= len(PLAN.conditions)


def test_busy_endpoints_are_asked_again_and_retries_count(metered, monkeypatch):
    monkeypatch.setattr("intact.measure.meter.client._PAUSE", 0)
    journal, _, endpoint = metered(Moody(statuses=[503, 429]))
    assert changed(journal) == []
    planned = 3 + sum(condition.requests(3, Setting(0.0)) for condition in PLAN.conditions)
    assert endpoint.spending.requests == planned + 2


def test_the_key_is_sent_but_appears_nowhere(metered, monkeypatch, tmp_path):
    secret = "sk-very-secret-key"
    monkeypatch.setenv("INTACT_API_KEY", secret)
    monkeypatch.setattr("intact.measure.meter.client._PAUSE", 0)
    moody = Moody(statuses=[200] * 3 + [401])
    _, outcome, _ = metered(moody, journal=tmp_path / "j")
    assert moody.asked[0][1]["authorization"] == f"Bearer {secret}"
    assert "Bearer ***" in str(outcome.unmeasured)
    assert secret not in str(outcome) + (tmp_path / "j").read_text()


def test_a_later_session_measures_only_what_is_missing(metered, tmp_path):
    path = tmp_path / "j"
    first, _, _ = metered(Moody(), caps=Caps(requests=16), journal=path)
    kept = path.read_text()
    moody = Moody()
    second, outcome, endpoint = metered(moody, journal=path)
    assert [trial.step for trial in second.trials[: len(first.trials)]] == [trial.step for trial in first.trials]
    assert sorted({trial.condition for trial in second.trials}) == ALL
    assert path.read_text().startswith(kept)
    assert outcome.unmeasured == []
    assert second.used(endpoint.spending)["requests"] == 15 + len(moody.asked)
    assert len({trial.step for trial in second.trials}) == len(ALL)


def test_it_stops_early_once_it_is_decided(metered):
    moody = Moody(lambda number, now, body: "no" if number > 3 else "")
    journal, outcome, _ = metered(moody, stop_at=0.01)
    assert {trial.condition for trial in journal.trials} == {"again"}
    assert {why for _, why in outcome.unmeasured} == {"it is decided whether more than 0.01 of the answers change"}


@pytest.mark.parametrize(
    ("size", "mood"),
    [
        (44, lambda number, now, body: f"{number % 3}" if now >= 44 else ""),  # vllm 51187: from 44 sequences on
        (
            45,
            lambda number, now, body: "some" if now > 1 and " 1" in body["messages"][1]["content"] else "",
        ),  # imp 1314
        pytest.param(256, lambda number, now, body: "rows" if now > 256 else "", marks=pytest.mark.slow),  # vllm 48271
    ],
)
def test_breaks_of_invariance_that_people_reported_are_found(metered, size, mood):
    plan = MeterPlan(probes=5, settings=(Setting(0.0),), company=(2, size), pause=0)
    before = 5 + 5 + 6 + (5 + 10 + 5 if size > 64 else 0)  # references, again, among 2; large company comes last
    moody = Moody(mood, range(before + 1, before + size + 2))
    journal, _, _ = metered(moody, plan, Caps(requests=400))
    assert changed(journal) == [f"among {size}"]


def test_log_probabilities_that_a_warm_cache_changes_are_found(metered):
    # llama.cpp 28368: the same text, other log-probabilities once the prompt is in the cache
    journal, _, _ = metered(Moody(lambda number, now, body: "shift" if 3 < number <= 6 else ""))
    shifted = {trial.condition for trial in journal.trials if trial.comparison.shift}
    assert shifted == {"again"}
