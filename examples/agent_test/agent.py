"""The support desk of a shop: an agent by LangChain with two tools.

It finds its model as every client of OpenAI's does, by OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

ORDERS = {"A17": "was sent and arrives on Friday", "B42": "waits for your payment"}
PRICES = {"lamp": 30, "chair": 45}
TIMEOUT = 3600
"""Seconds that an answer may take: shared runners can be slow."""


@tool
def find_order(number: str) -> str:
    """Look up an order, such as A17."""
    return f"Order {number} {ORDERS.get(number, 'does not exist')}."


@tool
def price_of(product: str, quantity: int) -> str:
    """Compute the price of a product."""
    price = PRICES.get(product.lower().removesuffix("s"))
    return f"We do not sell {product}." if price is None else f"{quantity} x {product}: {price * quantity} euros."


@wrap_model_call
def answer_from_result(
    request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
) -> ModelResponse[Any]:
    """Ask for the answer once a tool has one: a model of half a billion parameters would go on calling tools."""
    if isinstance(request.messages[-1], ToolMessage):
        question = next(message for message in reversed(request.messages) if isinstance(message, HumanMessage))
        facts = f"{question.content}\nFacts: {request.messages[-1].content}\nAnswer by the facts in one sentence."
        request = request.override(tools=[], messages=[HumanMessage(facts)])
    return handler(request)


def chat_model(temperature: float, seed: int) -> ChatOpenAI:
    """Return the model with settings that state all that an answer depends on."""
    return ChatOpenAI(model="intact", temperature=temperature, seed=seed, max_tokens=32, timeout=TIMEOUT)


def ask(question: str, temperature: float = 0, seed: int = 0) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the calls of tools that the agent makes for a question, and its answer."""
    agent = create_agent(
        chat_model(temperature, seed),
        [find_order, price_of],
        system_prompt="You are the support desk of a shop.",
        middleware=[answer_from_result],
    )
    messages = agent.invoke({"messages": [HumanMessage(question)]}, {"recursion_limit": 8})["messages"]
    calls = [(call["name"], call["args"]) for message in messages for call in getattr(message, "tool_calls", ())]
    return calls, messages[-1].content
