"""The errors that the package raises on purpose: each message names what was wrong, where, and what would be right."""


class IntactError(ValueError):
    """Base of all errors raised on purpose."""


class FormatError(IntactError):
    """A file that cannot be read: missing, truncated, damaged, hostile, or of a kind that is not supported."""


class ModelError(IntactError):
    """A file that was read but is no model that can run: architecture, hyper-parameters, tensors, tokenizer."""


class ParameterError(IntactError):
    """An invalid argument."""


class NotInstalledError(ParameterError):
    """A package that is needed and not installed; the message says how to install it."""


class PluginError(IntactError):
    """A package that adds pieces by entry points and cannot be loaded, or whose piece is of the wrong kind or name."""


class ConstraintError(ParameterError):
    """A constraint that exceeds its limits while compiling, or crashes its compiler."""


class CapacityError(IntactError):
    """A model or request that does not fit the memory it may use."""


class SpentError(IntactError):
    """A budget that has nothing left for the request, or a context that has no room for it."""


class NoRoomError(SpentError):
    """A context that has no room for any of the prompts that a method asks beside the problem's own."""


class ScorerError(IntactError):
    """A scorer that failed, or returned something that is not a finite number."""


class JournalError(IntactError):
    """A journal that cannot be read or written: truncated, damaged, foreign, of another version, or a full disk."""


class SandboxError(IntactError):
    """Code that cannot be run because this machine cannot confine it."""


class UndecidedError(IntactError):
    """A verdict that this machine cannot reach because a limit on time or memory was hit; another machine may."""


class EndpointError(IntactError):
    """An endpoint that cannot be reached, refuses, or sends a malformed answer."""


class ReceiptError(IntactError):
    """A receipt that cannot be read or made: damaged, hostile, not canonical, or larger than receipts may be."""


class NewerReceiptError(ReceiptError):
    """A receipt of a version, or with a feature, that this program does not know: its verdict is open."""


class LockError(IntactError):
    """A lock file that cannot be read or made."""


class WorkerError(IntactError):
    """A worker on another machine that died repeatedly, or would compute something else."""


class LogError(IntactError):
    """A log that cannot be audited: truncated, incomplete, of another tokenizer, or sampled in an unknown way."""


class ToolError(IntactError):
    """A tool of a method that has failed for good, such as one of a server that has ended."""
