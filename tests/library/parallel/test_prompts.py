"""Phases split: prompts that another process computes give the same texts and receipts, and only time if it fails."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from threading import Event, Thread, Timer
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import intact
from intact._base.errors import IntactError, ModelError, ParameterError, WorkerError
from intact.engine.page_store import page_head, page_key
from intact.engine.remote_prompts import PageBox
from intact.executors.base import Executor
from intact.library import Model
from intact.library.parallel import start
from intact.library.parallel.channel import Channel, FrameKind
from intact.library.parallel.prompts import PromptClient, serve_prompts
from intact.library.parallel.shard import listen_at, serve_shard
from intact.models.aspects.step import SequenceChunk
from support.child import in_child
from support.models import real_model
from support.namespaces import wait_until
from support.patience import PATIENCE
from support.tiny import write_tiny

LONG = "one two three " * 20
PROMPTS = [LONG, LONG + "four", "a", "and another one " * 9]
SLOW = pytest.mark.slow


def texts(model: Model, prompts: Sequence[str] = PROMPTS) -> list[tuple[str, bytes]]:
    """Texts and receipts: several of a prompt, prompts that begin alike, and one again."""
    found = model.generate(prompts, n=2, max_tokens=8, temperature=1.0, seed=5, receipt=True, ignore_eos=True)
    found += model.generate(prompts[:1], max_tokens=8, receipt=True, ignore_eos=True)
    return [(one.text, one.receipt.encode()) for several in found for one in several if one.receipt is not None]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("prompts") / "m.gguf", "qwen3")


@pytest.fixture(scope="module")
def whole(path: Path) -> list[tuple[str, bytes]]:
    with intact.load(path, threads=2) as model:
        return texts(model)


@pytest.fixture(scope="module")
def address(path: Path) -> str:
    """Of a shard in a thread of this process."""
    listener = listen_at(("127.0.0.1", 0))
    address = listener.getsockname()
    Thread(target=serve_shard, args=(listener, path), daemon=True).start()
    return f"{address[0]}:{address[1]}"


def prompt_tokens(model: Model) -> int:
    """The tokens of the prompts that lie in full pages, each prefix once."""
    size, pages = model.executor.page_size, set()
    for prompt in PROMPTS:
        tokens = model.tokenizer.encode(prompt)
        pages |= {tuple(tokens[:end]) for end in range(size, len(tokens), size)}
    return len(pages) * size


@pytest.mark.parametrize("where", ["local", "shard"])
def test_texts_and_receipts_are_those_of_one_process(
    where: str, path: Path, whole: list[tuple[str, bytes]], address: str
) -> None:
    with intact.load(path, threads=1, prefill=address if where == "shard" else where) as model:
        assert texts(model) == whole
        lengths = sum(len(model.tokenizer.encode(prompt)) for prompt in PROMPTS)
        counts, fetched = model.engine.counters, prompt_tokens(model)
        assert fetched > 0
        assert model.engine.stores[0].counts.read * model.executor.page_size == fetched
        assert counts.prefilled <= lengths - fetched + 1  # the greedy one's last token


@pytest.mark.parametrize(
    "options",
    [
        {"chunk": 5, "rows": 7},
        pytest.param({"page_size": 16, "drafter": "lookup"}, marks=SLOW),
        {"cache_bytes": 100_000},
        pytest.param({"kv": "int8"}, marks=SLOW),
    ],
)
def test_batches_pages_and_caps_do_not_matter(options: dict[str, Any], path: Path) -> None:
    with intact.load(path, threads=1, **options) as model:
        expected = texts(model)
    with intact.load(path, threads=1, prefill="local", **options) as model:
        assert texts(model) == expected
        assert model.engine.stores[0].counts.read > 0


@pytest.mark.parametrize(
    ("architecture", "page_size"), [("mamba", 32), ("mamba2", 64), ("mamba3", 64), ("lfm2", 32), ("deepseek2", 32)]
)
def test_pages_of_all_kinds_of_layers_travel(architecture: str, page_size: int, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture)
    with intact.load(path, page_size=page_size) as model:
        expected = texts(model)
    with intact.load(path, page_size=page_size, prefill="local") as model:
        assert texts(model) == expected
        assert model.engine.stores[0].counts.read > 0


@pytest.mark.parametrize(("profile", "executor"), [("fp32", "native"), ("int8", "reference")])
def test_profiles_and_the_reference(profile: str, executor: Any, path: Path) -> None:
    prompts = ["one two three four five six seven eight nine ten eleven twelve"]
    with intact.load(path, profile, executor=executor, page_size=16) as model:
        expected = texts(model, prompts)
    with intact.load(path, profile, executor=executor, page_size=16, prefill="local") as model:
        assert texts(model, prompts) == expected
        assert model.engine.stores[0].counts.read > 0


def test_coroutines_get_the_same_texts(path: Path, whole: list[tuple[str, bytes]], address: str) -> None:
    async def run(model: Model) -> list[str]:
        options: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "seed": 5, "ignore_eos": True}
        found = await asyncio.gather(*(model.agenerate(prompt, n=2, **options) for prompt in PROMPTS))
        return [one.text for several in found for one in several[0]]

    with intact.load(path, prefill=address) as model:
        assert asyncio.run(run(model)) == [text for text, _ in whole[:-1]]
        assert model.engine.stores[0].counts.read > 0


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the processes that compute prompts, as they are started."""
    found: list[str] = []
    begin = start.start_prompts

    def started(*arguments: Any, **options: Any) -> PromptClient:
        client = begin(*arguments, **options)
        found.append(client.channel.name)
        return client

    monkeypatch.setattr(start, "start_prompts", started)
    return found


