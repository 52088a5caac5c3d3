"""Anthropic's interface, by the conversations of `intact.serve.chat`."""
