"""Sessions of a proxy for the tests of cassettes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from intact.serve.cassette.httpx_patch import patched
from intact.serve.cassette.local import LocalModel
from intact.serve.cassette.recorder import CassetteRecorder, RecordPolicy, open_cassette
from intact.serve.cassette.redaction import Redaction
from intact.serve.cassette.running import RunningProxy, proxying
from intact.serve.cassette.upstream import read_upstreams

KEY = "sk-proj-0123456789abcdef"


@contextmanager
def session(
    file: Path, url: str = "", model: Path | None = None, *, patch: bool = False, **options: Any
) -> Iterator[tuple[RunningProxy, CassetteRecorder]]:
    """Run a proxy with a file, which is written at the end; without an address nothing can be reached."""
    given = {"mode": None, "missing": None, "repeats": False, "match_on": None} | options
    cassette, is_new = open_cassette(file, given["match_on"], given["mode"])
    policy = RecordPolicy.of(given["mode"], given["missing"], given["repeats"], is_new=is_new)
    recorder = CassetteRecorder(cassette, policy, given.get("redaction") or Redaction(), is_new=is_new)
    with ExitStack() as stack:
        local = None if model is None else LocalModel(str(model))
        proxy = stack.enter_context(proxying(recorder, read_upstreams([url]) if url else {}, local))
        if patch:
            stack.enter_context(patched(proxy))
        yield proxy, recorder
    recorder.save(file)


def run(file: Path, work: Callable[[str], Any], url: str = "", **options: Any) -> Any:
    """Do work with the address of a proxy; return its result."""
    with session(file, url, **options) as (proxy, _):
        return work(proxy.url)
