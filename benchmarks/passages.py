#!/usr/bin/env python3
"""Measure the effect of mixes on a passage that contradicts what a model knows: how many answers follow the passage.

    benchmarks/passages.py MODEL

Each of 40 prompts says that a country has moved its capital, and asks for the capital; the shadow prompt only asks.
Greedy, 8 tokens. Prints for each mix how many answers name the passage's city, and the difference from plain greedy
text, both with 95% intervals (Wilson's; Bonett and Price's).
"""

from __future__ import annotations

import argparse

import intact
from intact.engine.mixes import read_mix
from intact.stats.intervals import wilson
from intact.stats.paired import mcnemar

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Poland": "Warsaw", "Hungary": "Budapest", "Greece": "Athens", "Sweden": "Stockholm",
    "Norway": "Oslo", "Finland": "Helsinki", "Denmark": "Copenhagen", "Ireland": "Dublin", "Belgium": "Brussels",
    "Russia": "Moscow", "Ukraine": "Kyiv", "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Ethiopia": "Addis Ababa", "Ghana": "Accra", "Senegal": "Dakar", "Morocco": "Rabat", "Japan": "Tokyo",
    "China": "Beijing", "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta",
    "Iran": "Tehran", "Iraq": "Baghdad", "Canada": "Ottawa", "Mexico": "Mexico City", "Cuba": "Havana",
    "Peru": "Lima", "Chile": "Santiago", "Argentina": "Buenos Aires", "Colombia": "Bogota", "Australia": "Canberra",
}  # fmt: skip
MIXES = ("m3id", "m3id:decay=0.5,alpha=0.001", "guidance:scale=1.5", "guidance:scale=2", "guidance:scale=4")


def main() -> None:
    """Answer with each mix, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    given = parser.parse_args()
    countries, cities = list(CAPITALS), list(CAPITALS.values())
    claimed = cities[7:] + cities[:7]
    asks = [f"Question: What is the capital of {one}?\nAnswer: The capital of {one} is" for one in countries]
    told = [
        f"Last year {a} moved its capital to {b}.\n{ask}" for a, b, ask in zip(countries, claimed, asks, strict=True)
    ]
    model = intact.load(given.model)
    plain: list[bool] = []
    for mix in (None, *MIXES):
        mixed = {} if mix is None else {"mix": read_mix(mix), "shadow": asks}
        answers = model.generate(told, max_tokens=8, **mixed)
        follows = [city in answer.text for city, (answer,) in zip(claimed, answers, strict=True)]
        plain = plain or follows
        low, high = wilson(sum(follows), len(follows))
        beside = mcnemar(follows, plain)
        print(
            f"{mix or 'plain':27} {sum(follows):2} of {len(follows)} by the passage ({low:.2f} to {high:.2f})", end="; "
        )
        print(f"more than plain {beside.difference:+z.3f} ({beside.low:+z.3f} to {beside.high:+z.3f})")


if __name__ == "__main__":
    main()
