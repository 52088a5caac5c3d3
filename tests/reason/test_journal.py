"""What survives: a run that is killed at any instant goes on from its journal, to the same bits."""

from __future__ import annotations

import functools
import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import JournalError, SandboxError
from intact.engine.sampling.spread import Spread
from intact.reason import Answer, CallMethod, Problem, RunProgram, State, Steps, find, method
from intact.reason.backends.base import Generation
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal, key_of, seen
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Hidden, Piece, Why
from intact.reason.requests import Extend
from intact.reason.testing.toy import WEIGHTS, MarkovBackend
from intact.tools.sandbox import protection
from support.journals import finished, unfinished
from support.programs import comparable, problems, solve, tasks_of

KILLS = 50


class Doomed(MarkovBackend):
    """Kills its process a moment after a step, wherever that is then: in a method, a step, or a commit."""

    def __init__(self, timing: int, last: float, moment: float) -> None:
        super().__init__(timing=timing)
        self.steps, self.last, self.moment = 0, last, moment

    def step(self) -> list[Generation]:
        self.steps += 1
        if self.steps >= self.last and self.moment >= 0:
            threading.Timer(self.moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
            self.moment = -1
        return super().step()


class Letters:
    digest = "1"

    def __init__(self, name: str = "letters") -> None:
        self.name = name

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [1 / (2 + len(state.text)) for state in states]


def tasks(count: int = 3) -> list[MethodJob]:
    which = problems(count)
    other = [
        MethodJob(find(name), Problem(f"{name} {problem.id}", problem.prompt), parameters)  # who share no samples
        for problem in which
        for name, parameters in (
            ("particle_filter", {"n": 4, "steps": 4, "delimiter": ".", "scorer": "letters"}),
            ("short_m_at_k", {"k": 5, "m": 2}),
            ("best_of_n", {"n": 4, "scorer": "letters"}),
        )
    ]
    return tasks_of(which) + other


def run(backend: MarkovBackend, path: Path | None, **options: Any) -> list[Any]:
    """Results without seconds, journal hits."""
    if path is None:
        return [comparable(result) for result in solve(backend, tasks(), services=Services(Letters), **options)]
    with Journal(path) as journal:
        return [
            comparable(result)
            for result in solve(backend, tasks(), journal=journal, services=Services(Letters), **options)
        ]


def tokens_kept(path: Path) -> int:
    """Tokens of the extensions that a journal has."""
    journal = Journal(path)
    keys = [key for (key,) in journal._database.execute("SELECT key FROM entries WHERE value IS NOT NULL")]
    values = [journal.find(key) for key in keys]
    journal._database.close()
    extensions = [one for value in values for one in value if isinstance(one, list)]
    return sum(len(tokens) for _, tokens, *_ in extensions)


def test_where_hopeless_texts_end_is_part_of_what_a_journal_knows(tmp_path: Path) -> None:
    """With the bound nothing is computed twice; another bound, or another window, is another request."""
    narrow, wide = ({"stop_mean_below": -1.2, "stop_window": window} for window in (2, 3))
    for rule in ({}, narrow, wide, narrow | {"stop_mean_below": -1.3}):
        found, made = [], []
        for _ in range(2):
            backend = MarkovBackend()
            with Journal(tmp_path / "journal.sqlite") as journal:
                driver = Driver({"": backend}, journal=journal, sampling={"max_tokens": 12, "temperature": 1.0} | rule)
                jobs = [MethodJob(find("self_consistency"), problem, {"n": 4}) for problem in problems()]
                found.append({result.id: comparable(result) for _, result in driver.solve(jobs)})
            made.append(backend.made)
        assert found[0] == found[1]
        assert (made[0] > 0, made[1]) == (True, 0)
        ends = {node["why"] for one in found[0].values() for node in one["trace"]["nodes"]}
        assert ("unlikely" in ends) == bool(rule)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """At 50 random instants, at least 40 of them with requests under way; nothing that was kept is made again."""
    undisturbed = MarkovBackend()
    expected = run(undisturbed, None)
    whole = Doomed(1, math.inf, 0)
    run(whole, tmp_path / "whole.sqlite")
    rng, halfway, kept = random.Random(5), 0, set()
    for i in range(KILLS):
        path = tmp_path / f"{i}.sqlite"
        doomed = Doomed(i, rng.uniform(0.03, 0.6) * whole.steps, rng.uniform(0, 0.002))
        process = multiprocessing.get_context("fork").Process(target=run, args=(doomed, path))
        process.start()
        process.join(60)
        assert process.exitcode in (0, -signal.SIGKILL)
        assert path.exists()
        journal = Journal(path)
        halfway += unfinished(journal) > 0 and process.exitcode != 0
        journal.close()
        before = tokens_kept(path)
        kept.add(before)
        backend = MarkovBackend(timing=-i - 1)
        assert run(backend, path) == expected
        assert backend.made == undisturbed.made - before
        if i % 10 == 0:
            again = MarkovBackend()
            assert run(again, path) == expected
            assert again.made == 0
    assert halfway >= 40, halfway
    assert len(kept) > 10


def test_more_samples_make_only_those_that_are_new(tmp_path: Path) -> None:
    def sample(n: int, name: str = "self_consistency", **more: Any) -> MarkovBackend:
        backend = MarkovBackend(**more)
        with Journal(tmp_path / "journal.sqlite") as journal:
            solve(
                backend, [MethodJob(find(name), problems(1)[0], {"n": n})], journal=journal, services=Services(Letters)
            )
        return backend

    assert sample(16).started == 16
    assert sample(64).started == 48
    assert sample(64).started == 0
    assert sample(64, "best_of_n").started == 0  # its samples are the same
    assert sample(16, weights={**WEIGHTS, ".": {"a": 1, "$": 1}}).started == 16


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"id": "other"},
        {"seed": 1},
        {"temperature": 0.5},
        {"max_tokens": 11},
        {"stop": ("b",)},
        {"text": "a"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_never_hits(tmp_path: Path, change: dict[str, Any]) -> None:
    @method("none")
    def one(
        problem: Problem, *, temperature: float = 1.0, max_tokens: int = 12, stop: Any = (), text: str = ""
    ) -> Steps:
        """Extend once."""
        start = problem.start.append(text) if text else problem.start
        yield Extend(start, stop=stop, temperature=temperature, max_tokens=max_tokens)
        return Answer(None)

    def started(**given: Any) -> int:
        fields = {"id": "p", "prompt": "ask", "seed": 0} | {
            k: v for k, v in given.items() if k in ("id", "prompt", "seed")
        }
        parameters = {k: v for k, v in given.items() if k not in fields}
        backend = MarkovBackend()
        with Journal(tmp_path / "journal.sqlite") as journal:
            solve(backend, [MethodJob(one, Problem(**fields), parameters)], journal=journal)
        return backend.started

    assert started() == 1
    assert started() == 0
    assert started(**change) == 1
    assert started() == 0


@pytest.mark.skipif(protection().kind != "bubblewrap", reason="needs two protections")
def test_another_protection_is_another_end_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @method("none")
    def writing(problem: Problem) -> Steps:
        """Run what one protection allows."""
        outcome = yield RunProgram("open('file', 'w').write('x')\nimport time\nprint(time.monotonic_ns())")
        return Answer(outcome.stdout or outcome.ended)

    def ended(kind: str) -> Any:
        monkeypatch.setenv("INTACT_SANDBOX", kind)
        with Journal(tmp_path / "journal.sqlite") as journal:
            (result,) = solve(MarkovBackend(), [MethodJob(writing, problems(1)[0], {})], journal=journal)
        return result.answer.answer

    try:
        protection("seccomp")
    except SandboxError as error:
        pytest.skip(str(error))
    assert ended("seccomp") == "error"
    first = ended("bubblewrap")
    assert first.strip().isdigit()
    assert ended("bubblewrap") == first, "found"
    assert ended("seccomp") == "error"


def test_two_runs_may_share_a_journal(tmp_path: Path) -> None:
    expected, path = run(MarkovBackend(), None), tmp_path / "journal.sqlite"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=run, args=(MarkovBackend(timing=i), path)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    backend = MarkovBackend()
    assert run(backend, path) == expected
    assert backend.made == 0


def test_a_journal_may_be_made_while_another_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    other = threading.Thread(target=lambda: Journal(path).close())

    class Interrupted(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            cursor = super().execute(sql, *args)
            if "application_id" in sql and not other.ident:
                monkeypatch.undo()
                other.start()
                other.join(0.5)
            return cursor

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Interrupted))
    Journal(path).close()
    other.join(60)
    assert not other.is_alive()
    Journal(path).close()


