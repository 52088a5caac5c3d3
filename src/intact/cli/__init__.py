"""The ``intact`` command line, with one file per command.

Modules here import nothing heavy at the top level, so ``--help`` and shell completion respond immediately.
"""

INTERRUPTED = 130
"""Exit status after Ctrl-C, following the shell convention (128 + SIGINT)."""

FAILED = 2
"""Exit status after an error; `eval` and `solve --task` also use it if the method failed on some problems."""

UNDECIDED = 3
"""Exit status of `eval` and `solve --task` if some verdicts are undecided and there is therefore no score."""


def main() -> None:
    """Run the command line (entry point of the installed script)."""
    try:
        from intact.cli.app import run_app
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    run_app()
