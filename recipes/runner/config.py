"""Reading settings: structured dataclasses <- YAML <- `key=value`.

The only module that knows YAML. A misspelt key, a wrong type or a missing value is an error that
names the key, before any work is done.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import OmegaConfBaseException

from codec.checks import all_finite
from codec.error_text import reason_of
from codec.files import write_text
from codec.files.reading import read_file
from codec.provenance import usable_cores

from .literals import laid_over, literal_overrides, literal_values, with_literals
from .schema import Config

Settings = TypeVar("Settings")
_Failure = (OmegaConfBaseException, TypeError, ValueError)


class ConfigError(ValueError):
    """A setting that is misspelt, of the wrong type, missing or out of range; names the key."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Load the settings of one run; see `load_settings`."""
    return load_settings(Config, path, overrides)


def load_settings(
    schema: type[Settings], path: str | Path, overrides: Sequence[str] = ()
) -> Settings:
    """Load settings of any kind.

    Args:
        schema: A dataclass.
        path: YAML file; its top-level key `base` may name another YAML file of the same folder,
            or of the one above (`../name.yaml`), whose values it then overrides.
        overrides: `key=value` with dotted keys, such as `prepare.limit=100`; a list may be written
            with commas alone (`stages=encode_corpus,train_slm`); later ones win.

    Raises:
        ConfigError: A key that the schema does not have, a value of the wrong type or out of range,
            a value that is missing, or a file that cannot be read. The message names the key.
    """
    words = _override_words(schema, overrides)
    layer = OmegaConf.merge(read_yaml(Path(path)), _parse_overrides(words))
    assert isinstance(layer, DictConfig)
    # None tells `_explain` that the layers could not even be merged.
    merged = None
    try:
        merged = OmegaConf.merge(_defaults(schema), layer)
        given, taken = (OmegaConf.to_container(each) for each in (layer, merged))
        _check_kinds("", given, taken)
        written = laid_over(_written(Path(path)), literal_overrides(words))
        if (literal := with_literals(given, written, taken)) != given:
            merged = OmegaConf.merge(_defaults(schema), literal)
        # Before any dataclass compares its numbers: no comparison with NaN names the right one.
        all_finite("", OmegaConf.to_container(merged, resolve=True), error=ConfigError)
        settings = OmegaConf.to_object(merged)
    except _Failure as error:
        named = isinstance(error, ConfigError)
        found = str(error) if named else _explain(error, schema, layer, merged)
        raise ConfigError(f"{found} (in {path} or an override)") from error
    assert isinstance(settings, schema)
    return settings


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> DictConfig:
    """Read the mapping in a YAML file, laid over that of its `base`, if it names one.

    Raises:
        ConfigError: The file is missing, is not YAML, holds no mapping, or is its own base.
    """
    if path.resolve() in seen:
        raise ConfigError(f"{path}: base: this file is its own base")
    try:
        loaded = OmegaConf.load(io.StringIO(read_file(path).decode()))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this config: {reason_of(error, path)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of sections, got a list or nothing")
    base = loaded.pop("base", None)
    if base is None:
        return loaded
    if not isinstance(base, str) or Path(base).name != base.removeprefix("../"):
        raise ConfigError(
            f"{path}: base: expected a file name of the same folder or ../name, got {base!r}"
        )
    merged = OmegaConf.merge(read_yaml(path.parent / base, (*seen, path.resolve())), loaded)
    assert isinstance(merged, DictConfig)
    return merged


def _written(path: Path) -> dict[Any, Any]:
    """Read a file that `read_yaml` has read, and its base, with every value as it is written."""
    values = literal_values(read_file(path).decode()) or {}
    base = values.pop("base", None)
    return values if base is None else laid_over(_written(path.parent / base), values)


def save_config(settings: Any, path: Path) -> None:
    """Write the resolved settings, whole or not at all; `load_settings` reads them back."""
    write_text(path, settings_yaml(settings))


def settings_yaml(settings: Any) -> str:
    """YAML of a settings dataclass, as OmegaConf writes it.

    OmegaConf's nodes, of which writing needs none, would take twenty times as long.
    """
    style: dict[str, Any] = {"default_flow_style": False, "allow_unicode": True}
    # OmegaConf's dumper quotes all that OmegaConf would read as something else than a text.
    dumper = get_omega_conf_dumper()
    return yaml.dump(plain_settings(settings), Dumper=dumper, sort_keys=False, **style)


def plain_settings(settings: Any) -> Any:
    """Nested dicts, lists and plain values of a settings dataclass, as its YAML gives them."""
    if dataclasses.is_dataclass(settings):
        names = (field.name for field in dataclasses.fields(settings))
        return {name: plain_settings(getattr(settings, name)) for name in names}
    if isinstance(settings, dict):
        return {key: plain_settings(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [plain_settings(value) for value in settings]
    return settings


def thread_count(config: Config) -> int:
    """Count the threads or workers to use: `config.threads`, or what the process may use."""
    return config.threads or usable_cores()


@functools.cache
def _defaults(schema: type) -> DictConfig:
    """The settings that a schema gives by itself, built once: to be copied, never changed."""
    return OmegaConf.structured(schema)


def _override_words(schema: type, overrides: Sequence[str]) -> list[str]:
    """`key=value` arguments with lists in brackets; ConfigError without `=` or without a key."""
    arguments = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"override {override!r}: expected key=value, such as seed=1")
        # OmegaConf reads lists in brackets alone.
        if _is_list(schema, key.strip()) and value != "null" and not value.startswith("["):
            value = f"[{value}]"
        arguments.append(f"{key.strip()}={value}")
    return arguments


def _parse_overrides(words: Sequence[str]) -> DictConfig:
    """Read `key=value` words as a nested mapping."""
    try:
        return OmegaConf.from_dotlist(list(words))
    except yaml.YAMLError as error:
        raise ConfigError(f"overrides {list(words)}: a value is not valid YAML: {error}") from error


def _is_list(schema: type, dotted: str) -> bool:
    """Tell whether the schema holds a list, or `list | None`, under this dotted key."""
    node: Any = schema
    for name in dotted.split("."):
        # Names in a mapping are free; fields of a dataclass are not.
        if typing.get_origin(node) is dict:
            node = typing.get_args(node)[1]
        elif dataclasses.is_dataclass(node):
            node = typing.get_type_hints(node).get(name)
        else:
            return False
    options = typing.get_args(node) if isinstance(node, types.UnionType) else (node,)
    return any(typing.get_origin(option) in (list, tuple) for option in options)


def _explain(error: Exception, schema: type, layer: DictConfig, merged: Any) -> str:
    """One line `key: problem`, of an error in merging `layer` or in building from `merged`."""
    problem = str(error).splitlines()[0]
    if key := getattr(error, "full_key", None):
        return f"{key}: {problem}"
    if merged is not None and not isinstance(error, OmegaConfBaseException):
        # A check of a dataclass, which names its own field but not the section it is used in.
        section = _failing_section(merged)
        return f"{section}.{problem}" if section else problem
    # OmegaConf names no key for a value of the wrong shape: merge one after the other to find it.
    structured = copy.deepcopy(_defaults(schema))
    for key, value in _leaves("", OmegaConf.to_container(layer)):
        alone = OmegaConf.create()
        OmegaConf.update(alone, key, value)
        try:
            structured.merge_with(alone)
        except _Failure:
            return f"{key}: " + problem.replace("'$VALUE' of type '$VALUE_TYPE'", repr(value))
    return problem


def _check_kinds(key: str, given: Any, taken: Any) -> None:
    """Refuse truth values where a text is wanted, and the other way round, which OmegaConf turns.

    YAML reads the language `no` as false, of which OmegaConf would make "False".

    Raises:
        ConfigError: Names the key.
    """
    if isinstance(given, dict) and isinstance(taken, dict):
        for name, value in given.items():
            _check_kinds(f"{key}.{name}".lstrip("."), value, taken.get(name))
    elif isinstance(given, list) and isinstance(taken, list):
        for index, (value, made) in enumerate(zip(given, taken, strict=True)):
            _check_kinds(f"{key}[{index}]", value, made)
    elif isinstance(given, bool) and isinstance(taken, str):
        got = str(given).lower()
        raise ConfigError(f"{key}: expected a text, got {got}; a word such as no needs quotes")
    elif isinstance(taken, bool) and isinstance(given, int | float) and given not in (0, 1):
        raise ConfigError(f"{key}: expected true or false, got {given!r}")


def _failing_section(node: DictConfig) -> str:
    """Dotted key of the innermost section whose dataclass refuses its values, '' for the top."""
    for key in node:
        inner = None if OmegaConf.is_missing(node, key) else node[key]
        if not isinstance(inner, DictConfig):
            continue
        try:
            OmegaConf.to_object(inner)
        except _Failure:
            return f"{key}.{_failing_section(inner)}".rstrip(".")
    return ""


def _leaves(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Settings that are not mappings, by dotted key."""
    if not isinstance(node, dict):
        yield prefix, node
        return
    for name, value in node.items():
        yield from _leaves(f"{prefix}.{name}" if prefix else str(name), value)
