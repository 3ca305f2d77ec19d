"""Certificates for measurements, made with openssl."""

import subprocess


class Certificates:
    """A folder of certificates that signed themselves, for localhost."""

    def __init__(self, folder):
        self.folder = folder
        self.flags = self.make("server")

    def make(self, name, days=30):
        """Makes a certificate with a P-256 key. Returns the flags that name both."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-days", str(days), "-keyout", key, "-out", certificate]
        subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
        return ["--tls-certificate", str(certificate), "--tls-key", str(key)]
