"""Thoughts as DeepSeek-R1, Qwen3 and many others mark them: `<think>` ... `</think>`."""

from intact.text.thinking import ThinkingFormat

THINK_TAGS = ThinkingFormat("<think>", "</think>")
