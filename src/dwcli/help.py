"""Help pages: plain text at the terminal's width, options in sections, a command's own before the shared ones."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from dwcli.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])
_OWN = "Options"


class Command(TyperCommand):
    """A command whose options are listed in the sections that they name (`rich_help_panel`).

    An option that takes one value may appear only once: the parser would silently drop the first.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError if an option that takes one value appears twice."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        _once(self, ctx, given)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each section."""
        _write(self.get_params(ctx), ctx, formatter)


class Group(TyperGroup):
    """A group of commands: the commands first, then the options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See Command.parse_args."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        _once(self, ctx, given)
        return rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then each section of options."""
        self.format_commands(ctx, formatter)
        _write(self.get_params(ctx), ctx, formatter)


class App(typer.Typer):
    """A Typer app with these help pages."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("cls", Group)
        settings.setdefault("no_args_is_help", True)
        super().__init__(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """See typer.Typer.command."""
        settings.setdefault("cls", Command)
        return super().command(name, **settings)


def _once(command: Any, ctx: Any, given: list[str]) -> None:
    """Raise UsageError if an option that takes one value appears twice, or a flag together with its opposite."""
    if ctx.resilient_parsing or sum(word.startswith("-") for word in given) < 2:
        return
    order = command.make_parser(ctx).parse_args(args=list(given))[2]
    for param in dict.fromkeys(order):
        if param.param_type_name != "option" or param.multiple or param.count or order.count(param) < 2:
            continue
        if not param.is_flag:
            raise UsageError(f"{max(param.opts, key=len)} given twice", "the option takes one value: remove one")
        both = [name for name in (*param.opts, *param.secondary_opts) if name in given]
        if set(both) & set(param.opts) and set(both) & set(param.secondary_opts):
            raise UsageError(f"{' and '.join(both)} contradict each other", "remove one of them")


def _write(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], _OWN: []}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            # The type repeats the metavar.
            sections["Arguments"].append((re.sub(r" <[^>]*>$", "", record[0]), record[1]))
        else:
            sections.setdefault(parameter.rich_help_panel or _OWN, []).append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