def kill(name: str) -> None:
    os.kill(int(name.rstrip(")").rpartition(" ")[2]), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_prompts_of_a_process_that_died_are_computed_here(
    path: Path, whole: list[tuple[str, bytes]], names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with intact.load(path, prefill="local") as model:
        (name,) = names
        kill(name)
        with caplog.at_level(logging.WARNING, "intact"):
            assert texts(model) == whole
        said = [record.getMessage() for record in caplog.records]
        assert said == [f"prompts are computed here from now on: {name} has ended: signal 9; load the model again"]


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_texts_are_right_whenever_the_process_of_prompts_dies(
    seed: int, path: Path, whole: list[tuple[str, bytes]], names: list[str]
) -> None:
    with intact.load(path, prefill="local") as model:
        timer = Timer(Random(seed).uniform(0, 0.5), kill, names)
        timer.start()
        assert texts(model) == whole
        timer.join()
        assert texts(model) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_is_forked_computes_its_prompts(path: Path, whole: list[tuple[str, bytes]]) -> None:
    with intact.load(path, prefill="local") as model:

        def same() -> bool:
            found = texts(model)
            model.close()
            return found == whole

        assert in_child(same)
        assert texts(model) == whole
        assert model.engine.stores[0].counts.read > 0


class Stuck:
    """A process that never sends a page."""

    def __init__(self) -> None:
        self.box, self.asked, self.ended = PageBox(b"", 1, 1 << 40), Event(), Event()

    def fetch(self, tokens: NDArray[np.int32], keys: Sequence[bytes], first: int) -> None:
        self.asked.set()
        self.ended.wait(PATIENCE)
        raise WorkerError("it has ended")

    def close(self) -> None:
        self.ended.set()


@pytest.fixture
def stuck(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Model, Stuck]]:
    source = Stuck()
    monkeypatch.setattr(start, "start_prompts", lambda *_, **__: source)
    with intact.load(path, prefill="local") as model:
        yield model, source
        source.close()


def test_other_requests_go_on_while_pages_are_awaited(
    stuck: tuple[Model, Stuck], whole: list[tuple[str, bytes]]
) -> None:
    model, source = stuck
    found: list[Any] = []
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "seed": 5, "ignore_eos": True}
    waiting = Thread(target=lambda: found.append(model.generate(LONG, n=2, **options)))
    waiting.start()
    assert source.asked.wait(PATIENCE)
    assert model.generate("a", max_tokens=4)[0][0].text
    assert not found
    source.close()
    waiting.join(PATIENCE)
    assert [one.text for one in found[0][0]] == [text for text, _ in whole[:2]]


def test_a_request_that_waits_is_cancelled(stuck: tuple[Model, Stuck]) -> None:
    model, source = stuck

    async def run() -> None:
        task = asyncio.create_task(model.agenerate(LONG, max_tokens=8))
        await asyncio.to_thread(source.asked.wait, PATIENCE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(run())
    with model.exclusive() as engine:
        assert len(engine.queue) == 0
    source.close()
    assert model.generate("a", max_tokens=2)[0][0].text
    with model.exclusive() as engine:
        assert len(engine.queue) == 0


def test_closing_the_model_ends_a_request_that_waits(
    stuck: tuple[Model, Stuck], whole: list[tuple[str, bytes]]
) -> None:
    """By an error; or by its answer, if this process computed the prompt itself before it came to the end."""
    model, source = stuck
    ended: list[object] = []
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "seed": 5, "ignore_eos": True}

    async def run() -> None:
        try:
            ended.append((await model.agenerate(LONG, **options))[0][0].text)
        except IntactError as error:
            ended.append(type(error))

    waiting = Thread(target=lambda: asyncio.run(run()))
    waiting.start()
    assert source.asked.wait(PATIENCE)
    model.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert ended in ([ModelError], [whole[0][0]])


