"""Options that several commands share, and the decorator that gives them to a command.

A group of options is a NamedTuple with fields Annotated for typer; `takes` adds the fields to the command's signature
and passes the command one instance of the class. So each option is declared once.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from dwcli.context.global_options import GlobalOptions
from dwcli.context.run import DwContext

Function = Callable[..., None]


class Rows(dict[str, Any]):
    """The options of a table: parameter name -> annotation for typer.

    A group's field `Annotated[Mapping[str, Any], Rows(…)]` stands for all of them, and holds those given.
    """


def named_path(typed: str | Path) -> Path:
    """Return the path as typed. Raises BadParameter on an empty name, which must not mean the current folder."""
    if not str(typed).strip():
        raise typer.BadParameter("the name is empty (unset variable?)")
    return Path(typed)


def takes(*groups: type) -> Callable[[Function], Function]:
    """Give a command the global options and those of `groups`; the parameter annotated with a group receives it."""

    def decorate(function: Function) -> Function:
        own, received = _split(function, groups)

        @wraps(function)
        def wrapper(ctx: typer.Context, **given: Any) -> None:
            values = {name: _build(group, given) for name, group in received.items()}
            dw = DwContext(ctx.obj.then(_build(GlobalOptions, given)))
            ctx.obj = dw
            with dw:
                function(ctx, **given, **values)

        return _declare(wrapper, own, *groups, GlobalOptions)

    return decorate


def takes_globals(function: Function) -> Function:
    """Give the app's own callback the global options, in its parameter annotated with them."""
    own, received = _split(function, [GlobalOptions])

    @wraps(function)
    def wrapper(ctx: typer.Context, **given: Any) -> None:
        values = {name: _build(group, given) for name, group in received.items()}
        function(ctx, **given, **values)

    return _declare(wrapper, own, GlobalOptions)


def typed(ctx: typer.Context) -> dict[str, str]:
    """Return the command's own options given on the command line: parameter name -> option name."""
    return {
        param.name: max(param.opts, key=len)
        for param in ctx.command.params
        if param.param_type_name == "option"
        and param.name
        and param.name not in GlobalOptions._fields
        and (source := ctx.get_parameter_source(param.name)) is not None
        and source.name == "COMMANDLINE"
    }


def _split(function: Function, groups: Any) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Return a function's own parameters, and those that receive a group, by name."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    own = [parameters[name].replace(annotation=hints[name]) for name in parameters if hints[name] not in groups]
    return own, {name: hints[name] for name in parameters if hints[name] in groups}


def _declare(wrapper: Function, own: list[inspect.Parameter], *groups: Any) -> Function:
    """Return the wrapper, with the signature that typer reads."""
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for group in groups
        for name, (annotation, default) in _options(group).items()
    ]
    parameters = [*own, *added]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _options(group: Any) -> dict[str, tuple[Any, Any]]:
    """Return the options of a group: name -> annotation and default."""
    found: dict[str, tuple[Any, Any]] = {}
    for field, hint in get_type_hints(group, include_extras=True).items():
        if (rows := _rows(hint)) is not None:
            found |= {name: (annotation, None) for name, annotation in rows.items()}
        else:
            found[field] = hint, group._field_defaults[field]
    return found


def _build(group: Any, given: dict[str, Any]) -> Any:
    """Return the value of a group; removes its options from `given`."""
    values: dict[str, Any] = {}
    for field, hint in get_type_hints(group, include_extras=True).items():
        if (rows := _rows(hint)) is not None:
            held = {name: given.pop(name) for name in rows}
            values[field] = {name: value for name, value in held.items() if value not in (None, [], ())}
        else:
            values[field] = given.pop(field)
    return group(**values)


def _rows(hint: Any) -> Mapping[str, Any] | None:
    return next((extra for extra in get_args(hint) if isinstance(extra, Rows)), None)
