"""``vordr completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from vordr.cli.command import HELP
from vordr.cli.entry import COMPLETE


@click.command("completion", context_settings=HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash: vordr completion bash > /etc/bash_completion.d/vordr
    """
    kind = get_completion_class(shell)
    assert kind is not None  # the choice above names click's own
    root = ctx.find_root()
    print(kind(root.command, {}, "vordr", COMPLETE).source())
