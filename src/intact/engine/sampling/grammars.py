"""llguidance's matchers, and a trial of one in a process of its own, so that a crash or explosion does no harm.

This file is also the program of that process, which runs it without the package, so it imports the standard library
alone at its top.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

LIMITS: Final[dict[str, Any]] = {
    "max_items_in_row": 500,  # the time of a step grows with their square or faster; an optional property takes 4
    "initial_lexer_fuel": 1_000_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 7_000,
    "max_lexer_states": 50_000,  # 1 to 2 kB each
    "max_grammar_size": 500_000,
}
"""llguidance's own limits on a constraint and on one step of it. They do not catch every explosion."""
SPACE: Final = r" |\r?\n[ \t]{0,40}"
"""Space between the parts of JSON: none, one, or a line break and indentation, so that no text is all space."""
SECONDS: Final = 0.8
"""Limit on the processor time of a trial."""
PATIENCE: Final = 20.0
"""Limit on its seconds, on a machine with other work."""
BYTES: Final = 128 << 20
"""Address space of a trial, some 45 MB of which the process takes for itself."""
STACK: Final = 1 << 20
"""Stack of a trial, smaller than that of any thread that compiles the same afterwards."""


def matcher(tokenizer: LLTokenizer, kind: str, text: str, limits: dict[str, Any]) -> LLMatcher:
    """Return a matcher at the beginning of a text; it may be in error.

    Raises
    ------
    ValueError
        If the text of a constraint is not even of its kind.
    """
    from llguidance import LLMatcher, LLParserLimits

    if kind == "json_schema":
        source = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": SPACE})
    else:
        source = LLMatcher.grammar_from_regex(text) if kind == "regex" else LLMatcher.grammar_from_lark(text)
    return LLMatcher(tokenizer, source, log_level=0, limits=LLParserLimits(**limits, verbose_errors=False))


class Complaint(NamedTuple):
    """The limit that a constraint exceeds. If not `lasting`, the machine may only have been busy."""

    text: str
    lasting: bool = True


def complaint(kind: str, text: str, limits: dict[str, Any]) -> Complaint | None:
    """Compile a constraint in a process with limits; return the limit that it exceeds, if any.

    A constraint that is merely invalid passes: finding that again costs nothing. The vocabulary of a trial is the
    bytes, as it is the constraint that explodes, not the vocabulary.
    """
    place = find_spec("llguidance")
    assert place is not None
    assert place.origin is not None
    command = [sys.executable, "-I", "-S", __file__, str(Path(place.origin).parents[1])]
    constraint = json.dumps([kind, text, limits]).encode()
    try:
        done = subprocess.run(command, input=constraint, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Complaint(f"it takes longer than {PATIENCE:g} s to compile", lasting=False)
    except OSError as error:
        return Complaint(f"no process can be started here to try it out ({error.strerror})", lasting=False)
    if done.returncode == 0:
        return None
    if -done.returncode in (signal.SIGPROF, signal.SIGXCPU):
        return Complaint(f"it takes more than {SECONDS:g} s of processor time to compile")
    if b"memory allocation" in done.stderr or b"MemoryError" in done.stderr:
        return Complaint(f"it takes more than {BYTES >> 20} MB to compile")
    if done.returncode < 0:
        return Complaint(f"it crashes the compiler ({signal.Signals(-done.returncode).name})")
    raise RuntimeError(f"the trial of a constraint failed: {done.stderr.decode('utf-8', 'replace')[-500:]}")


class _Bytes:
    """A vocabulary of all bytes and an end, with the attributes that llguidance's wrapper needs."""

    eos_token_id, bos_token_id = 256, None
    tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]
    special_token_ids: Final = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def _trial(kind: str, text: str, limits: dict[str, Any]) -> None:
    """Compile a constraint, and take some steps."""
    from llguidance import LLTokenizer, TokenizerWrapper

    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=257, eos_token=[256])
    try:
        made = matcher(tokenizer, kind, text, limits)
    except ValueError:
        return
    for _ in range(2):
        word = int.from_bytes(made.compute_bitmask(), "little")
        if made.is_error() or not word or not made.consume_token(word.bit_length() - 1):
            return


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))


def _main() -> None:
    """Try the constraint on the standard input, under limits that the kernel enforces."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_AS, BYTES)
    _lower(resource.RLIMIT_STACK, STACK)
    _lower(resource.RLIMIT_CPU, 2)  # should the timer be lost
    sys.path.append(sys.argv[1])
    import_module("llguidance")  # whose own time is not the constraint's
    kind, text, limits = json.load(sys.stdin.buffer)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _trial(kind, text, limits)
    os._exit(0)  # without freeing memory


if __name__ == "__main__":
    _main()
