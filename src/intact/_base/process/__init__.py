"""Worker processes: work on untrusted input under limits that the kernel enforces.

Chat templates, computer algebra, Reasoning Gym and trial compilations of constraints run in them: trusted code on
untrusted data. The sandbox (`intact.tools.sandbox`) runs untrusted programs, each once, and also removes access to
files, network and system calls.
"""

from intact._base.process.worker import LimitReached, TimedOut, WorkerFailure, WorkerProcess

__all__ = ["LimitReached", "TimedOut", "WorkerFailure", "WorkerProcess"]
