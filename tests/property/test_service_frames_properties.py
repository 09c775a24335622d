"""Whatever bytes a client sends, it gets whole, typed frames back and the service forgets it."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_engine import MemoryEngine

from vordr.engine.channel import Channel
from vordr.engine.protocol import Caller
from vordr.formats import frames
from vordr.model.errors import every_error
from vordr.model.operations import REGISTRY, Scope
from vordr.service.connection import MAX_REQUEST, Connection
from vordr.service.watch import HangupWatch

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

ERROR_IDS = {error.id for error in every_error()}
SAFE = sorted(set(REGISTRY) - {"exec", "wait"})  # these block, or end the process, in this engine

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
arguments = st.dictionaries(
    st.sampled_from(["image", "container", "timeout", "package", "command", "limit"]),
    json_values | st.text(),
)
sound = st.fixed_dictionaries(
    {"id": st.integers(), "operation": st.sampled_from(SAFE)}, optional={"args": arguments})
bent = st.fixed_dictionaries(
    {}, optional={"id": json_values, "operation": json_values | st.sampled_from(SAFE), "args": json_values})
framed = (sound | bent).map(lambda message: _frame(json.dumps(message).encode()))
streams = st.lists(st.binary(max_size=40) | framed | st.binary(max_size=40).map(lambda body: _frame(body)),
                   max_size=4).map(b"".join)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.fixture(scope="module")
def watch() -> Iterator[HangupWatch]:
    watch = HangupWatch()
    yield watch
    watch.close()


def converse(root: Path, watch: HangupWatch, data: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    """All that the service says to ``data``, sent in pieces, before it hangs up."""
    ours, theirs = socket.socketpair()
    connection = Connection(
        Channel(ours, max_frame=MAX_REQUEST), Caller("uid:0", Scope.ADMIN), MemoryEngine(root), watch)
    serving = threading.Thread(target=connection.serve, daemon=True)
    serving.start()
    with theirs:
        theirs.settimeout(20)
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        try:
            for start, stop in zip(edges, edges[1:], strict=False):
                theirs.sendall(data[start:stop])
            theirs.shutdown(socket.SHUT_WR)
        except OSError:  # the service had heard enough
            pass
        decoder = frames.Decoder()
        said: list[dict[str, Any]] = []
        try:
            while heard := theirs.recv(65536):
                said += decoder.feed(heard)
        except ConnectionResetError:  # it hung up with our bytes unread
            pass
        assert decoder.pending == 0
    serving.join(20)
    assert not serving.is_alive()
    return said


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=streams, cuts=st.lists(st.integers(0, 1000), max_size=3))
def test_any_bytes_get_typed_frames_and_leave_nothing_behind(
    tmp_path: Path, watch: HangupWatch, data: bytes, cuts: list[int]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for message in converse(tmp_path, watch, data, cuts):
        assert set(message) in ({"id", "answer", "files"}, {"id", "error"}, {"id", "event"})
        if "error" in message:
            assert message["error"]["id"] in ERROR_IDS
    assert len(os.listdir("/proc/self/fd")) == before
