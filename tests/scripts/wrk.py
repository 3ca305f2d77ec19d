"""scripts/wrk: a server that answers as it should passes, and one that does not is found out."""

import http.server
import os
import subprocess
import threading
import unittest

from . import ROOT, script

wrk = script("wrk/run")

SHORT = ["-d", "1", "-c", "8"]


def run(*arguments, key=None):
    environment = {name: value for name, value in os.environ.items() if name != "RINGSOCK_API_KEY"}
    if key:
        environment["RINGSOCK_API_KEY"] = key
    command = [ROOT / "scripts/wrk/run", *SHORT, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


class Liar(http.server.BaseHTTPRequestHandler):
    """Says 200 to everything, and to /health something else than it should."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"not ok")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'{"topic":"wrk","sent":"queued"}')

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """wrk ends in the middle of what is under way, which is nothing to tell of."""

    request_queue_size = 64

    def handle_error(self, *_):
        pass


class Loads(unittest.TestCase):
    def test_every_answer_of_ringsock_is_right(self):
        ran = run("--serve")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        rows = {line.split()[0]: line.split() for line in ran.stdout.splitlines()[2:] if line}
        self.assertEqual(list(rows), ["script", "health", "publish", "mixed"], ran.stdout)
        for name in wrk.SCRIPTS:
            self.assertGreater(int(rows[name][1].replace(",", "")), 0, ran.stdout)

    def test_a_wrong_answer_is_a_failure_and_not_throughput(self):
        with Quiet(("127.0.0.1", 0), Liar) as liar:
            threading.Thread(target=liar.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{liar.server_address[1]}"
            wrong, right, mixed = (
                run("--url", url, "health"),
                run("--url", url, "publish", key="k"),
                run("--url", url, "mixed", key="k"),
            )
            liar.shutdown()
        self.assertEqual(wrong.returncode, 1, wrong.stdout)
        self.assertIn("FAULT  health:", wrong.stderr)
        self.assertIn("200 not ok", wrong.stderr)
        self.assertIn("GET /health was asked", wrong.stderr)
        self.assertEqual(right.returncode, 0, right.stdout + right.stderr)
        self.assertEqual(mixed.returncode, 1, mixed.stdout)

    def test_a_wrong_key_is_a_failure(self):
        with wrk.server.running(["--api-key", "right", "--cores", "1"]) as (address, *_):
            ran = run("--url", f"http://{address}", "publish", key="wrong")
        self.assertEqual(ran.returncode, 1, ran.stdout)
        self.assertIn("401", ran.stderr)

    def test_says_that_a_key_is_needed_and_that_nobody_listens(self):
        self.assertIn("RINGSOCK_API_KEY", run("--url", "http://127.0.0.1:1").stderr)
        nobody = run("--url", "http://127.0.0.1:1", "health")
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("refused", nobody.stderr)


class Faults(unittest.TestCase):
    GOOD = {"requests": 9, "wrong": 0, "example": "", "socket_errors": 0, "timeouts": 0}

    def faults(self, asked, answered, **changes):
        kinds = [{"name": "GET /", "asked": asked, "answered": answered}]
        return wrk.faults({**self.GOOD, "kinds": kinds, **changes}, connections=2)

    def test_what_is_under_way_at_the_end_is_no_fault_and_what_was_lost_is_one(self):
        self.assertEqual(self.faults(asked=12, answered=9), [])
        self.assertEqual(len(self.faults(asked=13, answered=9)), 1)
        self.assertEqual(len(self.faults(asked=8, answered=9)), 1)

    def test_failed_connections_and_late_answers_are_faults(self):
        self.assertEqual(len(self.faults(asked=10, answered=9, socket_errors=1, timeouts=1)), 2)


if __name__ == "__main__":
    unittest.main()
