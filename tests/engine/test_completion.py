"""Texts of jobs that other programs than our engine write, as the back end for Transformers does."""

from __future__ import annotations

from pathlib import Path

import intact
from intact.engine.completion import Job
from intact.engine.request import Event
from intact.engine.sampling.parameters import SamplingParameters
from support.tiny import write_tiny


def test_a_text_that_no_engine_has_queued_ends_at_its_limit(tmp_path: Path) -> None:
    with intact.load(write_tiny(tmp_path / "llama.gguf", "llama", context=64), threads=1) as model:
        for limit, room, finish in ((3, 60, "length"), (60, 3, "context")):
            parameters, prompt = SamplingParameters(max_tokens=limit, ignore_eos=True), [5] * (64 - room)
            job = Job(model.tokenizer, parameters, prompt, keys=[0], context=64, vocabulary=model.tokenizer.size)
            ends = [job.request.sink(Event(0, 60, -1, len(prompt) + place)) for place in range(3)]
            assert ends == [None, None, finish]
