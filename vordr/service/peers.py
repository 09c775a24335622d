"""Who is at the other end of a socket, and what they may ask for.

The kernel tells who connected (SO_PEERCRED, SO_PEERGROUPS; unix(7), socket(7)): nothing here rests on what
the peer says. Membership of group vordr is not root: what would widen what may run needs scope admin.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Final

from vordr.engine.protocol import Caller
from vordr.model.errors import PolicyDenied
from vordr.model.operations import Scope

GROUP: Final = "vordr"

_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python's socket module does not name it
_CREDENTIALS: Final = struct.Struct("3i")
_GROUP_BYTES: Final = 1024  # the most that Python's getsockopt takes: 256 groups


@dataclass(frozen=True)
class Peer:
    """Credentials of the process that connected, as they were then."""

    pid: int
    uid: int
    groups: frozenset[int]

    @property
    def principal(self) -> str:
        """As journalled."""
        return f"uid:{self.uid}"


def peer_of(connected: socket.socket) -> Peer:
    """The peer's credentials. Raises OSError when the connection is already gone."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid, frozenset({gid, *_supplementary(connected, uid, gid)}))


def _supplementary(connected: socket.socket, uid: int, gid: int) -> list[int]:
    try:
        raw = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUP_BYTES)
    except OSError as error:
        if error.errno not in {errno.ERANGE, errno.ENOPROTOOPT}:
            raise
        # More groups than fit, or a kernel before 4.13: what the user database says of this user.
        try:
            return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return []
    return [group for (group,) in struct.iter_unpack("I", raw)]


def service_group() -> int | None:
    """The id of group vordr, None where the host has none."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def caller_of(peer: Peer, *, owner: int, group: int | None) -> Caller:
    """Principal and scope of a peer. ``owner`` is the service's own user, ``group`` that of the socket.

    :raises PolicyDenied: the peer is neither root, nor the owner, nor a member of the group.
    """
    if peer.uid in {0, owner}:
        return Caller(peer.principal, Scope.ADMIN)
    if group is not None and group in peer.groups:
        return Caller(peer.principal, Scope.OPERATE)
    raise PolicyDenied(
        f"{peer.principal} is not a member of group {GROUP}",
        remedy=f"sudo usermod -aG {GROUP} USER, then log in again",
    )
