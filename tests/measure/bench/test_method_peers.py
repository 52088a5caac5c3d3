"""benchmarks/method_peers.py: its table, and what it reads of llama.cpp's server."""

import importlib
import logging
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
METRICS = "# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total 1234\nllamacpp:other 5\n"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openai", reason="needs openai, with which users drive llama.cpp's server")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("method_peers")
    logging.disable(logging.NOTSET)  # which the sides turn off while they run
    for name in ("method_peers", "method_peers_sides", "agent_servers", "common"):
        sys.modules.pop(name, None)


def test_the_table_has_a_line_for_each_method_and_program_that_was_run(peers):
    row = peers.ROWS[0]
    outcomes = [
        peers.Outcome("m", side, row, str(place), right, tokens, seconds)
        for side, tokens, seconds in (("intact", 400, 2.0), ("its_hub", 300, 6.0))
        for place, right in enumerate((True, False))
    ]
    _, _, *lines = peers.table(outcomes).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[:4] + row[5:] for row in cells] == [
        [row, "intact", "2", "50.0%", "400", "2.0", "200"],
        [row, "its_hub", "2", "50.0%", "300", "6.0", "50"],
    ]


def test_tokens_are_those_that_the_server_counts(peers):
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.encode() if self.path == "/metrics" else b"")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert sys.modules["method_peers_sides"].LlamaServer(url, 10).tokens() == 1234
        finally:
            server.shutdown()
