"""Anthropic's Messages API, built on the conversations of `intact.serve.chat`."""
