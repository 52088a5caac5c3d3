"""LlamaIndex: an agent with one tool, and a typed answer, with its classes for the OpenAI and Ollama interfaces.

pip install llama-index-core llama-index-llms-openai-like llama-index-llms-ollama
python benchmarks/clients/llama_index_agent.py --model qwen
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from common import QUESTION, Calls, options
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip to a city."""

    city: str
    days: int


async def main() -> None:
    """Run the agent with both classes."""
    args = options(__doc__)
    chat = OpenAILike(
        model=args.model,
        api_base=args.url,
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=32_768,
        max_tokens=200,
        temperature=0,
    )
    ollama = Ollama(
        model=args.model,
        base_url=args.url.removesuffix("/v1"),
        context_window=32_768,
        temperature=0,
        request_timeout=600,
        additional_kwargs={"num_predict": 200},
    )
    for name, model in ((f"llama-index {version('llama-index-core')}, OpenAILike", chat), ("Ollama", ollama)):
        calls = Calls()

        def get_weather(city: str, days: int) -> str:
            """Get the weather of a city for some days."""
            return calls.weather(city, days)  # noqa: B023 (the agent runs before the next turn of the loop)

        # return_direct, because a model with half a billion parameters would keep calling
        tool = FunctionTool.from_defaults(get_weather, return_direct=True)
        agent = FunctionAgent(tools=[tool], llm=model, system_prompt="You help with the weather.")
        calls.report(name, str(await agent.run(QUESTION)))
        pieces = [one.delta async for one in await model.astream_chat([ChatMessage(content="Why is the sky blue?")])]
        print(f"{name}, a stream: {''.join(filter(None, pieces))!r}")
        trip = model.as_structured_llm(Trip).complete("I go to Oslo for 3 days.").raw
        print(f"{name}, a typed answer: {trip!r}")
        if not isinstance(trip, Trip):
            raise SystemExit(f"{name}: no typed answer")


if __name__ == "__main__":
    asyncio.run(main())
