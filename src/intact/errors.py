"""Every error that the package raises on purpose: each message names what was wrong, where, and what would be right."""


class IntactError(ValueError):
    """Base of all errors raised on purpose."""


class FormatError(IntactError):
    """A file that cannot be read: missing, truncated, damaged, hostile, or of a kind that is not supported."""


class ModelError(IntactError):
    """A file that was read but is no model that can run: architecture, hyper-parameters, tensors, tokenizer."""


class ParameterError(IntactError):
    """An argument that makes no sense."""


class PluginError(IntactError):
    """A package that adds pieces by entry points and cannot be loaded, or whose piece is of the wrong kind or name."""


class ConstraintError(ParameterError):
    """A constraint that takes more to compile than it may, or crashes its compiler, or that none is installed for."""


class CapacityError(IntactError):
    """Something that does not fit the memory it may use."""


class SpentError(IntactError):
    """A budget that has nothing left for what was asked."""


class ScorerError(IntactError):
    """A scorer that failed, or gave something that is no finite number."""


class JournalError(IntactError):
    """A journal that cannot be read or written: truncated, damaged, foreign, of another version, or a full disk."""


class SandboxError(IntactError):
    """Code that cannot be run, because nothing here would keep it in."""


class UndecidedError(IntactError):
    """A verdict that this machine cannot reach: a safety net on time or memory struck first; elsewhere it may not."""


class EndpointError(IntactError):
    """An endpoint that cannot be reached, refuses, or answers with something that is no answer."""


class ReceiptError(IntactError):
    """A receipt that cannot be read or made: damaged, hostile, not canonical, or larger than receipts may be."""


class NewerReceiptError(ReceiptError):
    """A receipt of a version, or with a feature, that this program does not know: it can be neither true nor false."""


class LockError(IntactError):
    """A lock file that cannot be read or made."""


class WorkerError(IntactError):
    """A worker on another machine that died again and again, or would compute something else."""


class LogError(IntactError):
    """A log that cannot be audited: truncated, incomplete, of another tokenizer, or drawn in an unknown way."""


def install(extra: str) -> str:
    """How to install what an extra of this package brings; not by its name, which on the index is another project's."""
    return f"pip install '.[{extra}]' in the checkout of intact"
