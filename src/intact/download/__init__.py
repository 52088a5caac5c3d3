"""Pulling models, of the catalogue and of the hub: resumable, checked by SHA-256, atomic."""

from intact.download.base import DownloadError, NoSpaceError, Pulled, Report, sha256
from intact.download.entry import pull, record
from intact.download.repository import Plan, plan, pull_planned
from intact.download.store import Removed, removable, remove

__all__ = [
    "DownloadError",
    "NoSpaceError",
    "Plan",
    "Pulled",
    "Removed",
    "Report",
    "plan",
    "pull",
    "pull_planned",
    "record",
    "removable",
    "remove",
    "sha256",
]
