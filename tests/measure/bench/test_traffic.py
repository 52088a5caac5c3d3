"""Files of traffic, the law that makes them, and their replay against a real server."""

import math
import statistics
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import kstest

from intact._base.errors import EndpointError, FormatError, ParameterError
from intact.measure.bench.replay import ReplayTarget, TimedAnswer, replay, summarize
from intact.measure.bench.traffic import TrafficLaw, TrafficRequest, make_traffic, read_traffic, write_traffic
from support.serving import running
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=1024)
    with running({"tiny": path}) as there:
        yield there


def test_what_is_written_is_read(tmp_path):
    arrivals = [TrafficRequest(0.0, 100, 20, (1, 2)), TrafficRequest(15.0, 3, 1), TrafficRequest(15.0, 512, 9, (1,))]
    write_traffic(tmp_path / "t.jsonl", arrivals)
    assert read_traffic(tmp_path / "t.jsonl") == arrivals


def test_a_line_of_mooncake_is_read_and_times_begin_at_zero(tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}\n'
        '{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 47, 2366]}\n'
    )
    assert [arrival.timestamp for arrival in read_traffic(tmp_path / "t.jsonl")] == [0.0, 3053.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
            ),
            [TrafficRequest(0.0, 374, 44), TrafficRequest(4314.579, 396, 109)],
        ),
        (
            (
                "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n"
                "118,GPT-4,417,276,693,Conversation log\n"
            ),
            [TrafficRequest(0.0, 472, 18), TrafficRequest(113000.0, 417, 276)],
        ),
    ],
)
def test_csv_of_azure_and_of_burst_gpt_is_read(tmp_path, text, expected):
    (tmp_path / "t.csv").write_text(text)
    found = read_traffic(tmp_path / "t.csv")
    assert [arrival[1:] for arrival in found] == [arrival[1:] for arrival in expected]
    assert [arrival.timestamp for arrival in found] == pytest.approx([one.timestamp for one in expected], abs=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a traffic file"),
        ("a,b\n1,2\n", "not a traffic file: expected JSON lines"),
        ("{", "line 1: not JSON"),
        ('{"timestamp": 1, "input_length": 0, "output_length": 1}', "line 1: input_length is not an integer from 1"),
        ('{"timestamp": 1, "input_length": 5, "output_length": "x"}', "output_length is not an integer from 0"),
        ('{"timestamp": true, "input_length": 5, "output_length": 1}', "timestamp is not a number"),
        (f'{{"timestamp": 1{"0" * 400}, "input_length": 5, "output_length": 1}}', "timestamp is not a number"),
        (f"a,{'b' * 200_000}\n", "is not CSV: field larger"),
        ('{"timestamp": NaN, "input_length": 5, "output_length": 1}', "timestamp is not a number"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": ["a"]}', "hash_ids is not a list"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 0}', "has no requests"),
        (
            (
                '{"timestamp": 2, "input_length": 5, "output_length": 1}\n'
                '{"timestamp": 1, "input_length": 5, "output_length": 1}'
            ),
            "line 2: the request arrives before",
        ),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2: Invalid isoformat"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.1,many,1\n", "line 2: invalid literal"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.1\n", "line 2: int"),
    ],
)
def test_a_file_that_is_none_names_the_line(tmp_path, text, message):
    (tmp_path / "t").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_traffic(tmp_path / "t")


def test_blocks_of_one_number_have_one_text_and_nothing_else_begins_alike():
    one, two = (TrafficRequest(0.0, 40, 1, (7, tail)).text(0, 16) for tail in (1, 2))
    assert one.split()[:16] == two.split()[:16]
    assert one.split()[16:32] != two.split()[16:32]
    assert len(one.split()) == 40
    assert TrafficRequest(0.0, 40, 1).text(0).split()[:8] != TrafficRequest(0.0, 40, 1).text(1).split()[:8]


def test_traffic_follows_its_law():
    law = TrafficLaw(requests=4000, request_rate=5.0, burstiness=0.5, input_len=200, spread=0.4, seed=3)
    arrivals = make_traffic(law)
    gaps = np.diff([arrival.timestamp for arrival in arrivals])
    assert kstest(gaps, "gamma", (0.5, 0, 400)).pvalue > 0.01
    logs = [math.log(arrival.input_length / 200) for arrival in arrivals]
    assert statistics.mean(logs) == pytest.approx(0.0, abs=0.03)
    assert statistics.stdev(logs) == pytest.approx(0.4, abs=0.02)
    assert make_traffic(law) == arrivals
    assert make_traffic(law._replace(seed=4)) != arrivals


