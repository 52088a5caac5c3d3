"""``python -m intact.cli`` is ``intact``."""

from intact.cli.app import main

main()