def test_processes_may_make_a_journal_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")

    def make(path: Path, go: Any) -> None:
        go.wait()
        Journal(path).close()

    for i in range(8):
        go = fork.Event()
        processes = [fork.Process(target=make, args=(tmp_path / str(i), go)) for _ in range(6)]
        for process in processes:
            process.start()
        go.set()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6


def kept(path: Path) -> Journal:
    journal = Journal(path)
    for i in range(200):
        journal.add(key_of(i), ["text" * 20, i])
    journal.commit()
    return journal


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database, but long enough to be read as one" * 100)
    with pytest.raises(JournalError, match=r"text cannot be used: file is not a database"):
        Journal(text)
    other = tmp_path / "other"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE pupils (name TEXT)")
    database.close()
    with pytest.raises(JournalError, match="other is another kind of database"):
        Journal(other)
    newer = tmp_path / "newer"
    Journal(newer).close()
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(JournalError, match="newer is a journal of version 2, but this program writes version 1"):
        Journal(newer)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path)


def test_a_truncated_or_damaged_journal_is_named_or_right(tmp_path: Path) -> None:
    kept(tmp_path / "whole").close()
    data = (tmp_path / "whole").read_bytes()
    rng, named = random.Random(3), 0
    for i in range(60):
        broken = bytearray(data[: rng.randrange(len(data))] if i % 2 else data)
        if not i % 2:
            for _ in range(40):
                broken[rng.randrange(100, len(broken))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"broken{i}"
        path.write_bytes(broken)
        try:
            journal = Journal(path)
            for k in range(200):
                found = journal.find(key_of(k))
                assert found is None or found == ["text" * 20, k]
            journal.close()
        except JournalError:
            named += 1
    assert named > 20


def test_a_damaged_entry_is_made_anew_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal"
    before = run(MarkovBackend(), path)
    database = sqlite3.connect(path)
    keys = [key for (key,) in database.execute("SELECT key FROM entries WHERE value IS NOT NULL")][::3]
    broken = itertools.cycle((b"", b"12345678 of another program", "a text", 4))
    database.executemany("UPDATE entries SET value = ? WHERE key = ?", zip(broken, keys, strict=False))
    database.commit()
    database.close()
    mended, known = MarkovBackend(), MarkovBackend()
    assert run(mended, path) == before
    warned = [record.getMessage() for record in caplog.records if record.getMessage().endswith("it is recomputed")]
    assert sorted(warned) == sorted(f"{path}: the entry {key.hex()} is damaged; it is recomputed" for key in keys)
    assert mended.made > 0
    assert run(known, path) == before
    assert known.made == 0, "what was made anew took its place"


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = kept(path)
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")  # as full as a disk can be
    for i in range(200, 400):
        journal.add(key_of(i), ["text" * 20 + str(i), i])
    with pytest.raises(JournalError, match="database or disk is full"):
        journal.commit()
    assert journal.find(key_of(7)) == ["text" * 20, 7]
    journal._database.execute("PRAGMA max_page_count = 100000")  # somebody has made room
    journal.commit()
    journal.close()
    again = Journal(path)
    assert finished(again) == 400
    assert again.find(key_of(399)) == ["text" * 20 + "399", 399]
    again.close()


def test_entries_of_another_journal_that_came_damaged_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "one.sqlite") as one, Journal(tmp_path / "two.sqlite") as two:
        keys = [key_of("extend", str(i)) for i in range(8)]
        for key in keys:
            one.add(key, {"text": key.hex()})
        one.commit()
        stored = {key: one.find_stored(key) for key in keys}
        for key, data in stored.items():
            for place in (0, len(data) - 1):
                for change in (1, 255):
                    bad = bytearray(data)
                    bad[place] = (bad[place] + change) % 256
                    with pytest.raises(JournalError, match=f"the entry {key.hex()} was damaged when read"):
                        two.add_stored({**stored, key: bytes(bad)})
                    assert two.find(keys[0]) is None
        two.add_stored(stored)
        assert [two.find(key) for key in keys] == [{"text": key.hex()} for key in keys]


