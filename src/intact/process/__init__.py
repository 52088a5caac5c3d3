"""Worker processes: work on untrusted texts under limits that the kernel enforces.

Chat templates, computer algebra and Reasoning Gym run so: a known program on untrusted data, for many requests. The
sandbox (`intact.tools.sandbox`) runs untrusted programs, each once, and takes away files, network and system calls too.
"""

from intact.process.worker import LimitReached, WorkerFailure, WorkerProcess

__all__ = ["LimitReached", "WorkerFailure", "WorkerProcess"]
