"""Public keys that a policy pins for cosign and Rekor: PEM in, ``verify`` out.

The algorithm follows from the pinned key alone, never from what is verified: ECDSA on P-256 with SHA-256,
RSA (2048 to 8192 bits) PKCS #1 v1.5 with SHA-256, Ed25519. Another key is refused when the policy is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vordr.formats import curves
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError

_Public: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey
_RSA_BITS: Final = range(2048, 8193)
_LONGEST_PEM: Final = 8192


@dataclass(frozen=True)
class PinnedKey:
    """``spki`` is the SubjectPublicKeyInfo in DER: equal keys are equal values, whatever their PEM."""

    spki: bytes

    @classmethod
    def from_pem(cls, pem: str) -> PinnedKey:
        """Raises FormatError: no public key in PEM, or one of an algorithm that is not used here."""
        if len(pem) > _LONGEST_PEM:
            raise FormatError("public key", f"longer than {_LONGEST_PEM} characters")
        try:
            key = serialization.load_pem_public_key(pem.encode("ascii"))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise FormatError("public key", f"not a public key in PEM: {error}") from None
        spki = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        _usable(key)
        return cls(spki)

    @property
    def key_id(self) -> str:
        """``sha256:<hex>`` of the SPKI."""
        return sha256_digest(self.spki)

    @property
    def pem(self) -> str:
        return _usable(serialization.load_der_public_key(self.spki)).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``. Never raises for what the signature holds."""
        key = _usable(serialization.load_der_public_key(self.spki))
        try:
            match key:
                case ec.EllipticCurvePublicKey():
                    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
                case rsa.RSAPublicKey():
                    key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
                case Ed25519PublicKey():
                    if len(signature) != 64 or not curves.ed25519_scalar_is_reduced(signature):
                        return False
                    key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _usable(key: object) -> _Public:
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return key
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS and key.public_numbers().e >= 3:
            return key
        case Ed25519PublicKey():
            curves.check_ed25519_key(key.public_bytes_raw())
            return key
    raise FormatError("public key", "neither ECDSA on P-256, RSA of 2048 to 8192 bits, nor Ed25519")
