#!/usr/bin/env python3
"""A certificate authority of the tests, and what it signs.

    python3 tests/judges/authority.py DIRECTORY

writes `ca.pem`, and for localhost and 127.0.0.1 `ecdsa.pem`, `ecdsa.key`, `rsa.pem` and `rsa.key`. Prints the flags by
which `ringsock serve` takes both pairs. Each run makes an authority of its own. Needs openssl.
"""

import subprocess
import sys
from pathlib import Path

# As long as authorities on the internet give.
DAYS = 90
KEYS = {
    "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-newkey", "rsa:2048"],
}
EXTENSIONS = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
"""


def write(directory):
    """Writes the files, and returns the path of the authority's certificate and the flags of a server."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    ca, key = directory / "ca.pem", directory / "ca.key"
    openssl("req", "-x509", *KEYS["ecdsa"], "-nodes", "-keyout", key, "-out", ca, "-days", DAYS,
            "-subj", "/O=ringsock/CN=ringsock tests", "-addext", "keyUsage = critical, keyCertSign, cRLSign")
    extensions = directory / "extensions"
    extensions.write_text(EXTENSIONS)
    for name, kind in KEYS.items():
        request = directory / f"{name}.csr"
        openssl("req", *kind, "-nodes", "-keyout", directory / f"{name}.key", "-out", request, "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", DAYS,
                "-extfile", extensions, "-out", directory / f"{name}.pem")
    return ca, flags(directory)


def openssl(*arguments):
    command = ["openssl", *(str(argument) for argument in arguments)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr}")


def flags(directory):
    """The flags of a server with the certificates in a directory."""
    joined = [",".join(str(Path(directory) / f"{name}.{ending}") for name in KEYS) for ending in ("pem", "key")]
    return ["--tls-certificate", joined[0], "--tls-key", joined[1]]


if __name__ == "__main__":
    print(*write(sys.argv[1])[1])
