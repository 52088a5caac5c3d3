"""Ollama's API: conversations, prompts and models; the texts equal those of the OpenAI API."""
