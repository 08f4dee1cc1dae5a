"""Settings of the comparisons (anchors, adapt): any dataclass <- YAML <- `key=value`."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .cli import make_parser
from .config import ConfigError, read_yaml
from .files import write_text

Settings = TypeVar("Settings")


def load_settings(
    schema: type[Settings], path: str | Path, overrides: Sequence[str] = ()
) -> Settings:
    """Settings of one comparison.

    Args:
        schema: A dataclass.
        path: YAML file; its top-level `base` may name another of the same folder.
        overrides: `key=value`; a list may be written with commas alone.

    Raises:
        ConfigError: A key that the schema has not, a value of the wrong type or out of range, a
            value that is missing, or a file that cannot be read. The message names the key.
    """
    arguments = [_bracketed(schema, override) for override in overrides]
    try:
        layer = OmegaConf.merge(read_yaml(Path(path)), OmegaConf.from_dotlist(arguments))
        assert isinstance(layer, DictConfig)
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), layer))
    except ConfigError:
        raise
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        key = getattr(error, "full_key", None)
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key + ': ' if key else ''}{reason} (in {path} or an override)") from (
            error
        )
    assert isinstance(made, schema)
    return made


def keep_settings(settings: Any, folder: Path, runtime: Sequence[str] = ()) -> None:
    """Write config.yaml into a run's folder, or refuse a folder made with other settings.

    Args:
        settings: A dataclass.
        folder: Of the run; made when missing.
        runtime: Fields that change no result and may differ.

    Raises:
        ValueError: The folder was made with other settings; names them.
    """
    now = OmegaConf.to_container(OmegaConf.structured(settings))
    assert isinstance(now, dict)
    path = folder / "config.yaml"
    if path.is_file():
        before = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(before, dict)
        keys = [key for key in now | before if key not in runtime]
        changed = [key for key in keys if now.get(key) != before.get(key)]
        if changed:
            shown = "; ".join(f"{k}: {before.get(k)!r} -> {now.get(k)!r}" for k in changed[:6])
            raise ValueError(
                f"{folder} was made with other settings ({shown}). Choose another run=..., set "
                "them back, or delete it"
            )
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(settings)))


def comparison_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Arguments of a comparison: YAML file, overrides, `--json`, `--debug`."""
    return make_parser(program, description or "")


def _bracketed(schema: type, override: str) -> str:
    """`key=a,b` as `key=[a,b]` where the schema holds a list under this key.

    Raises:
        ConfigError: No `key=value`.
    """
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"override {override!r}: expected key=value, such as clips=10")
    assert dataclasses.is_dataclass(schema)
    hint = typing.get_type_hints(schema).get(key.strip())
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if any(typing.get_origin(option) is list for option in options) and value != "null":
        value = value if value.startswith("[") else f"[{value}]"
    return f"{key.strip()}={value}"
