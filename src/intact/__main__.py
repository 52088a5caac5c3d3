"""`python -m intact`, the same as the command `intact`."""

from intact.cli import main

if __name__ == "__main__":
    main()
