"""Run ``intact`` as ``python -m intact.cli``."""

from intact.cli import main

main()
