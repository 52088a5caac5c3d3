"""Runs made of numbers, for sections of reports: no model, no file."""

from functools import partial
from pathlib import Path

import pytest

from intact.evaluate.report import arms
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.results import EvaluationRun, ItemRecord, ItemSample
from intact.stats.laws.extrapolation import extrapolate

MANIFEST = {
    "models": [{"name": "made.gguf"}],
    "method": {"name": "self_consistency", "parameters": {"n": 2}},
    "budget": {},
    "seeds": [0],
    "tasks": [{"name": "made", "label": "made", "digests": {"items": "i", "prompts": "p", "grader": "g"}}],
    "caveats": [],
    "command": "intact eval made.gguf made",
}


@pytest.fixture
def few_resamples(monkeypatch):
    """Fit the laws of coverage to a tenth of the usual resamples: fits take most of the time of a report."""
    monkeypatch.setattr(arms, "extrapolate", partial(extrapolate, resamples=20))


def sample(problem, place, correct, **fields):
    """A whole text, an independent draw; its answer is the problem's right one or another."""
    about = {"answer": "right" if correct else f"wrong {place}", "tokens": 10, "logprob": -1.0, "why": "end"}
    return ItemSample(branch=f"{problem}/{place}", correct=bool(correct), **about | fields)


def arm(problems, name="made", independent=True, scores=(), traces=()):
    """A run whose problems have these samples: dictionaries of a sample's fields, `correct` among them."""
    records = []
    for number, own in enumerate(problems):
        samples = tuple(sample(f"p{number}", place, **fields) for place, fields in enumerate(own))
        first = samples[0]
        records.append(
            ItemRecord(
                task=0, seed=0, id=f"p{number}", right="right", answer=first.answer, correct=first.correct, chosen=0,
                confidence=None, why="done", error="", measures={}, cost={"tokens": 10, "operations": 10},
                samples=samples, independent=independent,
            )
        )  # fmt: skip
    run = EvaluationRun(MANIFEST, tuple(records), tuple(scores), tuple(traces))
    return ReportArm(name, Path(f"{name}.jsonl"), run, 0)