PAGE, ROOT = np.arange(64, dtype=np.uint8), b"r" * 32
KEY = page_key(ROOT, b"tokens")


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(
    "data",
    [
        *(flipped(page_head(KEY, PAGE) + PAGE.tobytes(), bit) for bit in (0, 8 * 12, 8 * 50, 8 * 76, 8 * 139 + 7)),
        (page_head(KEY, PAGE) + PAGE.tobytes())[:-1],
        page_head(ROOT, PAGE) + PAGE.tobytes(),
        b"",
    ],
)
def test_damaged_pages_and_those_of_other_texts_are_refused(data: bytes) -> None:
    one, two = socket.socketpair()
    peer, client = Channel(one, "peer"), PromptClient(Channel(two, "rank 1"), PageBox(ROOT, 64, 640), 64, two.close)
    peer.send(FrameKind.PAGE, data)
    with pytest.raises(WorkerError, match="rank 1 sent a page that is damaged or belongs to another text"):
        client.fetch(np.arange(3, dtype=np.int32), [KEY], 0)
    assert not list(client.box.read([KEY]))
    peer.close()
    client.close()


class Held:
    """An executor that begins no step from a position on before it may, and may fail there."""

    def __init__(self, executor: Executor, position: int, fails: bool) -> None:
        self._executor, self._position, self._fails, self.may = executor, position, fails, Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        if chunks[0].position >= self._position:
            assert self.may.wait(PATIENCE)
            if self._fails:
                raise SystemExit
        return self._executor.step(chunks, wanted)


@pytest.mark.parametrize("fails", [False, True])
def test_pages_come_while_the_prompt_is_computed(fails: bool, path: Path) -> None:
    """Those of the first step come before the second begins, and stay here if the process dies in it."""
    one, two = socket.socketpair()
    with intact.load(path, page_size=16) as model:
        text = np.array([3 + i % 90 for i in range(81)], np.int32)
        executor = Held(model.executor, 48, fails)
        box = PageBox(ROOT, model.executor.page_bytes, 1 << 30)
        keys, key = [], ROOT
        for start in range(0, 80, 16):
            key = page_key(key, text[start : start + 16].tobytes())
            keys.append(key)

        def serve() -> None:
            channel = Channel(one, "rank 0")
            with suppress(WorkerError, SystemExit):
                serve_prompts(channel, executor, model.context, ROOT, chunk=48)  # type: ignore[arg-type]
            channel.close()

        client = PromptClient(Channel(two, "rank 1"), box, model.executor.page_bytes, two.close)
        errors: list[WorkerError] = []

        def fetch() -> None:
            try:
                client.fetch(text, keys, 1)
            except WorkerError as error:
                errors.append(error)

        threads = [Thread(target=serve), Thread(target=fetch)]
        for thread in threads:
            thread.start()
        wait_until(lambda: box.held(keys[1:]) == 2, "the pages of the first step", 60)
        executor.may.set()
        threads[1].join(PATIENCE)
        assert box.held(keys[1:]) == (2 if fails else 4)
        assert box.held(keys[:1]) == 0  # it was not wanted
        assert bool(errors) == fails
        client.close()
        threads[0].join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)


def test_the_box_keeps_the_latest_pages_within_its_limit() -> None:
    box = PageBox(ROOT, 64, 3 * 64 + 63)
    keys = [bytes([i]) * 32 for i in range(4)]
    for i, key in enumerate(keys[:3]):
        box.put(key, np.full(64, i, np.uint8))
    assert next(box.read(keys[:1]))[0] == 0  # used again
    box.put(keys[3], np.full(64, 3, np.uint8))
    assert [box.held([key]) for key in keys] == [1, 0, 1, 1]
    assert (box.counts.removed, box.counts.read) == (1, 1)
    assert [int(page[0]) for page in box.read([keys[2], keys[3], keys[1], keys[0]])] == [2, 3]


def test_another_model_is_refused(path: Path, address: str, tmp_path: Path) -> None:
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    copy = tmp_path / "m.gguf"
    copy.write_bytes(other)
    with pytest.raises(WorkerError, match=r"the digest of m\.gguf is \w{64} here but \w{64} at rank 0"):
        intact.load(copy, prefill=address)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"prefill": "somewhere"}, "prefill must be HOST:PORT"),
        ({"prefill": 2}, "prefill must be HOST:PORT of an intact shard, or local"),
        ({"prefill": "local", "tensor_parallel": 2}, "prefill and tensor_parallel cannot be combined"),
        ({"prefill": "local", "prefix_cache": False}, "prefill needs the cache in memory"),
        ({"prefill": "local", "prefix_cache": "somewhere"}, "prefill needs the cache in memory"),
        ({"prefill": "local", "partners": ["somewhere"]}, "prefill computes the prompts of a single model"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(options: dict[str, Any], what: str, path: Path) -> None:
    with pytest.raises(ParameterError, match=what):
        intact.load(path, **options)


def test_an_address_that_does_not_answer_is_named(path: Path) -> None:
    with pytest.raises(WorkerError, match=r"rank 1 \(127.0.0.1:1\) does not answer"):
        intact.load(path, prefill="127.0.0.1:1")


@pytest.mark.slow
def test_smollm2() -> None:
    name = real_model("smollm2-135m")
    with intact.load(name) as model:
        expected = texts(model)
    with intact.load(name, prefill="local") as model:
        assert texts(model) == expected
        assert model.engine.stores[0].counts.read > 0
