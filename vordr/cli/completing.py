"""Completion of container and image names in the shell; silent, and never starts a service."""

from __future__ import annotations

import click

from vordr.cli.context import Session
from vordr.engine.protocol import Engine
from vordr.model.arguments import ImagesArgs, ListArgs
from vordr.model.errors import VordrError
from vordr.model.paths import Paths


def containers(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of containers, in any state."""
    engine = _answering(ctx)
    if engine is None:
        return []
    try:
        listed = engine.call("list", ListArgs(all=True)).answer.containers
    except VordrError:
        return []
    return sorted(c.name for c in listed if c.name.startswith(incomplete))


def images(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of images, as short as they can be."""
    from vordr.cli.shapes import names_of

    engine = _answering(ctx)
    if engine is None:
        return []
    try:
        listed = engine.call("images", ImagesArgs()).answer.images
    except VordrError:
        return []
    names = {f"{name}:{tag}" for image in listed for name, tag in names_of(image) if tag != "<none>"}
    return sorted(name for name in names if name.startswith(incomplete))


def _answering(ctx: click.Context) -> Engine | None:
    """The engine when a service is there already, or one was brought along."""
    session = ctx.find_object(Session)
    if session is None:
        return None
    if not session.opened:
        from vordr.engine.opening import resolve_root

        session.root = session.root or ctx.find_root().params.get("root")
        try:
            if not Paths.of(resolve_root(session.root)).socket.exists():
                return None
        except OSError:
            return None
    try:
        return session.engine()
    except VordrError:
        return None