def test_what_a_timed_run_found_of_another_stays_its_own(tmp_path: Path) -> None:
    """It keeps them under keys of its own, so that a replay has these and no others."""
    path = tmp_path / "j.sqlite"

    def entries_after(cap: float | None) -> int:
        with Journal(path) as journal:
            budget = None if cap is None else Budget(seconds=cap)
            solve(MarkovBackend(), tasks(1), budget=budget, journal=journal, services=Services(Letters))
        with sqlite3.connect(path) as database:
            return int(database.execute("select count(*) from entries").fetchone()[0])

    free = entries_after(None)
    timed = entries_after(1e6)
    assert timed >= 2 * free
    assert entries_after(1e6) == timed


def test_a_cap_in_seconds_stops_a_replay_at_the_same_token(tmp_path: Path) -> None:
    """By a clock that moves with the steps; killed or not, what it cut stays as it was."""

    class Clocked(MarkovBackend):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.now = 0.0

        def step(self) -> list[Generation]:
            self.now += 1.0
            return super().step()

    def timed(path: Path, timing: int | None, cap: float) -> tuple[list[Any], Clocked]:
        backend = Clocked(timing=timing)
        with Journal(path) as journal:
            options: dict[str, Any] = {"journal": journal, "services": Services(Letters), "clock": lambda: backend.now}
            results = solve(backend, tasks(1), budget=Budget(seconds=cap), **options)
        return [comparable(result) for result in results], backend

    spent = 0
    for cap in (1.0, 3.0, 8.0, 20.0, 45.0):
        path = tmp_path / f"{cap}.sqlite"
        results, backend = timed(path, int(cap), cap)
        spent += sum(result["why"] == "spent" for result in results)
        assert sum(result["cost"]["tokens"] for result in results) == backend.made
        replayed, idle = timed(path, None, cap)
        assert replayed == results
        assert idle.made == 0
        shutil.copy(path, tmp_path / "more.sqlite")
        free, other = timed(tmp_path / "more.sqlite", None, 1e9)
        assert {result["why"] for result in free} == {"done"}
        assert free == run(MarkovBackend(), None)[:0] or len(free) == len(results)
        assert other.made > 0 or not any(result["why"] == "spent" for result in results)
    assert spent > 5


