"""A table of a configuration as a frozen struct: keys with hyphens, values checked, mistakes in one sentence that helps."""

import difflib
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import inspect

from smartflo_bridge.core.errors import ConfigError, shown_key

S = TypeVar("S", bound=msgspec.Struct)


class ConfigKeyError(ConfigError):
    """One key is wrong. `key` is its name, and `where` that of the table it is in: empty for the file itself."""

    def __init__(self, key: str, text: str, where: str = "") -> None:
        name = shown_key(key)
        super().__init__(f"{where}.{name}: {text}" if where else f"{name}: {text}")
        self.key = key
        self.where = where


def struct_from(kind: type[S], table: dict[str, Any], where: str = "") -> S:
    """Make a struct of a table with the file's spelling of the keys.

    Raises:
        ConfigKeyError: a key that does not exist, is missing, or has a value that it does not take.
    """
    keys = {name.replace("_", "-"): name for name in kind.__struct_fields__}
    types = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            close = difflib.get_close_matches(key, keys, 1)
            text = f"no such key; {f'did you mean {close[0]}?' if close else _all_keys(keys)}"
            raise ConfigKeyError(key, text, where)
        if isinstance(value, msgspec.Struct):  # a table inside, made already
            values[keys[key]] = value
            continue
        try:
            values[keys[key]] = msgspec.convert(value, types[keys[key]])
        except msgspec.ValidationError:
            text = f"takes {allowed(types[keys[key]])}, not {_shown(value)}"
            raise ConfigKeyError(key, text, where) from None
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in values:
            raise ConfigKeyError(field.name.replace("_", "-"), f"is missing; {_all_keys(keys)}", where)
    try:
        return kind(**values)
    except ValueError as error:  # keys that do not go together
        raise ConfigKeyError(str(error).split(" ", 1)[0], str(error).split(" ", 1)[1], where) from None


def allowed(kind: Any) -> str:  # noqa: ANN401 - a type, of any form
    """Say in words what a key of this type takes."""
    info = inspect.type_info(kind)
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.EnumType(cls=cls):
            return " or ".join(f'"{member.value}"' for member in cls)
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.IntType() | inspect.FloatType():
            word = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            bounds = [("above", info.gt), ("at least", info.ge), ("at most", info.le)]
            return " ".join([word, " and ".join(f"{text} {bound:g}" for text, bound in bounds if bound is not None)])
        case inspect.StrType(pattern=pattern, min_length=length):
            return f"text that matches {pattern}" if pattern else "text that is not empty" if length else "text"
        case inspect.ListType():
            return 'a list of text: ["...", "..."]'
        case inspect.DictType():
            return 'a table from names to numbers: { name = "..." }'
        case inspect.UnionType():  # a table, or none
            return "a table"
        case _:
            return "another value"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _all_keys(keys: dict[str, str]) -> str:
    return f"the keys are {', '.join(sorted(keys))}"
