"""Downloads of catalogue and hub models and of problem sets: resumable, checked by SHA-256, atomic."""

from intact.checkpoints.download.base import DownloadError, NoSpaceError, Pulled, Report, sha256
from intact.checkpoints.download.entry import pull, record
from intact.checkpoints.download.github import GitHubFile, fetch_from_github
from intact.checkpoints.download.repository import PullPlan, plan_pull, pull_planned
from intact.checkpoints.download.store import Removed, removable, remove

__all__ = [
    "DownloadError",
    "GitHubFile",
    "NoSpaceError",
    "PullPlan",
    "Pulled",
    "Removed",
    "Report",
    "fetch_from_github",
    "plan_pull",
    "pull",
    "pull_planned",
    "record",
    "removable",
    "remove",
    "sha256",
]
