#!/usr/bin/env python3
"""testssl.sh and sslyze scan a ringsock that has certificates with an ECDSA and an RSA key of a test's authority.

    python3 tests/judges/scanners.py

Everything that testssl.sh rates worse than INFO, everything in which the server differs from Mozilla's profile
"intermediate", and every check of sslyze that fails has to be in the table of docs/conformance.md with a reason.
Reports stay in target/judges.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))

import server  # noqa: E402
from judges import authority  # noqa: E402

DOCUMENT = ROOT / "docs/conformance.md"
REPORTS = ROOT / "target/judges"
SSLYZE = ROOT / "target/venv-judges/bin/python"
PROFILE = "intermediate"
FINE = ("OK", "INFO", "DEBUG")
SCAN_SECONDS_MAX = 600


class Finding(NamedTuple):
    """Something that a scanner does not find in order."""

    scanner: str
    name: str
    severity: str
    text: str


def explained():
    """The findings that the document explains: scanner and name."""
    rows = re.findall(r"^\| (testssl|sslyze) \| `([^`]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    return set(rows)


def scan(command, report):
    """Runs a scanner, which writes a report; its exit code says less than that."""
    report.unlink(missing_ok=True)
    with open(report.with_suffix(".log"), "wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SCAN_SECONDS_MAX)
    return json.loads(report.read_text())


def by_testssl(address, ca):
    report = REPORTS / "testssl.json"
    port = address.split(":")[1]
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--add-ca", str(ca),
               "--jsonfile", str(report), f"localhost:{port}"]
    entries = scan(command, report)
    rated = {}
    for entry in entries:
        rated.setdefault(entry["severity"], []).append(entry["id"])
    if len(entries) < 50:
        raise SystemExit(f"testssl.sh looked at {len(entries)} things only, see {report.with_suffix('.log')}")
    print("testssl.sh:", ", ".join(f"{len(names)} {severity}" for severity, names in sorted(rated.items())), flush=True)
    return [
        # Some are found once for each certificate.
        Finding("testssl", entry["id"].split(" <")[0], entry["severity"], entry["finding"])
        for entry in entries
        if entry["severity"] not in FINE
    ]


def by_sslyze(address, ca):
    report = REPORTS / "sslyze.json"
    command = [SSLYZE, ROOT / "tests/judges/sslyze_scan.py", address, ca, PROFILE, report]
    scanned = scan([str(part) for part in command], report)
    print(f"sslyze: {scanned['checked']} checks, {len(scanned['findings'])} findings", flush=True)
    return [Finding("sslyze", name, severity, text) for name, severity, text in scanned["findings"]]


def main():
    server.end_on_signals()
    REPORTS.mkdir(parents=True, exist_ok=True)
    ca, flags = authority.write(REPORTS / "authority")
    found = []
    with server.running([*flags, "--cores", "2"]) as started:
        found += by_sslyze(started.address, ca)
        found += by_testssl(started.address, ca)
    for finding in found:
        print(f"  {finding.scanner:<8} {finding.severity:<8} {finding.name}: {finding.text}")
    names = {(finding.scanner, finding.name) for finding in found}
    unexplained = sorted(names - explained())
    for scanner, name in unexplained:
        print(f"NOT EXPLAINED in {DOCUMENT.relative_to(ROOT)}: {name} of {scanner}")
    if unexplained:
        raise SystemExit(1)
    print(f"Nothing was found but what {DOCUMENT.relative_to(ROOT)} explains.")


if __name__ == "__main__":
    main()
