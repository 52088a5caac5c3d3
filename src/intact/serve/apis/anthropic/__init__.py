"""Anthropic's Messages API, on top of the conversations of `intact.serve.chat`."""
