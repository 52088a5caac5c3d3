"""The command line under its own name, as a shell calls it to complete a word."""

import os

if __name__ == "__main__":
    os.environ["COMP_WORDS"] += " " * (not os.environ["COMP_WORDS"].endswith(" "))
    from intact.cli import main

    main()
