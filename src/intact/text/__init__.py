"""Text input and output: tokenizers, streaming detokenization, chat templates and stop strings.

Importing this package is cheap: `tokenizers` and `jinja2` are only imported when a tokenizer or a template is built.
"""

from intact.text.stream import Detokenizer, StopStrings
from intact.text.template import ChatTemplate, Message
from intact.text.tokenizer import ChatPrompt, Tokenizer

__all__ = ["ChatPrompt", "ChatTemplate", "Detokenizer", "Message", "StopStrings", "Tokenizer"]
