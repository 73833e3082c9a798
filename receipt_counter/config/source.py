"""Where config values come from: YAML files with line numbers, and KEY=VALUE overrides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from receipt_counter.errors import UserError


@dataclass(frozen=True)
class Setting:
    """One value somebody wrote.

    Args:
        name: dotted key.
        value: as YAML reads it (numbers such as 1e-4 may still be text).
        place: for messages and `config show`: "file.yaml:12" or "--set".
        is_group: the value is a mapping with nothing in it.
    """

    name: str
    value: Any
    place: str
    is_group: bool = False


def read_yaml(path: Path, kind: str = "config file") -> list[Setting]:
    """Read a config file, or another one of dotted keys.

    Args:
        path: a YAML file whose top level is a mapping.
        kind: what it is, for messages.

    Returns:
        One setting per leaf, in file order; a key written twice appears twice.

    Raises:
        UserError: absent, unreadable, not YAML, empty, not a mapping, or a group is written twice.
    """
    nodes = compose_yaml(path, kind)
    if not nodes:
        raise UserError(f"{path}: the {kind} is empty; leave its option out to use the defaults")
    if len(nodes) > 1:
        raise UserError(f"{path}:{nodes[1].start_mark.line + 1}: a second YAML document begins; a {kind} is one")
    node = nodes[0]
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise UserError(f"{path}: the top level must be a mapping such as 'training: {{epochs: 3}}'")
    return list(_walk(node, "", path))


def compose_yaml(path: Path, kind: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> list[yaml.Node]:
    """Read a YAML file as nodes, which know their lines.

    Args:
        path: the file.
        kind: what it is, for messages ("config file").
        loader: resolves the types of plain scalars.

    Returns:
        The root of each document.

    Raises:
        UserError: absent, unreadable, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such {kind}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the {kind}: {error}") from None
    try:
        return list(yaml.compose_all(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None


def _walk(node: yaml.MappingNode, prefix: str, path: Path) -> Iterator[Setting]:
    constructor = yaml.SafeLoader("")
    groups: dict[str, str] = {}
    for key_node, value_node in node.value:
        place = f"{path}:{key_node.start_mark.line + 1}"
        name = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
        if isinstance(value_node, yaml.MappingNode):
            if name in groups:  # YAML knows no such thing: merged, they would pass for one
                raise UserError(f"{place}: {name} is written twice (first at {groups[name]})")
            groups[name] = place
            if value_node.value:
                yield from _walk(value_node, name, path)
            else:
                yield Setting(name, {}, place, is_group=True)
        else:
            yield Setting(name, constructor.construct_object(value_node, deep=True), place)


def read_override(text: str) -> Setting:
    """Read one `--set KEY=VALUE`; the value is read as YAML.

    Raises:
        UserError: no equals sign, no key, or a value that is not YAML.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise UserError(f"--set {text}: write it as KEY=VALUE, for example --set training.learning_rate=1e-4")
    try:
        return Setting(name, yaml.safe_load(value), "--set")
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value of {name} cannot be read as YAML") from None
