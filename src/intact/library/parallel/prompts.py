"""Disaggregated prefill: one process computes prompts and sends the pages of its cache to another, which generates.

Each page travels with its key, which is determined by the model and all tokens up to the page's end, and with a digest
of key and bytes; both are checked on arrival (Splitwise: Patel et al., arXiv 2311.18677; here the bits do not depend on
where a page was computed). A page is sent as soon as its positions have been computed, while later positions are still
being computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError, WorkerError
from intact._base.memory import usable
from intact.engine.engine import DEFAULT_ROWS, Engine
from intact.engine.head_job import HeadJob
from intact.engine.page_store import HEAD, StoreCounts, page_head
from intact.engine.remote_prompts import PageBox
from intact.executors.base import Executor
from intact.library.parallel.channel import Channel, FrameKind

_MOST_WAITING: Final = 64
"""Limit on pages waiting to be sent; computation of the prompt waits for them if the network is slower than the model.
"""


class PromptClient:
    """A `PageSource`: the connection to a process that computes prompts.

    Parameters
    ----------
    box : PageBox
        Destination of the received pages.
    end : function
        Ends the process.
    """

    def __init__(self, channel: Channel, box: PageBox, page_bytes: int, end: Callable[[], None]) -> None:
        self.box, self.channel, self._page_bytes, self._end = box, channel, page_bytes, end

    def fetch(self, tokens: NDArray[np.int32], keys: Sequence[bytes], first: int) -> None:
        """Request the full pages of a sequence, starting at page `first`, and put them into the box.

        Raises
        ------
        WorkerError
            If the process is gone, or a page is damaged or not the requested one.
        """
        self.channel.send(FrameKind.PROMPT, np.ascontiguousarray(tokens, "<i4").view(np.uint8).data, place=first)
        most = HEAD + self._page_bytes
        for key in keys[first:]:
            frame = self.channel.receive(FrameKind.PAGE, FrameKind.DONE, most=most)
            if frame.kind == FrameKind.DONE:  # the process has no room for these pages
                return
            data = np.frombuffer(frame.data, np.uint8)
            page = data[HEAD:]
            if len(page) != self._page_bytes or data[:HEAD].tobytes() != page_head(key, page):
                raise WorkerError(f"{self.channel.name} sent a page that is damaged or belongs to another text")
            self.box.put(key, page)
        self.channel.receive(FrameKind.DONE)

    def close(self) -> None:
        """End the connection, and any wait for it in another thread."""
        self._end()


class _Sender:
    """The `Pages` of a prefill process: sends the pages that an engine offers to the process that requested them.

    A separate thread sends them, so that the engine keeps running. `first` is the number of the first requested page
    that has not been offered yet.
    """

    def __init__(self, channel: Channel, root: bytes) -> None:
        self.root, self.counts, self.first = root, StoreCounts(), 0
        self._channel, self._thread = channel, ThreadPoolExecutor(1, "intact-pages")
        self._sending: deque[Future[None]] = deque()

    def read(self, keys: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        """Yield nothing: there are no pages to load."""
        return iter(())

    def keep(self, pages: Sequence[tuple[bytes, int]], read: Callable[[int], NDArray[np.uint8]]) -> None:
        """Start sending those pages of a prompt, or of its beginning, that were requested and have not been sent."""
        for key, number in pages[self.first :]:
            self.wait(_MOST_WAITING)
            self._sending.append(self._thread.submit(self._send, key, read(number)))
            self.counts.written += 1
        self.first = max(self.first, len(pages))

    def _send(self, key: bytes, page: NDArray[np.uint8]) -> None:
        self._channel.send(FrameKind.PAGE, page_head(key, page) + page.tobytes())

    def wait(self, most: int = 0) -> None:
        """Wait until at most `most` pages are unsent.

        Raises
        ------
        WorkerError
            If a page could not be sent.
        """
        while len(self._sending) > most:
            self._sending.popleft().result()

    def close(self) -> None:
        """Shut down the thread and wait for it."""
        self._thread.shutdown(cancel_futures=True)


def serve_prompts(
    channel: Channel, executor: Executor, context: int, root: bytes, *, chunk: int = DEFAULT_ROWS
) -> None:
    """Compute the prompts that rank 0 sends until it disconnects, which raises a WorkerError.

    Pages that a step has completed are sent during the next step.

    Parameters
    ----------
    context : int
        Maximum number of positions in a prompt.
    root : bytes
        Key of the empty sequence.
    chunk : int
        Maximum number of rows in a step.
    """
    memory, sender = usable(), _Sender(channel, root)
    engine = Engine(executor, context, chunk=chunk, cache_bytes=memory and memory // 4, stores=[sender])
    try:
        _serve(channel, engine, sender, context)
    finally:
        sender.close()


def _serve(channel: Channel, engine: Engine, sender: _Sender, context: int) -> None:
    while True:
        frame = channel.receive(FrameKind.PROMPT, most=4 * context, patient=True)
        if len(frame.data) % 4:
            raise ParameterError("a prompt must be a list of int32 values")
        tokens = np.frombuffer(frame.data, "<i4")
        with suppress(CapacityError):
            engine.check(tokens)
            sender.first = frame.place
            job = HeadJob(tokens.tolist())
            job.request.adapter = -1
            engine.add(job.request)
            while not job.done:
                engine.step()
                engine.save_pages(job.request)
            job.result()
        sender.wait()
        channel.send(FrameKind.DONE)
