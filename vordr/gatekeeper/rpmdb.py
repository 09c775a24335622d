"""The packages in an rpm database of the SQLite form (rpm 4.16 and later), each an RPM header.

Header: two big-endian u32 (number of index entries, bytes of data), the entries (tag, type, offset, count),
the data (rpm.org, "Package Format"; in the database without the leading magic).
"""

from __future__ import annotations

import struct
from typing import Final

from vordr.formats.errors import FormatError
from vordr.gatekeeper.software import Kind, Package
from vordr.gatekeeper.sqlitefile import rows

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE = 1000, 1001, 1002, 1003, 1022
_WANTED: Final = {_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE}
_INT32, _STRING, _I18N_STRING = 4, 6, 9
_KEYS: Final = "gpg-pubkey"
"""Public keys are kept as packages of this name."""


def parse_rpm(data: bytes) -> tuple[Package, ...]:
    """The installed packages in the bytes of ``rpmdb.sqlite``. Raises FormatError."""
    found = []
    for row in rows(data, "Packages"):
        header = next((value for value in row if isinstance(value, bytes)), None)
        if header is None:
            raise FormatError("rpm database", "a package without a header")
        package = parse_header(header)
        if package.name != _KEYS:
            found.append(package)
    return tuple(found)


def parse_header(header: bytes) -> Package:
    """The package of one header. Raises FormatError."""
    try:
        entries, size = struct.unpack_from(">II", header)
        index, data = 8 + 16 * entries, header[8 + 16 * entries :]
        if index > len(header) or size > len(data):
            raise FormatError("rpm header", "ends early")
        tags: dict[int, str] = {}
        for tag, kind, offset, _ in struct.iter_unpack(">IIII", header[8:index]):
            if tag not in _WANTED or tag in tags:
                continue
            if kind in (_STRING, _I18N_STRING):
                tags[tag] = data[offset : data.index(0, offset)].decode("utf-8", "replace")
            elif kind == _INT32:
                tags[tag] = str(struct.unpack_from(">I", data, offset)[0])
    except (struct.error, ValueError) as error:
        raise FormatError("rpm header", f"damaged: {error}") from error
    if not tags.get(_NAME) or not tags.get(_VERSION):
        raise FormatError("rpm header", "has no name or version")
    version = "-".join(filter(None, (tags[_VERSION], tags.get(_RELEASE, ""))))
    epoch = tags.get(_EPOCH, "0")
    return Package(tags[_NAME], version if epoch == "0" else f"{epoch}:{version}",
                   tags.get(_ARCHITECTURE, ""), Kind.RPM)