@pytest.mark.parametrize("called", [False, True])
def test_a_cap_in_seconds_ends_programs_and_begins_no_more(tmp_path: Path, called: bool) -> None:
    @method("none")
    def running(problem: Problem) -> Steps:
        """Run more than are run at a time."""
        yield [RunProgram("import time\ntime.sleep(30)", str(i), seconds=100) for i in range(6)]
        return Answer("done")

    @method("none")
    def calling(problem: Problem) -> Steps:
        """Have another method run them."""
        answer = yield CallMethod(running, problem)
        return answer

    def solved() -> Any:
        ticks = itertools.count()
        task = MethodJob(calling if called else running, problems(1)[0], {})
        with Journal(tmp_path / "journal.sqlite") as journal:
            options: dict[str, Any] = {"journal": journal, "clock": lambda: float(next(ticks))}
            (result,) = solve(MarkovBackend(), [task], budget=Budget(seconds=30), **options)
            return comparable(result), finished(journal)

    result, kept = solved()
    nodes = result["trace"]["nodes"][0]["nodes"] if called else result["trace"]["nodes"]
    assert (result["why"], result["answer"], result["cost"]["runs"]) == ("spent", None, 2)
    assert [node["ended"] for node in nodes] == ["time", "time"]
    assert kept == 3, "that it struck, and for this undertaking alone what was cut of each program"
    assert solved() == (result, 3)


