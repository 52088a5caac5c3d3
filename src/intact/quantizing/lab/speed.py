"""Speed of quantised models in the int8 profile: models alternate in rounds; medians are given with their spread.

The figures belong to one machine on one day and are kept separate from reproducible ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from intact._base.errors import ParameterError
from intact.library import load
from intact.measure.bench.passage import Passage
from intact.measure.bench.speed import Measurement
from intact.measure.bench.workloads import Workload, prompt, samples, stream


def lab_workloads(context: int) -> tuple[Workload, ...]:
    """Return the workloads: a prompt of at most 512 tokens, one stream, and 64 samples of one prompt.

    Raises
    ------
    ParameterError
        If the context is too short for them.
    """
    found = prompt(min(512, context - 1)), stream(64, 64), samples(64, 64, 32)
    least = max(workload.positions for workload in found[1:])
    if context < least:
        raise ParameterError(f"measuring speed needs a context of at least {least} tokens, but the model has {context}")
    return found


def measure_speed(
    models: Mapping[str, Path],
    rounds: int = 3,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, whole: None,
) -> dict[str, list[Measurement]]:
    """Measure the tokens per second of each model, one value per round.

    Each round runs every workload on every model in turn, so that a slowdown of the machine affects all models equally.
    A warm-up round comes first.

    Raises
    ------
    ParameterError
        If there are no rounds, or the context of a model is too short.
    """
    if rounds < 1:
        raise ParameterError(f"rounds must be at least 1, got {rounds}")
    values: dict[tuple[str, Workload], list[float]] = {}
    with ExitStack() as stack:
        loaded = {name: stack.enter_context(load(path, threads=threads)) for name, path in models.items()}
        passages = {name: Passage(model.tokenizer) for name, model in loaded.items()}
        workloads = lab_workloads(min(model.context for model in loaded.values()))
        turns = [(workload, name) for workload in workloads for name in loaded]
        for count in range(rounds + 1):
            for done, (workload, name) in enumerate(turns):
                progress(f"speed: {workload.title}", count * len(turns) + done, (rounds + 1) * len(turns))
                for _, _, value in workload.run(loaded[name], passages[name]):
                    if count:
                        values.setdefault((name, workload), []).append(value)
    return {
        name: [Measurement(one.group, one.title, "", "tokens/s", values=tuple(values[name, one])) for one in workloads]
        for name in models
    }
