"""Shared parts of the client scripts: options, the question, and the tool that answers it."""

from __future__ import annotations

import argparse
import os

QUESTION = "What is the weather in Oslo for the next 3 days? Use the tool."
WEATHER = "rain, 7 degrees"


def options(description: str | None) -> argparse.Namespace:
    """Read the server's address and the model from the command line."""
    parser = argparse.ArgumentParser(description=description)
    url = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")  # intact cassette sets it
    parser.add_argument("--url", default=url, help="server address")
    parser.add_argument("--model", default="qwen", help="name of a served model")
    return parser.parse_args()


class Calls:
    """The tool calls that a client made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def weather(self, city: str, days: int) -> str:
        """Record a call, and return the tool's answer."""
        self.made.append((city, days))
        return f"{city}, {days} days: {WEATHER}"

    def report(self, client: str, answer: object) -> None:
        """Print the calls; exit with an error if the tool was not called."""
        print(f"{client}: called {self.made}, answered {answer!r}")
        if not self.made:
            raise SystemExit(f"{client}: the tool was not called")
