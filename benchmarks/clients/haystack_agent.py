"""Haystack: an agent with one tool, whole and streamed.

pip install haystack-ai
python benchmarks/clients/haystack_agent.py --model qwen
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from common import QUESTION, Calls, options
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret


def main() -> None:
    """Run the agent twice."""
    args = options(__doc__)
    for streams in (False, True):
        calls, parts = Calls(), list[str]()

        def get_weather(city: Annotated[str, "The city"], days: Annotated[int, "The number of days"]) -> str:
            """Get the weather of a city for some days."""
            return calls.weather(city, days)  # noqa: B023 (the agent runs before the next turn of the loop)

        model = OpenAIChatGenerator(
            Secret.from_token("none"), args.model, api_base_url=args.url,
            generation_kwargs={"temperature": 0, "max_tokens": 120},
        )  # fmt: skip
        tool = create_tool_from_function(get_weather)
        agent = Agent(
            chat_generator=model, tools=[tool], exit_conditions=["get_weather"], max_agent_steps=2,
            streaming_callback=(lambda chunk: parts.append(chunk.content)) if streams else None,  # noqa: B023
        )  # fmt: skip
        result = agent.run(messages=[ChatMessage.from_user(QUESTION)])
        name = f"haystack-ai {version('haystack-ai')}" + (", streamed" if streams else "")
        calls.report(name, result["last_message"].text or result["last_message"].tool_call_result)


if __name__ == "__main__":
    main()
