"""Errors that the package raises deliberately: each message says what was wrong, where, and what would be right."""


class IntactError(ValueError):
    """Base class of all errors raised deliberately."""


class FormatError(IntactError):
    """A file that cannot be read: missing, truncated, damaged, hostile, or of an unsupported type."""


class ModelError(IntactError):
    """A readable file that is not a runnable model: architecture, hyper-parameters, tensors, tokenizer."""


class ParameterError(IntactError):
    """An invalid argument."""


class NotInstalledError(ParameterError):
    """A required package that is not installed; the message says how to install it."""


class PluginError(IntactError):
    """A package's entry point that cannot be loaded, or that refers to a plugin of the wrong kind or name."""


class ConstraintError(ParameterError):
    """A constraint that exceeds its limits while compiling, or crashes its compiler."""


class CapacityError(IntactError):
    """A model or request that does not fit in the memory it may use."""


class SpentError(IntactError):
    """A budget or context that has too little left for the request."""


class NoRoomError(SpentError):
    """A context without room for any of the prompts that a method needs in addition to the problem's own."""


class ScorerError(IntactError):
    """A scorer that failed, or returned something that is not a finite number."""


class JournalError(IntactError):
    """A journal that cannot be read or written: truncated, damaged, foreign, of another version, or on a full disk."""


class SandboxError(IntactError):
    """Code that cannot be run because this machine cannot confine it."""


class UndecidedError(IntactError):
    """A verdict that this machine could not reach within its limits on time or memory; another machine may succeed."""


class EndpointError(IntactError):
    """An endpoint that cannot be reached, rejects the request, or sends a malformed response."""


class ReceiptError(IntactError):
    """A receipt that cannot be read or made: damaged, hostile, not canonical, or larger than receipts may be."""


class NewerReceiptError(ReceiptError):
    """A receipt of an unknown version, or with an unknown feature: its verdict is undecided."""


class LockError(IntactError):
    """A lock file that cannot be read or made."""


class CassetteError(IntactError):
    """A cassette that cannot be read or written: damaged, hostile, of another version, or too large."""


class WorkerError(IntactError):
    """A worker on another machine that died repeatedly, or would compute different results."""


class LogError(IntactError):
    """A log that cannot be audited: truncated, incomplete, from another tokenizer, or sampled in an unknown way."""


class ToolError(IntactError):
    """A method's tool that failed permanently, for example because its server has exited."""
