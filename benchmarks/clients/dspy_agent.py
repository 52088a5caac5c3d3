"""DSPy: ReAct with one tool, over LiteLLM or DSPy's own client.

pip install dspy
python benchmarks/clients/dspy_agent.py --model qwen
"""

from __future__ import annotations

from importlib.metadata import version

import dspy
from common import QUESTION, Calls, options


def main() -> None:
    """Run the module."""
    args, calls = options(__doc__), Calls()

    def get_weather(city: str, days: int) -> str:
        """Get the weather of a city for some days."""
        return calls.weather(city, days)

    model = dspy.LM(
        f"openai/{args.model}", api_base=args.url, api_key="none", temperature=0, max_tokens=120, cache=False
    )
    with dspy.context(lm=model):
        answer = dspy.Predict("question -> answer")(question="What is the capital of Norway?").answer
        print(f"a prediction: {answer!r}")
        try:
            answer = dspy.ReAct("question -> answer", tools=[get_weather], max_iters=2)(question=QUESTION).answer
        except dspy.utils.exceptions.AdapterParseError as error:  # a model of half a billion parameters keeps no format
            answer = type(error).__name__
    print(f"dspy {version('dspy')}: called {calls.made}, answered {answer!r}")


if __name__ == "__main__":
    main()
