"""What benchmarks/peers.py makes of its measurements."""

import sys

import pytest

RUNS = {
    "intact": [
        {"tokens": 100, "seconds": 1.0, "first": 0.5},
        {"tokens": 100, "seconds": 0.5, "first": 0.25},
        {"tokens": 100, "seconds": 2.0, "first": 1.0},
    ],
    "llama": [{"tokens": 100, "seconds": 2.0, "first": 1.0}, {"tokens": 100, "seconds": 4.0, "first": 0.0}],
    "transformers": [{"tokens": 100, "seconds": 10.0}],
}


@pytest.fixture
def peers_report(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import peers_report

    yield peers_report
    for name in ("peers_report", "common"):
        sys.modules.pop(name, None)


def test_rates_are_medians_and_ratios_are_of_pairs(peers_report):
    found = peers_report.summary(RUNS)
    assert found["intact"]["all"] == [100, 200, 50]
    assert (found["intact"]["median"], found["intact"]["min"], found["intact"]["max"]) == (100, 50, 200)
    assert found["llama"]["median"] == 37.5
    assert found["ratio"] == 100 / 37.5
    assert found["ratio_range"] == [2.0, 8.0]  # 100 / 50, 200 / 25; llama.cpp ran twice only
    assert found["intact"]["decode"]["all"] == [200, 400, 100]
    assert "decode" not in found["transformers"]


def test_a_side_that_was_left_out_leaves_its_cells_empty(peers_report, capsys):
    about = {"version": "1", "threads": 2, "file_bytes_a_token": 10**9, "bytes_a_token": 2 * 10**9, "settings": {}}
    llama = {"version": "2", "threads": 2, "flags": "AVX512 = 1", "settings": {"8x32": {"words": "flash attention on"}}}
    row = {
        "name": "8x32",
        "title": "8 samples",
        "n": 8,
        "answer": 32,
        "asked": (2.0, 3.0),
        **peers_report.summary(RUNS),
    }
    alone = {**row, **peers_report.summary({"intact": RUNS["intact"]})}
    del alone["llama"], alone["transformers"], alone["ratio"], alone["ratio_range"]
    kinds, names = {"q4_0": "pure Q4_0"}, {"intact": "intact", "llama": "llama.cpp"}
    results = [
        {"model": "small", "files": "q4_0", "sides": {"intact": about, "llama": llama}, "rows": [row]},
        {"model": "large", "files": "q4_0", "sides": {"intact": about}, "rows": [alone]},
    ]
    peers_report.report(results, names, kinds)
    printed = capsys.readouterr().out
    assert "llama.cpp 2, 2 threads: AVX512 = 1" in printed
    rates = "| small | 8 samples | 100.0 (50.0 to 200.0) | 37.5 (25.0 to 50.0) | 2.67 (2.00 to 8.00) | 2.0 (3.0) |"
    assert rates in printed
    assert "| large | 8 samples | 100.0 (50.0 to 200.0) |  |  | 2.0 (3.0) |" in printed
    assert "| small | pure Q4_0 | 1,000,000,000 | 2,000,000,000 |" in printed
    assert "- llama.cpp, small, pure Q4_0. 8 samples: flash attention on." in printed
