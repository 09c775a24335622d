"""ML-DSA-87 (FIPS 204) as the installed cryptography library has it, or not at all.

Older releases of it lack the module, and others lack the algorithm in the OpenSSL they were built with. Then
everything of CT-SIG-02 is refused: its Ed25519 half is never taken for the whole.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey, MLDSA87PublicKey
else:
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey, MLDSA87PublicKey
    except ImportError:

        class MLDSA87PrivateKey:
            """Stands where the library has no such class; nothing is an instance of it."""

        class MLDSA87PublicKey:
            """Stands where the library has no such class; nothing is an instance of it."""


__all__ = ["MISSING", "MLDSA87PrivateKey", "MLDSA87PublicKey", "available"]

MISSING: Final = "CT-SIG-02 is refused here: the installed cryptography library cannot do ML-DSA-87"


@cache
def available() -> bool:
    """Whether keys can be made and signatures verified here: tried, not looked up."""
    try:
        MLDSA87PrivateKey.from_seed_bytes(bytes(32))
    except (AttributeError, UnsupportedAlgorithm):
        return False
    return True
