"""smolagents: a tool-calling agent with one tool, and a stream.

pip install 'smolagents[openai]'
python benchmarks/clients/smolagents_agent.py --model qwen
"""

from __future__ import annotations

from importlib.metadata import version

from common import QUESTION, Calls, options
from smolagents import ChatMessage, MessageRole, OpenAIModel, ToolCallingAgent, tool


def main() -> None:
    """Run the agent, and stream an answer."""
    args, calls = options(__doc__), Calls()

    @tool
    def get_weather(city: str, days: int) -> str:
        """Get the weather of a city for some days.

        Args:
            city: The city.
            days: The number of days.
        """
        return calls.weather(city, days)

    model = OpenAIModel(args.model, api_base=args.url, api_key="none", temperature=0, max_tokens=120)
    agent = ToolCallingAgent([get_weather], model, max_steps=2, verbosity_level=0)
    calls.report(f"smolagents {version('smolagents')}", agent.run(QUESTION))
    messages = [ChatMessage(MessageRole.USER, [{"type": "text", "text": "Why is the sky blue?"}])]
    print("a stream:", "".join(delta.content or "" for delta in model.generate_stream(messages)))


if __name__ == "__main__":
    main()