def test_no_score_is_found_for_what_another_model_wrote(tmp_path: Path) -> None:
    """The same tokens are other words elsewhere, and of a text that was closed they hold more than was read."""

    class Other(MarkovBackend):
        """Numbers its tokens alike, and means capitals."""

        identity = vocabulary = "others"

        def _end(self, generation: Generation, why: Why, error: str = "") -> None:
            super()._end(generation, why, error)
            assert generation.written is not None
            generation.written = generation.written._replace(text=generation.written.text.upper())

    class Capitals(Letters):
        def score(self, problem: Problem, states: list[State]) -> list[float]:
            return [1.0 if state.text.isupper() else 0.25 for state in states]

    with Journal(tmp_path / "journal") as journal:
        for backend, reward in ((MarkovBackend(), 0.25), (Other(), 1.0), (MarkovBackend(), 0.25)):
            driver = Driver({"toy": backend}, journal=journal, services=Services(Capitals), sampling={"max_tokens": 4})
            ((_, result),) = driver.solve([MethodJob(find("best_of_n"), Problem("p", "q"), {"n": 3})])
            assert result.answer.details["rewards"] == [reward] * 3


def test_what_a_scorer_reads_is_in_the_key_of_its_scores() -> None:
    spread = (Spread(1, 2), Spread(3, 4))
    piece = Piece("ab", (1, 2), (-3, -4), ((("a", -3),), (("b", -4),)), "toy", True, Hidden("toy", "00"), spread)
    state = State("q", ("p", 0), (piece,), "end")
    changed = {
        "text": "AB",
        "tokens": (1, 3),
        "logprobs": (-3, -5),
        "top": (),
        "model": "other",
        "special": False,
        "hidden": None,
        "spread": spread[:1],
    }
    assert set(changed) == {field.name for field in fields(Piece)}
    others = [replace(state, pieces=(replace(piece, **{name: value}),)) for name, value in changed.items()]
    others += [replace(state, prompt="r"), replace(state, why="closed")]
    assert len({key_of(seen(one)) for one in [state, *others]}) == 1 + len(others)


def test_a_score_that_nothing_identifies_belongs_to_the_run_that_has_had_it(tmp_path: Path) -> None:
    """A scorer without a digest may depend on the model, or be other code by now."""

    class Constant:
        name, digest = "letters", ""

        def __init__(self, value: float) -> None:
            self.value = value

        def score(self, problem: Problem, states: list[State]) -> list[float]:
            return [self.value for _ in states]

    class Other(MarkovBackend):
        """A model that writes the same texts."""

        identity = "other"

    def rewards(value: float, backend: MarkovBackend, **caps: float) -> list[float]:
        (task,) = [one for one in tasks(1) if one.method.name == "best_of_n"]
        with Journal(tmp_path / "journal.sqlite") as journal:
            options: dict[str, Any] = {"journal": journal, "services": Services(lambda _: Constant(value))}
            (result,) = solve(backend, [task], budget=Budget(**caps), **options)
        return list(result.answer.details["rewards"])

    assert rewards(0.25, MarkovBackend(), seconds=1e9) == [0.25] * 4
    assert rewards(0.75, Other(), seconds=1e9) == [0.75] * 4
    assert rewards(0.5, MarkovBackend()) == [0.5] * 4
    assert rewards(0.5, MarkovBackend(), seconds=1e9) == [0.25] * 4, "replayed"
    task = MethodJob(find("best_of_n"), problems(1)[0], {"n": 4, "scorer": Constant(0.5)})
    with Journal(tmp_path / "journal.sqlite") as journal:
        (result,) = solve(MarkovBackend(), [task], journal=journal, budget=Budget(seconds=1e9))
    assert result.answer.details["rewards"] == [0.5] * 4, "a scorer that was handed over"


def test_a_journal_without_a_folder_lasts_as_long_as_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = key_of("a request")
    with Journal.inside(None, "kept.sqlite") as journal:
        journal.add(key, "done")
        journal.commit()
        assert journal.find(key) == "done"
    with Journal.inside(None, "kept.sqlite") as journal:
        assert journal.find(key) is None
    assert not list(tmp_path.iterdir())
    with Journal.inside(tmp_path, "kept.sqlite") as journal:
        journal.add(key, "done")
    with Journal.inside(tmp_path, "kept.sqlite") as journal:
        assert journal.find(key) == "done"
