"""CrewAI: a crew of one agent with one tool.

pip install crewai
python benchmarks/clients/crewai_agent.py --model qwen
"""

from __future__ import annotations

import os
from importlib.metadata import version

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}

from common import QUESTION, Calls, options
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool


def main() -> None:
    """Run the crew."""
    args, calls = options(__doc__), Calls()

    @tool("get_weather", result_as_answer=True)
    def get_weather(city: str, days: int) -> str:
        """Get the weather of a city for some days."""
        return calls.weather(city, days)

    model = LLM(f"openai/{args.model}", base_url=args.url, api_key="none", temperature=0, max_tokens=120)
    agent = Agent(
        role="weather", goal="Tell the weather.", backstory="You help with the weather.", tools=[get_weather],
        llm=model, max_iter=2,
    )  # fmt: skip
    task = Task(description=QUESTION, expected_output="The weather in a sentence.", agent=agent)
    calls.report(f"crewai {version('crewai')}", Crew(agents=[agent], tasks=[task], verbose=False).kickoff().raw)


if __name__ == "__main__":
    main()
