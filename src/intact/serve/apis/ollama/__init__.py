"""Ollama's interface: conversations, prompts and models; texts are those of OpenAI's interface."""
