#!/usr/bin/env python3
"""`python -m websockets` in a terminal against a running ringsock: types a line, reads the echo, leaves.

    tests/clients/terminal.py 127.0.0.1:9000
"""

import os
import pty
import re
import select
import subprocess
import sys
import time

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
SECONDS_MAX = 60
END_OF_INPUT = b"\x04"


class Terminal:
    """A program whose input and output are a terminal."""

    def __init__(self, command):
        self.screen, inside = pty.openpty()
        # A proxy from the environment would stand between the client and the server.
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True
        )
        os.close(inside)
        self.shown = b""

    def type(self, keys):
        os.write(self.screen, keys)

    def wait_for(self, pattern):
        deadline = time.monotonic() + SECONDS_MAX
        while not re.search(pattern, self.shown):
            ready, _, _ = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waited for {pattern} and saw {self.shown}"
            self.shown += os.read(self.screen, 4096)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.screen)


def main():
    terminal = Terminal([sys.executable, "-m", "websockets", f"ws://{ADDRESS}/echo"])
    try:
        terminal.wait_for(rb"Connected to")
        terminal.type(b"typed by hand\n")
        terminal.wait_for(rb"< typed by hand")
        terminal.type(END_OF_INPUT)
        terminal.wait_for(rb"Connection closed: 1000")
        assert terminal.process.wait(SECONDS_MAX) == 0, terminal.process.returncode
    finally:
        terminal.end()
    print("ok echoes_a_line_typed_into_the_terminal_client")


if __name__ == "__main__":
    main()
