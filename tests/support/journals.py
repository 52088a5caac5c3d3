"""How many entries a journal holds."""

from intact.reason.driving.journal import Journal


def finished(journal: Journal) -> int:
    """Requests that have a result."""
    return _count(journal, "NOT NULL")


def unfinished(journal: Journal) -> int:
    """Requests that had begun by the last commit, and have no result."""
    return _count(journal, "NULL")


def _count(journal: Journal, which: str) -> int:
    (count,) = journal._database.execute(f"SELECT COUNT(*) FROM entries WHERE value IS {which}").fetchone()
    return count
