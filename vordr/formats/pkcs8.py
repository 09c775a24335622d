"""PKCS #8 with a passphrase: PBES2 with scrypt and AES-256-CBC (RFC 5958, RFC 8018, RFC 7914 §7).

The cryptography library reads this form but writes only PBKDF2 with 2048 rounds, which a graphics card
guesses through a million times a second. ``openssl pkey`` reads it too.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 14, 8, 1
"""16 MiB and some 40 ms a guess: the most that OpenSSL's memory limit for reading allows at r = 8."""

_PBES2 = "06092a864886f70d01050d"
_SCRYPT = "06092b06010401da47040b"
_AES_256_CBC = "060960864801650304012a"


def encrypt(pkcs8_der: bytes, passphrase: bytes, salt: bytes, iv: bytes) -> bytes:
    """EncryptedPrivateKeyInfo (DER). ``salt`` and ``iv`` are 16 fresh random bytes each."""
    key = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    padder = PKCS7(128).padder()
    padded = padder.update(pkcs8_der) + padder.finalize()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    kdf_params = _sequence(_octets(salt), _integer(SCRYPT_N), _integer(SCRYPT_R), _integer(SCRYPT_P))
    kdf = _sequence(bytes.fromhex(_SCRYPT), kdf_params)
    cipher = _sequence(bytes.fromhex(_AES_256_CBC), _octets(iv))
    return _sequence(_sequence(bytes.fromhex(_PBES2), _sequence(kdf, cipher)), _octets(sealed))


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _octets(data: bytes) -> bytes:
    return _tlv(0x04, data)


def _integer(number: int) -> bytes:
    return _tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