def test_shared_beginnings_are_shared_and_the_rest_is_not():
    law = TrafficLaw(requests=200, prefixes=3, prefix_blocks=2, block=16, input_len=40)
    arrivals = make_traffic(law)
    begin = {arrival.hash_ids[:2] for arrival in arrivals}
    assert begin == {(0, 1), (2, 3), (4, 5)}
    rest = [number for arrival in arrivals for number in arrival.hash_ids[2:]]
    assert len(set(rest)) == len(rest)
    assert all(len(arrival.hash_ids) == -(-arrival.input_length // 16) for arrival in arrivals)


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 0},
        {"request_rate": 0.0},
        {"burstiness": 0.0},
        {"spread": 9.0},
        {"seed": -1},
        {"block": 0},
        {"prefixes": 1, "prefix_blocks": 1024, "block": 1 << 16},
    ],
)
def test_a_law_out_of_range_is_refused(wrong):
    with pytest.raises(ParameterError, match=r"from|at most"):
        make_traffic(TrafficLaw()._replace(**wrong))


def test_a_real_server_answers_all_requests_with_the_lengths_of_the_file(server):
    arrivals = make_traffic(TrafficLaw(requests=12, request_rate=20, input_len=30, output_len=6, spread=0.3))
    outcomes = replay(arrivals, ReplayTarget(server.url + "/v1"), speed=4)
    assert [outcome.error for outcome in outcomes] == [None] * 12
    assert [outcome.output_tokens for outcome in outcomes] == [arrival.output_length for arrival in arrivals]
    assert all(outcome.sent >= outcome.due == arrivals[i].timestamp / 4000 for i, outcome in enumerate(outcomes))
    assert all(outcome.sent < outcome.pieces[0] <= outcome.pieces[-1] <= outcome.end for outcome in outcomes)


def test_requests_do_not_wait_for_each_other(server):
    """All are due at once, and each begins before the first ends."""
    outcomes = replay([TrafficRequest(0.0, 20, 40)] * 4, ReplayTarget(server.url + "/v1"))
    assert max(outcome.sent for outcome in outcomes) < min(outcome.end for outcome in outcomes)


def test_what_a_server_refuses_is_recorded_and_the_others_go_on(server):
    outcomes = replay([TrafficRequest(0.0, 5000, 4), TrafficRequest(1.0, 5, 4)], ReplayTarget(server.url + "/v1"))
    assert outcomes[0].error is not None
    assert "status 4" in outcomes[0].error
    assert outcomes[1].error is None
    found = summarize(outcomes)
    assert (found.requests, found.failed) == (2, 1)
    assert found.errors == {outcomes[0].error: 1}
    assert found.output_tokens == 4


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1/models"):
        replay([TrafficRequest(0.0, 5, 4)], ReplayTarget("http://127.0.0.1:9/v1"))


@pytest.mark.parametrize(("url", "speed"), [("nowhere", 1.0), ("ftp://127.0.0.1", 1.0), ("http://127.0.0.1:9", 0.0)])
def test_a_wrong_address_or_speed_is_refused(url, speed):
    with pytest.raises(ParameterError):
        replay([TrafficRequest(0.0, 5, 4)], ReplayTarget(url), speed=speed)


@dataclass
class Case:
    """An outcome whose figures are known."""

    outcome: TimedAnswer
    ttft: float
    tpot: float
    e2el: float


CASES = [
    Case(TimedAnswer(0.0, 0.0, (0.1, 0.2, 0.3), 0.31, 10, 3), 100, 100, 310),
    Case(TimedAnswer(0.0, 0.5, (0.7, 1.3), 1.4, 10, 4), 200, 200, 900),
]


@pytest.mark.parametrize("case", CASES)
def test_the_metrics_of_a_request_are_those_of_its_times(case):
    found = case.outcome.metrics()
    assert found["ttft"] == pytest.approx([case.ttft])
    assert found["tpot"] == pytest.approx([case.tpot])
    assert found["e2el"] == pytest.approx([case.e2el])
    assert len(found["itl"]) == len(case.outcome.pieces) - 1


def test_goodput_counts_what_kept_every_promise():
    outcomes = [case.outcome for case in CASES]
    assert summarize(outcomes).goodput is None
    assert summarize(outcomes, {"ttft": 250, "tpot": 150}).goodput == pytest.approx(1 / 1.4)
    assert summarize(outcomes, {"ttft": 250}).goodput == pytest.approx(2 / 1.4)
    with pytest.raises(ParameterError, match="ttft, tpot or e2el, got 'itl'"):
        summarize(outcomes, {"itl": 5})


def test_percentiles_are_those_of_all_requests():
    found = summarize([case.outcome for case in CASES]).milliseconds["ttft"]
    assert found == pytest.approx({"mean": 150, "p50": 150, "p90": 190, "p99": 199})
