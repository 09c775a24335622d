"""The engine: one protocol, a local implementation that owns a root folder, and a remote one."""

from vordr.engine.protocol import Caller, Container, Engine, Reply

__all__ = ["Caller", "Container", "Engine", "Reply"]
