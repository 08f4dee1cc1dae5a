"""The list of all settings: key, type, default, and the comment that stands at the field.

Comments are read from the source of the dataclasses, so that they are written once. A comment above
several fields without a line between them is that of all; a trailing comment, and an entry of a
docstring's `Args:`, is of one field.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import io
import json
import re
import textwrap
import tokenize
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from omegaconf import MISSING

from codec.command_line import DONE, exit_status

LEGEND = """\
# key: type = default. Those marked ~ change no result, only how the work is done: they may differ
# when a run is gone on with. All are set in YAML or as key=value on the command line.
"""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: dotted key, type as it is written, default in YAML, comment, and its kind."""

    key: str
    type: str
    default: str
    text: str
    runtime: bool = False


def list_settings(schema: type, sections: Sequence[str] | None = None) -> list[Setting]:
    """List the settings of a dataclass and of those below it, in their order.

    Args:
        schema: The dataclass.
        sections: Of its fields those to be listed with all below them; the others are listed only
            where they are no dataclass. None lists everything.

    Returns:
        A section that has a comment of its own comes before its settings, with `section` as type.
        Names in a mapping of dataclasses are `<name>`.
    """
    return list(_settings("", schema, None, sections))


def settings_text(settings: Sequence[Setting]) -> str:
    """Lay settings out as YAML-like lines below their comments."""
    lines, before = [LEGEND], ""
    for each in settings:
        # Fields that share a comment stand below it together.
        if each.text and each.text != before:
            wrapped = textwrap.wrap(each.text, 97)
            lines += ["", *(f"# {line}" for line in wrapped)]
        elif not each.text and before:
            lines.append("")
        before = each.text
        mark = "  ~" if each.runtime else ""
        value = "" if each.type == "section" else f" = {each.default}"
        lines.append(f"{each.key}: {each.type}{value}{mark}")
    return "\n".join(lines) + "\n"


class ShowSettings(argparse.Action):
    """An option that prints every setting of a command and ends."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        schema: type,
        sections: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        text = "list every setting with its type, default and meaning, and exit"
        super().__init__(option_strings, dest, **{**options, "nargs": 0, "help": text})
        self.schema, self.sections = schema, sections

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print them on stdout, as JSON after `--json`, and end with status 0."""
        parser.exit(exit_status(lambda: self._print(as_json=getattr(namespace, "json", False))))

    def _print(self, *, as_json: bool) -> int:
        found = list_settings(self.schema, self.sections)
        if as_json:
            print(json.dumps([vars(each) for each in found], ensure_ascii=False))
            return DONE
        print(settings_text(found), end="")
        if self.sections is not None:
            print("\n# Those of all stages: python -m recipes.run_all --settings")
        return DONE


def _settings(
    prefix: str, schema: type, values: Any, sections: Sequence[str] | None
) -> Iterator[Setting]:
    """The settings of a dataclass; `values` is an instance with the defaults, or None."""
    hints = typing.get_type_hints(schema)
    comments, types = _comments(schema)
    for field in dataclasses.fields(schema):
        key, text = prefix + field.name, comments.get(field.name, "")
        value = _default(field) if values is None else getattr(values, field.name)
        inner, is_named = _section_type(hints[field.name])
        if inner is None:
            shown = _shown(value)
            runtime = bool(field.metadata.get("runtime"))
            yield Setting(key, types.get(field.name, ""), shown, text, runtime)
        elif sections is None or field.name in sections:
            below = f"{key}.<name>." if is_named else f"{key}."
            if text:
                yield Setting(below.removesuffix("."), "section", "", text)
            instance = value if dataclasses.is_dataclass(value) else None
            # Fields that must stay at their defaults, since a key above sets them.
            hidden = {below + name for name in field.metadata.get("hidden", ())}
            found = _settings(below, inner, instance, None)
            yield from (each for each in found if each.key not in hidden)


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field, MISSING where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return MISSING if field.default is dataclasses.MISSING else field.default


def _section_type(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a field holds, and whether it holds several by name."""
    options = [each for each in typing.get_args(hint) if each is not type(None)]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    if typing.get_origin(hint) is dict:
        inner = typing.get_args(hint)[1]
        is_section = isinstance(inner, type) and dataclasses.is_dataclass(inner)
        return (inner, True) if is_section else (None, False)
    # `section | None`
    return _section_type(options[0]) if len(options) == 1 else (None, False)


def _shown(value: Any) -> str:
    """A default as YAML writes it."""
    if isinstance(value, str) and value == MISSING:
        return "??? (must be given)"
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


@cache
def _comments(schema: type) -> tuple[dict[str, str], dict[str, str]]:
    """The comments and the types of a dataclass's own fields, by name."""
    source = textwrap.dedent(inspect.getsource(schema))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    above, trailing = _comment_lines(source)
    texts, types, before = _documented(inspect.getdoc(schema) or ""), {}, (0, "")
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        name, lines = each.target.id, range(each.lineno, (each.end_lineno or each.lineno) + 1)
        types[name] = ast.unparse(each.annotation)
        own = [trailing[line] for line in lines if line in trailing]
        start = each.lineno
        while start - 1 in above:
            start -= 1
        # 1. Its own comment; 2. one above it; 3. that of the field in the line before.
        if own:
            texts[name] = " ".join(own)
        elif start < each.lineno:
            texts[name] = " ".join(above[line] for line in range(start, each.lineno))
            before = (lines[-1], texts[name])
        elif before[0] == each.lineno - 1 and name not in texts:
            texts[name] = before[1]
            before = (lines[-1], before[1])
    return texts, types


def _comment_lines(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Comments by line: those alone in their line, and those after code."""
    above: dict[int, str] = {}
    trailing: dict[int, str] = {}
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not lines[token.start[0] - 1][: token.start[1]].strip()
            (above if alone else trailing)[token.start[0]] = token.string.lstrip("# ").rstrip()
    return above, trailing


def _documented(docstring: str) -> dict[str, str]:
    """Entries of the `Args:` or `Attributes:` of a docstring, by name."""
    found: dict[str, str] = {}
    section = re.search(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n?|\n)*)", docstring, re.MULTILINE)
    name = ""
    for line in section.group(1).split("\n") if section else ():
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            name, found[entry[1]] = entry[1], entry[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
