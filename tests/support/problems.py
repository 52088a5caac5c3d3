"""GSM8K's files as a server of GitHub gives them, and as people have them: small ones."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from intact.checkpoints.download import GitHubFile
from intact.tasks.data import SAMPLE_SIZE
from intact.tasks.gsm8k import GSM8K
from support.hub_server import COMMIT, Hub, serve

REPO = "someone/sums"
ROWS = b"".join(
    b'{"question": "What is %d + %d?", "answer": "#### %d"}\n' % (i, i, 2 * i) for i in range(SAMPLE_SIZE + 20)
)


def upstream(content: bytes = ROWS, path: str = "data/test.jsonl") -> GitHubFile:
    return GitHubFile(REPO, COMMIT, path, len(content), hashlib.sha256(content).hexdigest())


@contextmanager
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Have neither a folder of data nor anything fetched, but a server of GSM8K's files."""
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serve(Hub({(REPO, f"data/{split}.jsonl"): ROWS for split in ("test", "train")})) as server:
        monkeypatch.setenv("INTACT_GITHUB_ENDPOINT", server.endpoint)
        files = {split: upstream(path=f"data/{split}.jsonl") for split in ("test", "train")}
        monkeypatch.setattr(GSM8K, "upstream", files)
        yield server


def full_set(folder: Path) -> None:
    (folder / "gsm8k").mkdir(parents=True)
    (folder / "gsm8k" / "test.jsonl").write_bytes(ROWS)
