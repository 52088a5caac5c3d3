"""A process on a terminal of its own: what it prints is read, and keys are pressed."""

import os
import pty
import re
import select
import subprocess
import time

from support.patience import PATIENCE


class Terminal:
    """A process whose standard streams are a terminal.

    Parameters
    ----------
    words : list of str
        The command.
    **environment
        Variables beside this process's own.
    """

    def __init__(self, words, **environment):
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            words,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, "TERM": "xterm", **environment},
        )
        os.close(inner)
        self.text, self._seen = "", 0

    def expect(self, wanted):
        """Read until a text comes; return what came before it, since the last one."""
        return self.expect_match(re.escape(wanted))

    def expect_match(self, pattern):
        """Read until something comes that matches; return what came before it, since the last one."""
        end = time.monotonic() + PATIENCE
        while (found := re.compile(pattern).search(self.text, self._seen)) is None:
            assert time.monotonic() < end, (pattern, self.text[self._seen :])
            if select.select([self._screen], [], [], 0.1)[0]:
                self.text += self._read()
            else:
                assert self.process.poll() is None, (pattern, self.text)
        before, self._seen = self.text[self._seen : found.start()], found.end()
        return before

    def press_until(self, keys, wanted):
        """Press keys, again every few seconds, until a text comes: a program may not listen yet."""
        end, again = time.monotonic() + PATIENCE, 0.0
        while wanted not in self.text[self._seen :]:
            assert time.monotonic() < end, (wanted, self.text[self._seen :])
            if time.monotonic() >= again:
                self.press(keys)
                again = time.monotonic() + 5
            if select.select([self._screen], [], [], 0.1)[0]:
                self.text += self._read()
        self.expect(wanted)

    def press(self, keys):
        """Send keys."""
        os.write(self._screen, keys.encode())

    def leave(self):
        """Press Ctrl-D, and return the exit status."""
        self.press("\x04")
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self._screen], [], [], 0.05)[0]:
                self.text += self._read()
        return self.process.wait(PATIENCE)

    def close(self):
        """End the process, however it is."""
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def _read(self):
        try:
            return os.read(self._screen, 1 << 16).decode(errors="replace")
        except OSError:  # the other side was closed
            return ""


def _take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
