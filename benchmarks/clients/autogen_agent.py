"""AutoGen: an assistant with one tool, whole and streamed.

pip install autogen-agentchat 'autogen-ext[openai]'
python benchmarks/clients/autogen_agent.py --model qwen
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_core.models import ModelFamily
from autogen_ext.models.openai import OpenAIChatCompletionClient
from common import QUESTION, Calls, options


async def main() -> None:
    """Run the agent twice."""
    args = options(__doc__)
    info = {
        "vision": False, "function_calling": True, "json_output": True, "structured_output": True,
        "family": ModelFamily.UNKNOWN,
    }  # fmt: skip
    client = OpenAIChatCompletionClient(
        model=args.model, base_url=args.url, api_key="none", model_info=info, temperature=0, max_tokens=120
    )
    for streams in (False, True):
        calls = Calls()

        async def get_weather(city: str, days: int) -> str:
            """Get the weather of a city for some days."""
            return calls.weather(city, days)  # noqa: B023 (the agent runs before the next turn of the loop)

        agent = AssistantAgent("weather", client, tools=[get_weather], model_client_stream=streams)
        result = [one async for one in agent.run_stream(task=QUESTION) if isinstance(one, TaskResult)][-1]
        name = f"autogen-agentchat {version('autogen-agentchat')}" + (", streamed" if streams else "")
        calls.report(name, result.messages[-1].content)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
