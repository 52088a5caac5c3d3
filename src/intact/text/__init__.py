"""Text in and out: tokenizers, streaming detokenization, chat templates and stop strings.

Importing this package is cheap: `tokenizers` is imported when a tokenizer is built, `jinja2` when a chat template is.
"""

from intact.text.stream import Detokenizer, StopStrings
from intact.text.template import ChatTemplate, Message
from intact.text.tokenizer import ChatPrompt, Tokenizer

__all__ = ["ChatPrompt", "ChatTemplate", "Detokenizer", "Message", "StopStrings", "Tokenizer"]
