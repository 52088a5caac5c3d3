"""pydantic-ai: an agent with one tool, unstreamed and streamed.

pip install 'pydantic-ai-slim[openai]'
python benchmarks/clients/pydantic_ai_agent.py --model qwen
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from common import QUESTION, Calls, options
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def main() -> None:
    """Run the agent twice."""
    args, calls = options(__doc__), Calls()
    model = OpenAIChatModel(args.model, provider=OpenAIProvider(base_url=args.url, api_key="none"))
    agent = Agent(model, model_settings={"temperature": 0, "max_tokens": 200})

    @agent.tool_plain
    def get_weather(city: str, days: int) -> str:
        """Get the weather of a city for some days."""
        return calls.weather(city, days)

    name = f"pydantic-ai {version('pydantic-ai-slim')}"
    calls.report(name, agent.run_sync(QUESTION).output)

    async def streamed() -> str:
        async with agent.run_stream(QUESTION) as run:
            return "".join([piece async for piece in run.stream_text(delta=True)])

    calls.report(f"{name}, streamed", asyncio.run(streamed()))


if __name__ == "__main__":
    main()
