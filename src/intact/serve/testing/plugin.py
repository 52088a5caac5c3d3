"""A pytest plugin: tests of agents against a model of their own with locked answers, or with a cassette.

``pytest --intact-lock FILE`` starts a server on a loopback address with one model, and sets the environment variables
that clients use to find it (`OPENAI_BASE_URL`, `OPENAI_API_KEY`, `ANTHROPIC_BASE_URL`, `ANTHROPIC_API_KEY`,
`OLLAMA_HOST`, `INTACT_URL`). Each test's requests and answers are compared with the file, which
``--intact-lock-update`` writes. A test whose answers differ fails, and reports where they diverge (docs/testing.md).
``pytest --intact-cassette FILE`` replays the answers of any endpoint instead (docs/cassettes.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intact._base.errors import IntactError
from intact._base.files import write_whole
from intact._base.packages import check_installed
from intact.serve import PACKAGES
from intact.serve.client_variables import client_variables
from intact.serve.exchange import Exchange
from intact.serve.testing.cassette_options import MARKER, OPTIONS, add_options
from intact.serve.testing.lock import FORMAT, VERSION, difference, read_lock
from intact.serve.testing.parts import ProcessParts
from intact.serve.testing.scopes import is_shared, test_name

if TYPE_CHECKING:
    from intact.serve.models import Models
    from intact.serve.testing.server import RequestRecorder


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("intact", "answers of language models that must not change")
    group.addoption(
        "--intact-lock", metavar="FILE", type=Path, help="Serve a model, and compare its answers with FILE."
    )
    group.addoption("--intact-lock-update", action="store_true", help="Write the answers to the file instead.")
    group.addoption(
        "--intact-model",
        metavar="MODEL",
        help="Model name or file: the lock's, or the one that answers for a cassette.",
    )
    group.addoption("--intact-any-name", action="store_true", help="Answer under any model name that a test sends.")
    add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    """Register the checks if a lock file is given, or the cassette."""
    config.addinivalue_line("markers", MARKER)
    path, update = config.getoption("--intact-lock"), config.getoption("--intact-lock-update")
    model, any_name = config.getoption("--intact-model"), config.getoption("--intact-any-name")
    cassette = config.getoption("--intact-cassette")
    if path is not None and cassette is not None:
        raise pytest.UsageError("--intact-lock and --intact-cassette exclude each other: give one of them")
    if path is None and (update or any_name or (model and cassette is None)):
        raise pytest.UsageError("--intact-lock-update, --intact-model and --intact-any-name need --intact-lock FILE")
    if cassette is None and (given := [name for name in OPTIONS if config.getoption(name)]):
        raise pytest.UsageError(f"{given[0]} needs --intact-cassette FILE")
    try:
        if cassette is not None:
            check_installed("a cassette", *PACKAGES, "httpx")
            from intact.serve.testing.cassettes import CassetteRun

            config.pluginmanager.register(CassetteRun(config), "intact-cassette-run")
        elif path is not None:
            lock, parts = read_lock(path, update), ProcessParts(config, "lock")
            run = LockedAnswers(path, lock, update, model, any_name=any_name, parts=parts)
            config.pluginmanager.register(run, "intact-lock-run")
    except IntactError as error:
        raise pytest.UsageError(str(error)) from error


class LockedAnswers:
    """The checks of a test session.

    Parameters
    ----------
    path : Path
        The lock file.
    lock : dict
        Its content (`read_lock`).
    update : bool
        If true, write the file instead of comparing.
    model : str, optional
        The model to serve; by default the lock's, or the catalogue's default.
    any_name : bool
        If true, the server answers under any model name that a test sends.
    parts : ProcessParts
        The answers of other processes.
    """

    def __init__(
        self, path: Path, lock: dict[str, Any], update: bool, model: str | None, *, any_name: bool, parts: ProcessParts
    ) -> None:
        self._path, self._lock, self._update = path.absolute(), lock, update  # tests may change the working folder
        self._model, self._any_name, self._parts = model or lock["model"], any_name, parts
        self._new: dict[str, list[dict[str, Any]]] = {}
        self._kept: list[tuple[str, bytes, bytes]] = []  # exchanges of the running test
        self._open, self._url = ExitStack(), ""
        self._recorder: RequestRecorder | None = None
        self._models: Models | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the server before tests are imported, since many create their client there."""
        config = session.config
        if config.getoption("collectonly"):
            return
        from intact.checkpoints.catalogue import DEFAULT
        from intact.serve.background import check_model, serving
        from intact.serve.testing.server import RequestRecorder

        self._model = self._model or DEFAULT
        try:
            path = check_model(self._model)
        except IntactError as error:
            pytest.exit(f"--intact-lock: {error}", pytest.ExitCode.USAGE_ERROR)
        if self._parts.is_controller:
            return  # the tests run in other processes, each with its own server

        def recorded(app: Any) -> RequestRecorder:
            self._recorder = RequestRecorder(app)
            return self._recorder

        self._url, self._models = self._open.enter_context(serving(path, self._any_name, recorded))
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        for name, value in client_variables(self._url, os.environ, keep_keys=False).items():
            patch.setenv(name, value)

    @pytest.fixture(scope="session")
    def intact_server(self) -> str:
        """The server's address, which clients also find in environment variables."""
        return self._url

    @property
    def _fingerprint(self) -> str:
        """Everything that answers depend on apart from requests; empty until the model is loaded."""
        return self._models.served["intact"].fingerprint if self._models else ""

    def _keep(self) -> None:
        if self._recorder is not None:
            self._kept += self._recorder.take()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Drop requests sent at the end of another test."""
        self._keep()
        self._kept = []

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Drop requests from a fixture shared by several tests: which test sets it up depends on the selection."""
        if not is_shared(fixturedef):
            return (yield)
        self._keep()
        kept, self._kept = self._kept, []
        try:
            return (yield)
        finally:
            self._keep()
            self._kept = kept

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Compare the answers of a test, unless it has already failed."""
        result = yield
        self._keep()
        names: dict[str, str] = {}
        found = [Exchange(*one, names).to_dict() for one in self._kept]
        name = test_name(item, self._path.parent)
        if self._update:
            self._new[name] = found
        elif problem := self._problem(name, found):
            advice = f"If that is meant: pytest --intact-lock {self._path} --intact-lock-update"
            pytest.fail(f"{problem}\n{advice}", pytrace=False)
        return result

    def _problem(self, test: str, found: list[dict[str, Any]]) -> str:
        locked = self._lock["tests"].get(test)
        problem = difference(locked, found)
        if problem and locked and found and self._fingerprint != self._lock["fingerprint"]:
            here, there = self._fingerprint, self._lock["fingerprint"]
            return f"another model, or another version of the arithmetic: {here} here, {there} in the lock\n{problem}"
        return problem

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the answers of a process of pytest-xdist that has ended."""
        self._parts.receive(node)

    def pytest_sessionfinish(self) -> None:
        """Stop the server. Write the lock file, if requested; tests that did not run keep their locked answers."""
        self._open.close()
        fingerprint = self._fingerprint
        if self._parts.is_worker:
            self._parts.hand_over({"tests": self._new, "fingerprint": fingerprint})
            return
        for part in self._parts.found:
            self._new |= part["tests"]
            fingerprint = fingerprint or part["fingerprint"]
        if not self._update or not self._new:
            return
        tests = {name: found for name, found in {**self._lock["tests"], **self._new}.items() if found}
        value = {"format": FORMAT, "version": VERSION, "tests": tests}
        value |= {"model": self._model, "fingerprint": fingerprint or self._lock["fingerprint"]}
        write_whole(self._path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
