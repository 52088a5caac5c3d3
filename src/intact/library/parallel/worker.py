"""The process of a rank on this machine: `python -m intact.library.parallel.worker FD`, FD a socket to rank 0."""

import socket
import sys

from intact.library.parallel.channel import Channel
from intact.library.parallel.session import run_session


def main() -> None:
    """Be a rank until rank 0 goes."""
    run_session(Channel(socket.socket(fileno=int(sys.argv[1])), "rank 0"))


if __name__ == "__main__":
    main()
