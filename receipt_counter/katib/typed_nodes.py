"""YAML nodes checked against the typed models of the Kubernetes API: every wrong field, with its line.

The models drop unknown fields when they read and the API server keeps Katib's unread: misspelled ones would be silent.
"""

from __future__ import annotations

import datetime
import math
import types
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from receipt_counter.errors import nearest, suggestion
from receipt_counter.katib.kubernetes_yaml import KubernetesLoader

NULL = "tag:yaml.org,2002:null"

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", datetime.datetime: "a time"}


def construct(node: yaml.Node) -> Any:
    """The Python value of a node."""
    return KubernetesLoader("").construct_document(node)


def entries(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    """The values of a mapping by key; the last one of a repeated key, as kubectl takes it."""
    return {str(key.value): value for key, value in node.value}


class NodeChecker:
    """Collects what is wrong with a file's nodes.

    Args:
        source: the file's name, put before the line of each problem.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []

    def problem(self, node: yaml.Node, text: str) -> None:
        """Note a problem at a node's line."""
        self.problems.append(f"{self.source}:{node.start_mark.line + 1}: {text}")

    def check(self, node: yaml.Node, expected: Any, name: str = "") -> None:
        """Check a node and everything below it.

        Args:
            node: where to begin.
            expected: a model, or the annotation of a model's field.
            name: dotted name of the node, for messages.
        """
        choices = _alternatives(expected)
        if node.tag == NULL or Any in choices or object in choices:
            self._check_free(node, name)
        elif len(choices) == 1 and isinstance(choices[0], type) and issubclass(choices[0], BaseModel):
            self._check_model(node, choices[0], name)
        elif len(choices) == 1 and get_origin(choices[0]) is list:
            self._check_list(node, get_args(choices[0])[0], name)
        elif len(choices) == 1 and get_origin(choices[0]) is dict:
            self._check_mapping(node, get_args(choices[0])[1], name)
        else:
            self._check_value(node, choices, name)

    def _check_model(self, node: yaml.Node, model: type[BaseModel], name: str) -> None:
        if "actual_instance" in model.model_fields:  # how the generator writes "a number or text"
            self._check_value(node, _alternatives(model.model_fields["actual_instance"].annotation), name)
            return
        fields = {field.alias or key: field for key, field in model.model_fields.items()}
        for key, key_node, value in self._pairs(node, name):
            if key in fields:
                self.check(value, fields[key].annotation, _join(name, key))
            elif model.model_config.get("extra") == "allow" and nearest(key, fields, cutoff=0.8) is None:
                self._check_free(value, _join(name, key))
            else:
                self.problem(key_node, f"{_join(name, key)}: unknown field; {suggestion(key, fields)}")
        if isinstance(node, yaml.MappingNode):
            for key, field in fields.items():
                if field.is_required() and (key not in entries(node) or entries(node)[key].tag == NULL):
                    self.problem(node, f"{_join(name, key)}: is missing")

    def _check_list(self, node: yaml.Node, item: Any, name: str) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, f"{name}: must be a list")
            return
        for index, value in enumerate(node.value):
            self._check_present(value, item, f"{name}[{index}]")

    def _check_mapping(self, node: yaml.Node, item: Any, name: str) -> None:
        for key, _, value in self._pairs(node, name):
            self._check_present(value, item, f"{name}[{key}]")

    def _check_present(self, node: yaml.Node, expected: Any, name: str) -> None:
        if node.tag == NULL and expected is not Any:
            self.problem(node, f"{name}: is empty")
        else:
            self.check(node, expected, name)

    def _check_free(self, node: yaml.Node, name: str) -> None:
        """Whatever is inside: only what JSON cannot hold is wrong."""
        if isinstance(node, yaml.MappingNode):
            for key, _, value in self._pairs(node, name):
                self._check_free(value, _join(name, key))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._check_free(value, f"{name}[{index}]")

    def _pairs(self, node: yaml.Node, name: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"{name or 'the document'}: must be a mapping")
            return []
        KubernetesLoader("").flatten_mapping(node)  # `<<: *anchor`
        pairs, lines = [], dict[str, int]()
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                self.problem(key, f"{name}: the key {key.value!r} must be text: put it in quotes")
            elif lines.setdefault(key.value, key.start_mark.line) != key.start_mark.line:
                first = lines[key.value] + 1
                self.problem(key, f"{_join(name, key.value)}: is written twice (first at line {first})")
            else:
                pairs.append((key.value, key, value))
        return pairs

    def _check_value(self, node: yaml.Node, choices: list[Any], name: str) -> None:
        if not isinstance(node, yaml.ScalarNode):
            found = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
            self.problem(node, f"{name}: must be {_named(choices)}, not a {found}")
            return
        value = construct(node)
        if isinstance(value, float) and not math.isfinite(value):
            self.problem(node, f"{name}: {node.value} is no number that JSON knows")
        elif isinstance(value, bool):
            if bool not in choices:
                self._wrong_type(node, bool, choices, name)
        elif datetime.datetime in choices:
            self._check_time(node, name)
        elif not (type(value) in choices or (isinstance(value, int) and float in choices)):
            self._wrong_type(node, type(value), choices, name)

    def _check_time(self, node: yaml.ScalarNode, name: str) -> None:
        try:
            datetime.datetime.fromisoformat(node.value)
        except ValueError:
            self.problem(node, f"{name}: {node.value} is no time such as 2026-01-31T12:00:00Z")

    def _wrong_type(self, node: yaml.ScalarNode, found: type, choices: list[Any], name: str) -> None:
        hint = f': write "{node.value}" in quotes' if choices == [str] else ""
        self.problem(
            node, f"{name}: {node.value} is {_WORDS.get(found, found.__name__)}, must be {_named(choices)}{hint}"
        )


def require_trees(nodes: list[yaml.Node], checker: NodeChecker) -> bool:
    """Whether no node contains itself (an anchor inside its own value); the first that does is noted."""
    for node in nodes:
        found = _cycle(node, [])
        if found is not None:
            checker.problem(found, "an anchor is used inside its own value")
            return False
    return True


def _cycle(node: yaml.Node, above: list[yaml.Node]) -> yaml.Node | None:
    if any(node is ancestor for ancestor in above):
        return node
    if isinstance(node, yaml.ScalarNode):
        return None
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    return next((found for child in children if (found := _cycle(child, [*above, node])) is not None), None)


def _alternatives(expected: Any) -> list[Any]:
    """What a field may hold: `Optional[Union[StrictFloat, StrictInt]]` gives float and int."""
    origin = get_origin(expected)
    if origin is Annotated:
        return _alternatives(get_args(expected)[0])
    if origin in (Union, types.UnionType):
        return [choice for part in get_args(expected) if part is not type(None) for choice in _alternatives(part)]
    return [expected]


def _named(choices: list[Any]) -> str:
    return " or ".join(_WORDS.get(choice, "something else") for choice in dict.fromkeys(choices))


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
