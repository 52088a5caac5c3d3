"""A stand-in for a loaded model: the interface that the command line uses, with answers that are plain to see.

It "speaks" the bytes of a fixed sentence, a token a byte, so that the command line can be tested without an engine.
"""

import os
import time
from types import SimpleNamespace

import numpy as np

from intact._base.errors import ParameterError
from intact.text import ChatPrompt

SENTENCE = "The sky is blue."
CONTEXT = 512


class Template:
    def render(self, messages, add_generation_prompt=True):
        text = "".join(f"<{message['role']}>{message['content']}" for message in messages)
        return text + ("<assistant>" if add_generation_prompt else "")


class Tokenizer:
    bos_id = 1
    size = 256

    def __init__(self, template=True, adds_bos=False):
        self.chat_template = Template() if template else None
        self.adds_bos = adds_bos

    def encode(self, text, special=True, bos=None):
        first = [self.bos_id] if (self.adds_bos if bos is None else bos) else []
        return first + list(text.encode())

    def decode(self, ids):
        return bytes(ids).decode("utf-8", "replace")

    def token_bytes(self, token):
        return bytes([token])


class Speaker:
    """Answers every prompt with one sentence; remembers what it was asked in ``asked``."""

    def __init__(self, sentence=SENTENCE, delay=0.0, **tokenizer):
        self.sentence = sentence
        self.delay = delay
        self.tokenizer = Tokenizer(**tokenizer)
        self.asked = []

    def stream(self, prompt, **parameters):
        if parameters["top_p"] > 1:
            raise ParameterError(f"top_p must lie in (0, 1], got {parameters['top_p']}")
        if isinstance(prompt, ChatPrompt):
            prompt = self.tokenizer.encode(self.tokenizer.chat_template.render(prompt.messages), bos=False)
        self.asked.append((prompt, parameters))
        for index, byte in enumerate(self.sentence.encode()[: parameters["max_tokens"]]):
            time.sleep(self.delay)
            yield SimpleNamespace(text=chr(byte), token=byte, logprob=-(index << 24), finish=None, receipt=None)

    def chat_stream(self, messages, **parameters):
        text = self.tokenizer.chat_template.render(messages)
        if len(text) > CONTEXT:
            raise ParameterError(f"the prompt has {len(text)} tokens, the context {CONTEXT}")
        return self.stream(text, **parameters)

    def generate(self, prompts, n=1, logprobs=False, **parameters):
        chunks = list(self.stream(prompts, **parameters))
        one = SimpleNamespace(
            text="".join(chunk.text for chunk in chunks),
            tokens=tuple(chunk.token for chunk in chunks),
            logprobs=tuple(chunk.logprob for chunk in chunks) if logprobs else None,
            finish="stop",
            prompt_tokens=len(self.asked[-1][0]),
        )
        return [[one] * n]

    def logprobs(self, tokens):
        return np.full(len(tokens) - 1, -(1 << 24), np.int64)


def main():
    """Run the command line with a speaker in the engine's place; ``SPEAKER_DELAY`` is its seconds a token."""
    import intact
    from intact.cli import main as command_line

    intact.load = lambda *_, **__: Speaker(SENTENCE * 20, delay=float(os.environ.get("SPEAKER_DELAY", "0")))
    command_line()


if __name__ == "__main__":
    main()
