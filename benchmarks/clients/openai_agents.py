"""OpenAI's Agents SDK: an agent with one tool (strict, as the SDK makes them), over the chat and responses APIs.

pip install openai-agents
python benchmarks/clients/openai_agents.py --model qwen
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from common import QUESTION, Calls, options


async def main() -> None:
    """Run the agent over both interfaces."""
    args = options(__doc__)
    set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=args.url, api_key="none")
    for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
        calls = Calls()

        @function_tool
        def get_weather(city: str, days: int) -> str:
            """Get the weather of a city for some days."""
            return calls.weather(city, days)  # noqa: B023 (the agent runs before the next turn of the loop)

        agent = Agent(
            name="weather",
            instructions="You help with the weather.",
            model=kind(model=args.model, openai_client=client),
            model_settings=ModelSettings(temperature=0, max_tokens=200),
            tools=[get_weather],
            tool_use_behavior="stop_on_first_tool",  # a model of half a billion parameters would go on calling
        )
        result = await Runner.run(agent, QUESTION, max_turns=5)
        calls.report(f"openai-agents {version('openai-agents')}, {kind.__name__}", result.final_output)


if __name__ == "__main__":
    asyncio.run(main())
