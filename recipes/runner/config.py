"""Reading a recipe's settings: structured dataclasses <- YAML <- `key=value`.

The only module that knows YAML. A misspelt key, a wrong type or a missing value is an error that
names the key, before any work is done.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .files import write_text
from .schema import Config


class ConfigError(ValueError):
    """A setting that is misspelt, of the wrong type, missing or out of range; names the key."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The settings of one run.

    Args:
        path: YAML file; its top-level key `base` may name another YAML file of the same folder,
            or of the one above (`../name.yaml`), whose values it then overrides.
        overrides: `key=value` with dotted keys, such as `prepare.limit=100` or
            `stages=encode_corpus,train_slm`; later ones win.

    Raises:
        ConfigError: A key that the schema has not, a value of the wrong type or out of range, a
            value that is missing, or a file that cannot be read. The message names the key.
    """
    layer = OmegaConf.merge(read_yaml(Path(path)), parse_overrides(overrides))
    assert isinstance(layer, DictConfig)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), layer))
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise ConfigError(f"{_explain(error, layer)} (in {path} or an override)") from error
    assert isinstance(config, Config)
    return config


def read_yaml(path: Path, seen: tuple[Path, ...] = ()) -> DictConfig:
    """The mapping in a YAML file, laid over that of its `base`, if it names one.

    Raises:
        ConfigError: The file is missing, is no YAML, holds no mapping, or is its own base.
    """
    if path.resolve() in seen:
        raise ConfigError(f"{path}: base: this file is its own base")
    try:
        loaded = OmegaConf.load(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this config: {error.strerror or error}") from error
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


def parse_overrides(overrides: Sequence[str]) -> DictConfig:
    """`key=value` arguments as a nested mapping; a list may be written with commas alone.

    Raises:
        ConfigError: An argument without `=` or without a key.
    """
    arguments = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"override {override!r}: expected key=value, such as prepare.limit=9")
        if _is_list(key.strip()) and value != "null" and not value.startswith("["):
            value = f"[{value}]"
        arguments.append(f"{key.strip()}={value}")
    try:
        return OmegaConf.from_dotlist(arguments)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"overrides {list(overrides)}: a value is not valid YAML: {error}"
        ) from error


def save_config(config: Config, path: Path) -> None:
    """Write the resolved settings, whole or not at all; `load_config` reads them back."""
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(config)))


def thread_count(config: Config) -> int:
    """The number of threads or workers to use: `config.threads`, or what the process may use."""
    if config.threads:
        return config.threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_list(dotted: str) -> bool:
    """Whether the schema holds a list under this dotted key; False for keys that it has not."""
    node: typing.Any = Config
    for name in dotted.split("."):
        if typing.get_origin(node) is dict:
            node = typing.get_args(node)[1]
        elif dataclasses.is_dataclass(node):
            node = typing.get_type_hints(node).get(name)
        else:
            return False
    options = typing.get_args(node) if isinstance(node, types.UnionType) else (node,)
    return any(typing.get_origin(option) in (list, tuple) for option in options)


def _explain(error: Exception, layer: DictConfig) -> str:
    """One line out of OmegaConf's own words: the key, and what is wrong with it."""
    what = str(error).splitlines()[0]
    key = getattr(error, "full_key", None)
    if not key:
        # Some of its errors name no key: the first setting that fails by itself is the one.
        for key, value in _leaves("", OmegaConf.to_container(layer)):
            alone = OmegaConf.create()
            OmegaConf.update(alone, key, value)
            try:
                OmegaConf.merge(OmegaConf.structured(Config), alone)
            except (OmegaConfBaseException, TypeError, ValueError) as failure:
                template = str(failure).splitlines()[0]
                what = template.replace("'$VALUE' of type '$VALUE_TYPE'", repr(value))
                break
        else:
            return what
    return f"{key}: {what}"


def _leaves(prefix: str, node: typing.Any) -> Iterator[tuple[str, typing.Any]]:
    """Settings that are no mapping, by dotted key."""
    if not isinstance(node, dict):
        yield prefix, node
        return
    for name, value in node.items():
        yield from _leaves(f"{prefix}.{name}" if prefix else str(name), value)
