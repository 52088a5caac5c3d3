"""A rank's process on this machine: `python -m intact.library.parallel.worker FD`, where FD is a socket to rank 0."""

import socket
import sys

from intact.library.parallel.channel import Channel
from intact.library.parallel.session import run_session


def main() -> None:
    """Run as a rank until rank 0 disconnects."""
    run_session(Channel(socket.socket(fileno=int(sys.argv[1])), "rank 0"))


if __name__ == "__main__":
    main()
