"""Replay the same traffic against `intact serve` and llama-cpp-python's server, in turns, and compare client latencies.

    python benchmarks/traffic.py [--model PATH] [--llama PYTHON] [--traffic FILE | --request-rate 1 2] [--repeats 3]

The traffic is a file of `intact traffic`, or drawn for each rate: a Poisson process with log-normal lengths, medians of
128 tokens for prompts and 48 for answers, after one of 8 prefixes of 64. Each turn has another seed, and both servers
get the same requests in it. Prints medians of the turns' percentiles, with minimum and maximum.
"""

from __future__ import annotations

import argparse
import json
import statistics
from contextlib import ExitStack
from pathlib import Path

from intact.checkpoints.catalogue import DEFAULT, resolve
from intact.measure.bench.replay import METRICS, ReplayTarget, Summary, replay, summarize
from intact.measure.bench.traffic import TrafficLaw, TrafficRequest, make_traffic, read_traffic
from serve import served, server_commands

LAW = TrafficLaw(requests=60, input_len=128, output_len=48, prefixes=8, block=64)
SHOWN = (("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("tpot", "p99"), ("e2el", "p50"), ("e2el", "p99"))


def row(name: str, rate: str, turns: list[Summary]) -> dict[str, object]:
    """Print a row."""
    cells, facts = [], dict[str, object]()
    for metric, share in SHOWN:
        values = sorted(turn.milliseconds[metric][share] for turn in turns if turn.milliseconds[metric])
        facts[f"{metric} {share}"] = values
        cells.append(f"{statistics.median(values):,.0f} ({values[0]:,.0f}-{values[-1]:,.0f})" if values else "-")
    failed = sum(turn.failed for turn in turns)
    rates = [turn.output_tokens / turn.seconds for turn in turns]
    print(f"| {name} | {rate} | {' | '.join(cells)} | {statistics.median(rates):.1f} | {failed} |", flush=True)
    return {"server": name, "rate": rate, "failed": failed, "tokens_a_second": rates} | facts


def main() -> None:
    """Parse the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--llama", metavar="PYTHON", help="interpreter that has llama-cpp-python with its server")
    parser.add_argument("--traffic", type=Path, metavar="FILE")
    parser.add_argument("--request-rate", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--requests", type=int, default=LAW.requests, help="requests per turn (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rates = [0.0] if options.traffic else options.request_rate
    titles = [f"{METRICS[metric]}, {share[1:]}%" for metric, share in SHOWN]
    print(f"| server | requests a second | {' | '.join(titles)} | tokens a second | failed |")
    print("|---" * (4 + len(titles)) + "|")
    rows = []
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(served(command))[0]
            for name, command in server_commands(resolve(options.model), options.llama).items()
        }
        for rate in rates:
            turns: dict[str, list[Summary]] = {name: [] for name in ports}
            for turn in range(options.repeats):
                law = LAW._replace(request_rate=rate or 1.0, requests=options.requests, seed=turn)
                arrivals: list[TrafficRequest] = read_traffic(options.traffic) if options.traffic else make_traffic(law)
                for name, port in ports.items():
                    target = ReplayTarget(f"http://127.0.0.1:{port}/v1", "served")
                    turns[name].append(summarize(replay(arrivals, target, block=law.block)))
            rows += [row(name, f"{rate:g}" if rate else options.traffic.name, turns[name]) for name in ports]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
