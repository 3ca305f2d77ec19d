#!/usr/bin/env python3
"""Builds all test programs, and runs them side by side: most of their time they wait.

    tests/run.py                 every program
    tests/run.py abuse bench     those whose names contain one of these

The output of a program is shown when it has ended. The longest begin first. Ends with 1 if a program failed. Only the
standard library is used.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# One more than the processors, since a test that waits leaves its processor to another.
JOBS = (os.cpu_count() or 1) + 1
# The programs that take longest, by name.
LONGEST = ["abuse", "bench", "ringsock"]
PROGRAM_SECONDS_MAX = 1200


def programs():
    """Returns the names and paths of all test programs, and of the benches, which run each case once."""
    command = ["cargo", "test", "--locked", "--all-targets", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit(built.returncode)
    found = []
    for message in map(json.loads, built.stdout.splitlines()):
        is_test = message.get("profile", {}).get("test") or message.get("target", {}).get("kind") == ["bench"]
        if message.get("executable") and is_test:
            found.append((message["target"]["name"], message["executable"]))
    return found


def rank(name):
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def run(name, path):
    """Runs one program, shows its output, and returns its name, its seconds and whether it passed."""
    start = time.monotonic()
    environment = dict(os.environ, CARGO_MANIFEST_DIR=str(ROOT))
    with tempfile.TemporaryFile() as output:
        try:
            ended = subprocess.run([path], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, timeout=PROGRAM_SECONDS_MAX, check=False)
            outcome = "" if ended.returncode == 0 else f"ended with {ended.returncode}"
        except subprocess.TimeoutExpired:
            outcome = f"took longer than {PROGRAM_SECONDS_MAX} s"
        output.seek(0)
        text = output.read()
    seconds = time.monotonic() - start
    shown = f"\n--- {name}, {seconds:.0f} s {outcome}\n".encode() + text
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()
    return name, seconds, outcome


def main():
    wanted = sys.argv[1:]
    chosen = [(name, path) for name, path in programs() if not wanted or any(part in name for part in wanted)]
    chosen.sort(key=lambda program: rank(program[0]))
    with ThreadPoolExecutor(JOBS) as pool:
        results = list(pool.map(lambda program: run(*program), chosen))
    print("\n--- programs, slowest first")
    for name, seconds, outcome in sorted(results, key=lambda result: -result[1]):
        print(f"{seconds:6.1f} s  {name} {outcome}".rstrip())
    failed = [name for name, _, outcome in results if outcome]
    if failed or not results:
        sys.exit(f"failed: {', '.join(failed) or 'there is no such program'}")


if __name__ == "__main__":
    main()
