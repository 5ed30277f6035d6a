"""A certificate by which the parts of a SeaweedFS server know each other: who does not have it gets no answer.

python certificate.py FOLDER ADDRESS

Its filer, volume and master servers ask for no credentials, whatever S3 says: over their ports all of the bucket can be
read, changed and deleted, over HTTP and over gRPC. With the `security.toml` that is written here they talk TLS, and
with nobody but a holder of the key beside it. Start `weed -config_dir=FOLDER`, with `-ip=ADDRESS`.
"""

import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

SETTINGS = "security.toml"

_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "client")
_HTTPS = ("master", "volume", "filer", "admin")


def write(folder: Path, address: str, *, mode: int = 0o600) -> None:
    """Write a new key, its certificate for `address`, and the settings that use them; what is there stays.

    `mode` is that of the files: they are for their owner alone, unless it says otherwise.
    """
    if (folder / SETTINGS).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    paths = {"cert": folder / "certificate.pem", "key": folder / "key.pem"}
    contents = {
        paths["cert"]: _signed(key, address).public_bytes(Encoding.PEM),
        paths["key"]: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        # Last: with it, all of them are there.
        folder / SETTINGS: settings(paths["cert"], paths["key"]).encode(),
    }
    for path, content in contents.items():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)


def _signed(key: ec.EllipticCurvePrivateKey, address: str) -> x509.Certificate:
    """A certificate that is its own authority. It does not expire: there would be nobody to renew it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "regioncap-bucket")])
    begin = datetime.now(UTC) - timedelta(days=1)  # clocks differ
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * 100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )


def settings(certificate: Path, key: Path) -> str:
    """SeaweedFS's `security.toml`: every port but S3's wants this certificate, and every part shows it."""
    pair = f'cert = "{certificate}"\nkey = "{key}"\n'
    authority = f'ca = "{certificate}"\n'
    return "\n".join(
        [
            f"[grpc]\n{authority}",
            *(f"[grpc.{part}]\n{pair}" for part in _GRPC),
            *(f"[https.{part}]\n{pair}{authority}" for part in _HTTPS),
            f"[https.client]\nenabled = true\n{pair}{authority}",
        ]
    )


if __name__ == "__main__":
    # The server's container has another user than this one. Their volume is its own place: no third one sees into it.
    write(Path(sys.argv[1]), sys.argv[2], mode=0o644)
