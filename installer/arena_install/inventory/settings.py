"""cluster.yaml read, checked and explained: every error with its line, all of them at once.

pydantic knows what is wrong, the YAML node tree knows where; this joins the two and says it in the user's words.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from arena_install.errors import ArenaError, ConfigError
from arena_install.inventory import yamlfile
from arena_install.inventory.config import Config
from arena_install.inventory.yamlfile import Document, KeyPath, dotted
from arena_install.suggest import did_you_mean

#: Paths in cluster.yaml are relative to its folder.
_FILES: tuple[tuple[str, str], ...] = (("artifacts", "ca_file"), ("artifacts", "bundle"))
_SECRET_KEYS: tuple[KeyPath, ...] = (("artifacts", "pull_secrets"), ("artifacts", "proxy"))
_SECRET_WORDS = ("password", "passwd", "secret", "token", "apikey", "api_key")  # in a user's own Helm values
_PLAIN = (bool, int, float, str, list, dict, type(None))


def read(path: Path) -> tuple[Config | None, Document, list[ArenaError]]:
    """The configuration, or None with every error of the file. The document tells the line of each key."""
    try:
        document = yamlfile.read(path, "a cluster.yaml")
    except ConfigError as error:
        return None, Document(str(path)), [error]
    errors = list(document.errors)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        what = "is not a mapping of settings (`key: value` lines)"
        return None, document, [*errors, ConfigError(what, where=f"{path}:1", fix="begin with, say, `name: arena`")]
    data = _without_empty_sections(data, Config)
    _absolute_files(data, path, document, errors)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        found = [_explained(one, document, data) for one in error.errors(include_url=False)]
        return None, document, _by_line([*errors, *found])
    return (config if not errors else None), document, errors


def _without_empty_sections(data: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`kubernetes:` with everything under it commented out means the defaults."""
    result = {}
    for key, value in data.items():
        section = _section(model, key)
        if value is None and (section or _is_mapping(model, key)):
            continue
        result[key] = _without_empty_sections(value, section) if section and isinstance(value, dict) else value
    return result


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    info = model.model_fields.get(key)
    kind = info.annotation if info else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_mapping(model: type[BaseModel], key: str) -> bool:
    info = model.model_fields.get(key)
    return info is not None and typing.get_origin(info.annotation) is dict


def _absolute_files(data: dict[str, Any], path: Path, document: Document, errors: list[ArenaError]) -> None:
    for section, key in _FILES:
        values = data.get(section)
        given = values.get(key) if isinstance(values, dict) else None
        if not isinstance(values, dict) or not isinstance(given, str) or not given:
            continue
        file = (path.parent / Path(given).expanduser()).absolute()
        if not file.is_file():
            where = str(document.source((section, key)))
            errors.append(ConfigError(f"{section}.{key}: no such file: {file}", where=where))
        values[key] = str(file)


def _explained(error: ErrorDetails, document: Document, data: Mapping[str, Any]) -> ConfigError:
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    context: Mapping[str, Any] = error.get("ctx") or {}
    if "key" in context:
        path = (*path, context["key"])
    where, key = str(document.source(path)), dotted(path)
    if error["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return ConfigError(f"unknown key `{key}`", where=where, fix=did_you_mean(str(path[-1]), known))
    if error["type"] == "rule":
        return ConfigError(f"{key}: {context['message']}", where=where)
    given = "" if _is_secret(path) else f", got {_shown(error['input'])}"
    fix = ""
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        fix = "write the value in quotes"
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        known = context["expected"].replace(" or ", ", ").split(", ")
        fix = did_you_mean(error["input"], [word.strip("'") for word in known])
    return ConfigError(f"{key}: expected {_expected(error, context)}{given}", where=where, fix=fix)


def _expected(error: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind = error["type"]
    simple = {
        "string_type": "text",
        "int_type": "a whole number",
        "bool_type": "true or false",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "string_too_short": "some text",
    }
    if kind in simple:
        return simple[kind]
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "greater_than_equal":
        return f"at least {context['ge']}"
    if kind == "less_than_equal":
        return f"at most {context['le']}"
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters"
    if kind == "string_pattern_mismatch":
        plain = {
            ("name",): "a lower-case name of letters, digits and dashes, at most 32, starting with a letter",
            ("gpu", "simulated", "driver_version"): "a version such as 580.95.05",
        }
        return plain.get(tuple(map(str, error["loc"])), f"text that matches {context['pattern']}")
    return error["msg"]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _keys_at(path: KeyPath) -> list[str]:
    model: type[BaseModel] = Config
    for part in path:
        model = _section(model, str(part)) or model
    return list(model.model_fields)


def _is_secret(path: KeyPath) -> bool:
    return any(path[: len(secret)] == secret for secret in _SECRET_KEYS)


def _by_line(errors: list[ArenaError]) -> list[ArenaError]:
    def line(error: ArenaError) -> int:
        number = error.where.rpartition(":")[2]
        return int(number) if number.isdecimal() else 0

    return sorted(errors, key=line)


def config_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of cluster.yaml, for editors and other programs."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "arena-install cluster.yaml"}


def explain(config: Config, path: Path | None, above: str = "command line") -> list[tuple[str, Any, str]]:
    """Every setting as (key path, value, where it came from), in the order of the schema.

    The third is "default", the place in cluster.yaml ("cluster.yaml:7"), or `above` where something else stands above
    both. Secrets are masked. path: the cluster.yaml that config was read from.
    """
    written, document, _ = read(path) if path else (Config(), Document(""), [])
    return [
        (dotted(key), _masked(key, value), _origin(key, value, document, written) or above)
        for key, value in _leaves(config, ())
    ]


def _origin(key: KeyPath, value: Any, document: Document, written: Config | None) -> str:
    """ "" where it is neither a default nor written."""
    found: Any = written
    for part in key:
        found = found.get(part) if isinstance(found, dict) else getattr(found, str(part), None)
    if (found if isinstance(found, _PLAIN) else str(found)) != value:
        return ""
    return str(document.source(key)) if key in document.lines else "default"


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*path, name))
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    else:
        yield path, value if isinstance(value, _PLAIN) else str(value)


def _masked(path: KeyPath, value: Any) -> Any:
    if path[0] == "values" and isinstance(value, str) and any(word in str(path[-1]).lower() for word in _SECRET_WORDS):
        return "***"
    if not _is_secret(path) or not isinstance(value, str) or value.startswith("env:"):
        return value
    if path[-1] == "proxy":
        parts = urlsplit(value)
        if parts.password and not parts.password.startswith("env:"):
            return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))
        return value
    return f"{value.partition(':')[0]}:***"
