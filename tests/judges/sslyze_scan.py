#!/usr/bin/env python3
"""Lets sslyze scan a server, and writes what it finds as JSON.

    target/venv-judges/bin/python tests/judges/sslyze_scan.py HOST:PORT CA PROFILE REPORT

Findings are the issues of sslyze's check against a profile of Mozilla, and each check that could not be made.
"""

import json
import sys
from pathlib import Path

from sslyze import (
    CertificateInfoExtraArgument,
    ScanCommandAttemptStatusEnum,
    ScanCommandsExtraArguments,
    Scanner,
    ServerNetworkLocation,
    ServerScanRequest,
)
from sslyze.mozilla_tls_profile import tls_config_checker as checker


def main():
    address, ca, profile, report = sys.argv[1:5]
    host, port = address.split(":")
    location = ServerNetworkLocation(hostname="localhost", port=int(port), ip_address=host)
    extra = ScanCommandsExtraArguments(certificate_info=CertificateInfoExtraArgument(custom_ca_file=Path(ca)))
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(server_location=location, scan_commands_extra_arguments=extra)])
    (result,) = scanner.get_results()
    attempts = {name: attempt for name, attempt in vars(result.scan_result).items() if hasattr(attempt, "status")}
    findings = [
        (name, "ERROR", str(attempt.error_reason))
        for name, attempt in attempts.items()
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED
    ]
    wanted = checker.MozillaTlsConfiguration.get(checker.TlsConfigurationEnum(profile))
    try:
        checker.check_server_against_tls_configuration(result, wanted)
    except checker.ServerNotCompliantWithTlsConfiguration as differs:
        findings += [(name, "DIFFERS", text) for name, text in differs.issues.items()]
    Path(report).write_text(json.dumps({"checked": len(attempts), "findings": findings}))


if __name__ == "__main__":
    main()
