"""``pytest --intact-cassette FILE``: tests whose requests to language models are recorded once, and replayed."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import IntactError
from intact.serve.cassette.entry import CassetteEntry
from intact.serve.cassette.local import LocalModel
from intact.serve.cassette.matching import check_matchers
from intact.serve.cassette.recorder import CassetteRecorder, RecordPolicy, RequestCounts, open_cassette
from intact.serve.cassette.redaction import Redaction
from intact.serve.cassette.upstream import read_upstreams
from intact.serve.client_variables import client_variables
from intact.serve.testing.parts import ProcessParts
from intact.serve.testing.scopes import is_shared, test_name

_SETTINGS = ("record_mode", "missing", "allow_playback_repeats")


@dataclass(frozen=True)
class CassetteUse:
    """The part of a test in a cassette, for assertions; names as in VCR.

    Attributes
    ----------
    counts : RequestCounts
        RequestCounts of the session.
    before : RequestCounts
        RequestCounts when the test began.
    """

    counts: RequestCounts
    before: RequestCounts

    @property
    def play_count(self) -> int:
        """Number of requests that recordings answered in this test."""
        return self.counts.replayed - self.before.replayed

    @property
    def record_count(self) -> int:
        """Number of requests whose new answers were recorded in this test."""
        return self.counts.recorded + self.counts.local - self.before.recorded - self.before.local


class CassetteRun:
    """The cassette of a test session.

    Raises
    ------
    IntactError
        If the file, an option or the model is unusable.
    """

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self._path: Path = option("--intact-cassette").absolute()  # tests may change the working folder
        self._parts = ProcessParts(config, "cassette")
        mode, missing = option("--intact-record-mode"), option("--intact-missing")
        self._given, names = (mode, missing), option("--intact-match-on")
        cassette, is_new = open_cassette(self._path, check_matchers(names) if names else None, mode)
        self._policy = RecordPolicy.of(mode, missing, False, is_new=is_new)
        self._upstreams = read_upstreams(option("--intact-upstream"))
        model = option("--intact-model")
        if self._policy.missing == "answer" and model is None:
            raise IntactError("--intact-missing answer needs --intact-model MODEL, which answers")
        self._local = LocalModel(model) if model is not None and not self._parts.is_controller else None
        self._model = Path(model).name if model else ""
        redaction = Redaction(option("--intact-redact-field"), option("--intact-redact"))
        self._recorder = CassetteRecorder(cassette, self._policy, redaction, is_new=is_new)
        self._recorder.scope, self._open, self._problem = "", ExitStack(), ""

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the proxy before tests are imported, since many create their client there."""
        if session.config.getoption("collectonly") or self._parts.is_controller:
            return
        from intact.serve.cassette.httpx_patch import patched
        from intact.serve.cassette.running import proxying

        proxy = self._open.enter_context(proxying(self._recorder, self._upstreams, self._local))
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        for name, value in client_variables(proxy.url, os.environ, keep_keys=self._policy.missing == "ask").items():
            patch.setenv(name, value)
        self._open.enter_context(patched(proxy))

    @pytest.fixture
    def intact_cassette(self) -> CassetteUse:
        """The numbers of requests of this test that were replayed and recorded."""
        return CassetteUse(self._recorder.counts, replace(self._recorder.counts))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Validate the markers before a test runs."""
        for item in items:
            self._settings(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Record the requests of a test under its name, with the settings of its marker."""
        self._recorder.policy = self._settings(item)
        try:
            return (yield)
        finally:
            self._recorder.scope, self._recorder.policy = "", self._policy

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Start a test, or start it again: plugins may rerun failed ones."""
        self._recorder.begin(test_name(item, self._path.parent))

    def _settings(self, item: pytest.Item) -> RecordPolicy:
        marker = item.get_closest_marker("intact_cassette")
        given = dict(marker.kwargs) if marker else {}
        if unknown := given.keys() - set(_SETTINGS):
            raise pytest.UsageError(
                f"{item.nodeid}: the marker intact_cassette takes {', '.join(_SETTINGS)}, not {min(unknown)}"
            )
        mode, missing = given.get("record_mode", self._given[0]), given.get("missing", self._given[1])
        repeats = bool(given.get("allow_playback_repeats"))
        try:
            policy = RecordPolicy.of(mode, missing, repeats, is_new=self._recorder.is_new)
        except IntactError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from error
        if policy.missing == "answer" and self._local is None:
            raise pytest.UsageError(f"{item.nodeid}: missing='answer' needs --intact-model MODEL, which answers")
        return policy

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Record the requests of a shared fixture under no test."""
        if not is_shared(fixturedef):
            return (yield)
        scope, self._recorder.scope = self._recorder.scope, ""
        try:
            return (yield)
        finally:
            self._recorder.scope = scope

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the part of a process of pytest-xdist that has ended."""
        self._parts.receive(node)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Stop the proxy, and write the file, or hand over what this process recorded."""
        self._open.close()
        try:
            self._finish()
        except (IntactError, OSError) as error:
            self._problem, session.exitstatus = str(error), pytest.ExitCode.INTERNAL_ERROR

    def _finish(self) -> None:
        recorder = self._recorder
        if self._parts.is_worker:
            new = [entry.to_document() for entry in recorder.new]
            self._parts.hand_over({"entries": new, "again": sorted(recorder.again), "counts": vars(recorder.counts)})
        elif self._parts.is_controller:
            for part in self._parts.found:
                recorder.counts.add(part["counts"])
                recorder.again |= set(part["again"])
            entries = [list(_entries(part["entries"])) for part in self._parts.found]
            if any(entries):
                recorder.cassette.merged(entries, recorder.again).write(self._path)
        else:
            recorder.save(self._path)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Report what answered the requests."""
        terminalreporter.write_sep("-", f"cassette {self._path.name}")
        terminalreporter.write_line(self._recorder.counts.text(self._model))
        if self._problem:
            terminalreporter.write_line(f"not written: {self._problem}", red=True)


def _entries(documents: list[Any]) -> Iterator[CassetteEntry]:
    for index, document in enumerate(documents):
        yield CassetteEntry.from_document(document, f"entries[{index}]")
