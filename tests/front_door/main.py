"""Measures the front door; see scripts/front-door.

Each part is a function that yields figures: a text, the value, and the bound, or None where there is none to keep.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "judges")]

import authority  # noqa: E402
import cost  # noqa: E402
import lives  # noqa: E402
import server  # noqa: E402

PARTS = {
    "messages": cost.messages,
    "memory": cost.memory,
    "handshakes": cost.handshakes,
    "resumption": lives.resumption,
    "expiry": lives.expiry,
}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, []], help=", ".join(PARTS))
    options.add_argument("--rounds", type=int, default=7, help="how often each ratio is measured [default: 7]")
    options = options.parse_args()
    server.end_on_signals()
    server.raise_fd_limit()
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        authority.write(folder)
        for part in options.parts or PARTS:
            print(f"--- {part}", flush=True)
            for text, value, bound in PARTS[part](Path(folder), options.rounds):
                kept = bound is None or value <= bound
                mark = "" if bound is None else f" (at most {bound:g})" if kept else f" (MISSED: at most {bound:g})"
                print(f"{text}: {value:.4g}{mark}", flush=True)
                if not kept:
                    missed.append(text)
    if missed:
        raise SystemExit(f"{len(missed)} figures miss their bounds: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
