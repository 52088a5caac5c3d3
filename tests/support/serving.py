"""A server on a loopback socket, in a thread of its own."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from intact.serve.app import create_app
from intact.serve.models import Loading, Models
from intact.serve.server import EndingServer, make_server
from intact.serve.service import Service
from intact.serve.settings import ServerSettings
from intact.serve.telemetry import Exporter
from support.patience import PATIENCE

httpx.get.__kwdefaults__["timeout"].read = PATIENCE  # of all such calls: others work here too


@dataclass
class Running:
    """A server that runs.

    Attributes
    ----------
    url : str
        Its address, without a path.
    connections : collection
        Those that are open.
    stop : callable
        Ask it to end.
    """

    url: str
    port: int
    service: Service
    connections: Collection[Any]
    stop: Callable[[], None]

    def settle(self, done: Any) -> None:
        """Wait for what the server's threads do."""
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, "it did not come to that"
            time.sleep(0.005)

    @contextmanager
    def held(self, name: str = "tiny") -> Iterator[None]:
        """Have the engine of a model that is loaded take no step before the block ends."""
        engine, may_step = self.service.models.served[name].loaded.engine, threading.Event()
        step = engine.step
        engine.step = lambda: may_step.wait(PATIENCE) and step()
        try:
            yield
        finally:
            del engine.step
            may_step.set()

    async def together(self, requests: Iterable[Coroutine[Any, Any, Any]], name: str = "tiny") -> list[Any]:
        """Send requests and return what they return; the engine begins once all are there, however slow the machine."""
        admission = self.service.models.served[name].admission
        with self.held(name):
            tasks = [asyncio.create_task(request) for request in requests]
            while admission.running + admission.waiting < len(tasks):
                await asyncio.sleep(0.002)
        return await asyncio.gather(*tasks)

    def idle(self, name: str = "tiny") -> bool:
        """Whether nothing is under way, and no page is held."""
        served = self.service.models.served[name]
        if served.model is None:
            return served.loading is None
        engine = served.model.engine
        return not engine.queue and engine.held == 0 and not served.users and not served.admission.running


@contextmanager
def running(
    paths: Mapping[str, Path],
    loading: Loading | None = None,
    tracing: Exporter | None = None,
    kind: type[EndingServer] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Run a server, of the class `kind` if given, until the block ends."""
    fixed = ServerSettings(port=0, **{"seeds": "fixed"} | settings)
    service = Service(
        fixed, Models({n: str(p) for n, p in paths.items()}, loading or Loading(threads=1), fixed), tracing
    )
    made = make_server(create_app(service), fixed, service.cut, kind)
    made.install_signal_handlers = lambda: None  # older uvicorn; newer ones see that this is no main thread
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()

    def stop() -> None:
        made.should_exit = True

    end = time.monotonic() + PATIENCE
    while not made.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.005)
    try:
        yield Running(f"http://127.0.0.1:{port}", port, service, made.server_state.connections, stop)
    finally:
        stop()
        thread.join(PATIENCE)
        listening.close()
        assert not thread.is_alive()
