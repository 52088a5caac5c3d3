"""Worker processes: work on texts that nobody vouches for, under limits that the kernel keeps."""

from intact.process.worker import LimitReached, WorkerFailure, WorkerProcess

__all__ = ["LimitReached", "WorkerFailure", "WorkerProcess"]
