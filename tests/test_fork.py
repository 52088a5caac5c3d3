"""A model in a process that was forked, where no thread is but one."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.library import Model
from support.child import in_child
from support.patience import PATIENCE
from support.tiny import write_tiny

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


@pytest.fixture(params=[1, 3])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Model:
    return intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=request.param)


def test_a_child_goes_on_with_threads_of_its_own(model: Model) -> None:
    def texts() -> list[str]:
        return [sample.text for sample in model.generate("abc", 3, max_tokens=12)[0]]

    async def ask() -> list[str]:
        return [sample.text for sample in (await model.agenerate("abc", 3, max_tokens=12))[0]]

    expected = texts()
    assert asyncio.run(ask()) == expected  # by the thread in the background, which the child lacks
    assert in_child(lambda: texts() == expected)
    assert in_child(lambda: asyncio.run(ask()) == expected)
    assert in_child(lambda: in_child(lambda: texts() == expected) and texts() == expected)
    assert texts() == expected


@pytest.mark.parametrize("method", ["step", "step_float"])
def test_a_child_of_a_model_at_work_is_told_so(model: Model, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    inside, go, step = threading.Event(), threading.Event(), getattr(model.executor, method)

    def held(*parts: Any) -> Any:
        inside.set()
        assert go.wait(PATIENCE)
        return step(*parts)

    monkeypatch.setattr(model.executor, method, held)

    def refused() -> bool:
        async def ask() -> None:
            await model.agenerate("abc", max_tokens=2)

        for use in (lambda: model.generate("abc", max_tokens=2), lambda: asyncio.run(ask())):
            with pytest.raises(
                RuntimeError, match="forked while the model was running a step: load the model in this process"
            ):
                use()
        return True

    work = {"step": lambda: model.generate("abc", max_tokens=2), "step_float": lambda: model.logits("abc")}
    thread = threading.Thread(target=work[method])
    thread.start()
    inside.wait(PATIENCE)
    try:
        assert in_child(refused)
    finally:
        go.set()
        thread.join(PATIENCE)
    assert model.generate("abc", max_tokens=2)


def test_a_child_ends_a_stream_that_a_collector_has_just_closed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is posted to a thread that the child lacks, and that comes late here."""
    expected = model.generate("abc", max_tokens=4)[0][0].text
    driver, come = model._driver, threading.Event()
    work = driver._work
    monkeypatch.setattr(driver, "_work", lambda: come.wait(PATIENCE) and work())
    cycle: list[Any] = [model.stream("some text", max_tokens=100, ignore_eos=True)]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    with model.exclusive():
        gc.collect()
    assert len(model.engine.queue) == 1

    def goes_on() -> bool:
        assert model.generate("abc", max_tokens=4)[0][0].text == expected
        return not model.engine.queue and not model.engine.held

    assert in_child(goes_on)
    come.set()
    end = time.monotonic() + PATIENCE
    while model.engine.queue:
        assert time.monotonic() < end
        time.sleep(0.002)
    assert goes_on()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_child_that_may_start_no_threads_is_told_so_and_goes_on_once_it_may(tmp_path: Path) -> None:
    import resource

    model = intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=3)
    expected = model.generate("abc", max_tokens=4)[0][0].text

    def refused_and_then_served() -> bool:
        _, most = resource.getrlimit(resource.RLIMIT_NPROC)
        os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, most))
        for _ in range(2):
            with pytest.raises(ValueError, match="cannot start 3 threads"):
                model.generate("abc", max_tokens=4)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        return model.generate("abc", max_tokens=4)[0][0].text == expected

    assert in_child(refused_and_then_served)
    assert model.generate("abc", max_tokens=4)[0][0].text == expected
