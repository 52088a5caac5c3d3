"""Pulling models, of the catalogue and of the hub: resumable, checked by SHA-256, atomic."""

from intact.download.base import DownloadError, NoSpaceError, Pulled, Report, sha256
from intact.download.entry import pull, record
from intact.download.repository import PullPlan, plan_pull, pull_planned
from intact.download.store import Removed, removable, remove

__all__ = [
    "DownloadError",
    "NoSpaceError",
    "PullPlan",
    "Pulled",
    "Removed",
    "Report",
    "plan_pull",
    "pull",
    "pull_planned",
    "record",
    "removable",
    "remove",
    "sha256",
]
