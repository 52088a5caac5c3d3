"""A pytest plugin: tests of agents run against their own server, and every answer is compared with a lock file.

``pytest --intact-lock FILE`` starts a server on a loopback address with one model, and sets the variables with which
clients find it (`OPENAI_BASE_URL`, `OPENAI_API_KEY`, `ANTHROPIC_BASE_URL`, `ANTHROPIC_API_KEY`, `OLLAMA_HOST`,
`INTACT_URL`). The requests of a test and their answers are compared with the file, which ``--intact-lock-update``
writes. A test whose answers differ fails, and reports where they diverge (docs/testing.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intact._base.errors import IntactError, LockError
from intact._base.files import write_whole
from intact.serve.exchange import Exchange
from intact.serve.testing.lock import FORMAT, VERSION, difference, read_lock

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
    group.addoption("--intact-model", metavar="MODEL", help="Model name or file; by default the lock's.")
    group.addoption("--intact-any-name", action="store_true", help="Answer under any model name that a test sends.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the checks if a lock is given."""
    path, update = config.getoption("--intact-lock"), config.getoption("--intact-lock-update")
    model, any_name = config.getoption("--intact-model"), config.getoption("--intact-any-name")
    if path is None:
        if update or model or any_name:
            raise pytest.UsageError(
                "--intact-lock-update, --intact-model and --intact-any-name need --intact-lock FILE"
            )
        return
    if update and (hasattr(config, "workerinput") or config.getoption("numprocesses", None)):
        raise pytest.UsageError("--intact-lock-update cannot run in several processes: leave out -n")
    try:
        lock = read_lock(path, update)
    except LockError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(LockedAnswers(path, lock, update, model, any_name=any_name), "intact-lock-run")


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
    """

    def __init__(
        self, path: Path, lock: dict[str, Any], update: bool, model: str | None, *, any_name: bool = False
    ) -> None:
        self._path, self._lock, self._update = path.absolute(), lock, update  # tests may change the working folder
        self._model, self._any_name = model or lock["model"], any_name
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
        from intact.serve.testing.server import check, serving

        self._model = self._model or DEFAULT
        try:
            path = check(self._model)
        except IntactError as error:
            pytest.exit(f"--intact-lock: {error}", pytest.ExitCode.USAGE_ERROR)
        if config.getoption("numprocesses", None):
            return  # the tests run in other processes, each with its own server
        self._url, self._recorder, self._models = self._open.enter_context(serving(path, self._any_name))
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("OPENAI_BASE_URL", f"{self._url}/v1")
        for name in ("ANTHROPIC_BASE_URL", "OLLAMA_HOST", "INTACT_URL"):
            patch.setenv(name, self._url)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            patch.setenv(name, "none")

    @pytest.fixture(scope="session")
    def intact_server(self) -> str:
        """The server's address, which clients also find in environment variables."""
        return self._url

    @property
    def _fingerprint(self) -> str:
        """Everything that answers depend on besides requests; empty until the model is loaded."""
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
        """Drop requests of a fixture shared by several tests: which test sets it up depends on the selection."""
        if fixturedef.scope == "function":
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
        name = self._name(item)
        if self._update:
            self._new[name] = found
        elif problem := self._problem(name, found):
            advice = f"If that is meant: pytest --intact-lock {self._path} --intact-lock-update"
            pytest.fail(f"{problem}\n{advice}", pytrace=False)
        return result

    def _name(self, item: pytest.Item) -> str:
        """Return a test's name with its path relative to the lock; pytest's own name depends on its root folder."""
        file = os.path.relpath(item.path, self._path.parent)
        return f"{Path(file).as_posix()}::{item.nodeid.partition('::')[2]}"

    def _problem(self, test: str, found: list[dict[str, Any]]) -> str:
        locked = self._lock["tests"].get(test)
        problem = difference(locked, found)
        if problem and locked and found and self._fingerprint != self._lock["fingerprint"]:
            here, there = self._fingerprint, self._lock["fingerprint"]
            return f"another model, or another version of the arithmetic: {here} here, {there} in the lock\n{problem}"
        return problem

    def pytest_sessionfinish(self) -> None:
        """Stop the server. Write the lock, if requested; tests that did not run keep their locked answers."""
        self._open.close()
        if not self._update or not self._new:
            return
        tests = {name: found for name, found in {**self._lock["tests"], **self._new}.items() if found}
        value = {"format": FORMAT, "version": VERSION, "tests": tests}
        value |= {"model": self._model, "fingerprint": self._fingerprint or self._lock["fingerprint"]}
        write_whole(self._path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
