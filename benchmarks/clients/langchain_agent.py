"""LangChain: an agent with one tool.

pip install langchain langchain-openai
python benchmarks/clients/langchain_agent.py --model qwen
"""

from __future__ import annotations

from importlib.metadata import version

from common import QUESTION, Calls, options
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


def main() -> None:
    """Run the agent."""
    args, calls = options(__doc__), Calls()

    @tool(return_direct=True)  # a model of half a billion parameters would go on calling
    def get_weather(city: str, days: int) -> str:
        """Get the weather of a city for some days."""
        return calls.weather(city, days)

    model = ChatOpenAI(base_url=args.url, api_key="none", model=args.model, temperature=0, max_tokens=200)
    agent = create_agent(model, [get_weather])
    result = agent.invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 8})
    calls.report(f"langchain {version('langchain')}", result["messages"][-1].content)


if __name__ == "__main__":
    main()
