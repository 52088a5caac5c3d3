"""Ollama's API: conversations, prompts and models; completions are identical to those of the OpenAI API."""
