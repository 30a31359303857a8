"""`smartflo-bridge`: the group of all commands. Each command's module is imported only when it is called for."""

import importlib

import click

from smartflo_bridge.core.errors import BridgeError, ConfigError
from smartflo_bridge.version import __version__

COMMANDS = {
    "serve": "Answer calls.",
    "call": "Place simulated calls, as the platform would.",
    "replay": "Replay a captured call: exactly, to a live server, or to new callers.",
    "report": "Draw the picture of a captured call.",
    "token": "Make, sign or check a token.",
    "forget": "Delete all that is kept of one caller.",
    "check-config": "Check a configuration and print what is in force.",
}


class _Group(click.Group):
    """Loads `smartflo_bridge.cli.NAME:command`, and turns our errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"smartflo_bridge.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BridgeError as error:
            click.echo(f"smartflo-bridge: {error}", err=True)
            ctx.exit(2 if isinstance(error, ConfigError) else 1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smartflo-bridge")
def main() -> None:
    """Connect phone calls on Tata Tele Smartflo to code and to voice agents."""
