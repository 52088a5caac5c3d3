"""Inspect: three epochs of one question, whose texts differ, and an agent with one tool.

pip install inspect-ai openai
python benchmarks/clients/inspect_tasks.py --model qwen
"""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version

from common import QUESTION, WEATHER, Calls, options
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool


def succeeded(log: EvalLog) -> EvalLog:
    """Return a log; exit with an error if its evaluation failed."""
    if log.status != "success":
        raise SystemExit(f"inspect-ai: {log.status}: {log.error.message if log.error else ''}")
    return log


def main() -> None:
    """Run both tasks."""
    args, calls = options(__doc__), Calls()
    os.environ["INTACT_API_KEY"] = "none"

    @tool
    def get_weather() -> Tool:
        async def execute(city: str, days: int) -> str:
            """Get the weather of a city for some days.

            Args:
                city: The city.
                days: The number of days.
            """
            return calls.weather(city, days)

        return execute

    def model(**config: float) -> object:
        return get_model(
            f"openai-api/intact/{args.model}", base_url=args.url, config=GenerateConfig(**config), memoize=False
        )

    sky = Task([Sample("Why is the sky blue?", target="blue")], solver=generate(), scorer=includes())
    weather = Task(
        [Sample(QUESTION, target=WEATHER)],
        solver=[use_tools(get_weather()), generate(tool_calls="single")],
        scorer=includes(),
    )
    name = f"inspect-ai {version('inspect-ai')}"
    with tempfile.TemporaryDirectory() as folder:
        (log,) = evaluate(sky, model=model(max_tokens=24), epochs=3, display="none", log_dir=folder)
        texts = [sample.output.completion for sample in succeeded(log).samples or ()]
        print(f"{name}: three epochs {texts}, {log.results.scores[0].metrics if log.results else None}")
        if len(set(texts)) < 3:
            raise SystemExit(f"{name}: all epochs have the same text")
        (log,) = evaluate(weather, model=model(temperature=0, max_tokens=200), display="none", log_dir=folder)
        (sample,) = succeeded(log).samples or ()
        calls.report(name, sample.messages[-1].text)


if __name__ == "__main__":
    main()
