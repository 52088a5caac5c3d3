"""The command line, ``intact``: a file for each command.

Modules here import nothing heavy at their top, so that ``--help`` and shell completion answer at once.
"""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it (128 + SIGINT)."""

FAILED = 2
"""Exit status after an error; of `eval` and `solve --task` also where the method failed on some of the problems."""

UNDECIDED = 3
"""Exit status of `eval` and `solve --task` where verdicts are undecided, so that there is no score."""


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    try:
        from intact.cli.app import run_app
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    run_app()
