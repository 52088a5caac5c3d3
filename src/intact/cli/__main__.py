"""``python -m intact.cli`` is ``intact``."""

from intact.cli import main

main()
