"""Worker processes: work on untrusted texts under limits that the kernel enforces.

Chat templates, computer algebra, Reasoning Gym and trials of constraints run so: a known program on untrusted data.
The sandbox (`intact.tools.sandbox`) runs untrusted programs, each once, and takes away files, network and system calls
too.
"""

from intact._base.process.worker import LimitReached, TimedOut, WorkerFailure, WorkerProcess

__all__ = ["LimitReached", "TimedOut", "WorkerFailure", "WorkerProcess"]
