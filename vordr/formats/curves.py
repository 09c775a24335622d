"""What Ed25519 and Ed448 leave to the caller (RFC 8032 §5.1, §5.2): is this key a sound point, is this scalar
reduced.

A key of small order makes one signature fit many messages; a point or scalar with two spellings makes two
keys or two signatures of one. Both break systems that count distinct keys or name things by their bytes.
Not refused: a point with a component of small order mixed in. Only its owner can make one, and to nobody
else's cost.
"""

from __future__ import annotations

from vordr.formats.errors import FormatError

ED25519_P = 2**255 - 19
ED25519_L = 2**252 + 27742317777372353535851937790883648493
_ED25519_D = -121665 * pow(121666, -1, ED25519_P) % ED25519_P

ED448_P = 2**448 - 2**224 - 1
ED448_L = 2**446 - 13818066809895115352007386748515426880336692474882178609894547503885
_ED448_D = -39081 % ED448_P

# Eight times a point is the identity exactly when its y is 0, ±1, or one of these two (points of order 8).
_ED25519_SMALL_Y = frozenset(
    {
        0,
        1,
        ED25519_P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
_ED448_SMALL_Y = frozenset({0, 1, ED448_P - 1})


def check_ed25519_key(raw: bytes, where: str = "Ed25519 key") -> None:
    """``raw`` is 32 bytes. :raises FormatError: not canonical, of small order, or not on the curve."""
    y = int.from_bytes(raw, "little") & ~(1 << 255)
    if y >= ED25519_P:
        raise FormatError(where, "not the canonical spelling of its point")
    if y in _ED25519_SMALL_Y:
        raise FormatError(where, "a point of small order")
    # -x² + y² = 1 + d·x²·y²  ⇒  x² = (y² - 1) / (d·y² + 1)
    y2 = y * y
    if not _is_square_ratio(y2 - 1, _ED25519_D * y2 + 1, ED25519_P):
        raise FormatError(where, "not a point of the curve")


def check_ed448_key(raw: bytes, where: str = "Ed448 key") -> None:
    """``raw`` is 57 bytes. :raises FormatError: not canonical, of small order, or not on the curve."""
    y = int.from_bytes(raw, "little") & ~(1 << 455)
    if y >= ED448_P:
        raise FormatError(where, "not the canonical spelling of its point")
    if y in _ED448_SMALL_Y:
        raise FormatError(where, "a point of small order")
    # x² + y² = 1 + d·x²·y²  ⇒  x² = (y² - 1) / (d·y² - 1)
    y2 = y * y
    if not _is_square_ratio(y2 - 1, _ED448_D * y2 - 1, ED448_P):
        raise FormatError(where, "not a point of the curve")


def ed25519_scalar_is_reduced(signature: bytes) -> bool:
    """Whether S, the second half of a 64-byte signature, is below the group order (RFC 8032 §5.1.7)."""
    return int.from_bytes(signature[32:], "little") < ED25519_L


def ed448_scalar_is_reduced(signature: bytes) -> bool:
    """Whether S, the second half of a 114-byte signature, is below the group order (RFC 8032 §5.2.7)."""
    return int.from_bytes(signature[57:], "little") < ED448_L


def _is_square_ratio(numerator: int, denominator: int, p: int) -> bool:
    """Euler's criterion on numerator/denominator; u/v is a square exactly when u·v is."""
    return pow(numerator * denominator, (p - 1) // 2, p) == 1
