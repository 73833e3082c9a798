"""The schema of `analysis.json`, and the page made from it.

`python -m receipt_counter.study.schema > docs/ANALYSIS.md`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

Node = Mapping[str, Any]

_TITLES = {
    "hyperparameter": "A search (`kind: hyperparameter`)",
    "ablation": "An ablation (`kind: ablation`)",
}
_NOUNS = {"string": "text", "boolean": "true or false", "array": "list"}


def analysis_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `analysis.json`, of both kinds of study."""
    text = (files("receipt_counter.study") / "analysis.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def schema_as_markdown(schema: Node) -> str:
    """The schema as a page for people: a section for each kind of study, then one for each part they share.

    Args:
        schema: as `analysis_schema` gives it.
    """
    parts = schema["$defs"]
    lines = [f"# {schema['title']}", "", schema["description"]]
    lines += ["The schema itself: `receipt_counter/study/analysis.schema.json`. This page is made from it.", ""]
    for name in (*_TITLES, *sorted(parts.keys() - _TITLES)):
        lines += [f"## {_TITLES.get(name, name)}", "", parts[name]["description"], "", *_children(parts[name], 0), ""]
    return "\n".join(lines).rstrip() + "\n"


def _children(node: Node, depth: int) -> Iterator[str]:
    """A line for each key below a node, however deep; maps and lists are seen through to what they hold."""
    required, margin = node.get("required", ()), "  " * depth
    for name, child in node.get("properties", {}).items():
        kind = _type(child) if name in required else f"{_type(child)}, may be absent"
        yield f"{margin}- `{name}` ({kind}): {_description(child)}"
        yield from _children(child, depth + 1)
    objects = [choice for choice in _choices(node) if "properties" in choice]
    for choice in objects if len(objects) > 1 else ():
        yield f"{margin}- either: {_description(choice)}"
        yield from _children(choice, depth + 1)
    for inner in _held(node):
        if inner not in objects or len(objects) == 1:
            yield from _children(inner, depth)


def _choices(node: Node) -> list[Node]:
    return [*node.get("oneOf", ()), *node.get("anyOf", ())]


def _held(node: Node) -> list[Node]:
    """What a node is a map or a list of, or a choice between."""
    inner = (node.get("additionalProperties"), node.get("items"), *_choices(node))
    return [held for held in inner if isinstance(held, Mapping)]


def _description(node: Node) -> str:
    links = (f"See [{_TITLES.get(name, name)}](#{_anchor(name)})." for name in dict.fromkeys(_references(node)))
    return " ".join([*filter(None, [node.get("description")]), *links])


def _references(node: Node) -> Iterator[str]:
    """Names of the shared parts that a node is, or holds."""
    if "$ref" in node:
        yield node["$ref"].rpartition("/")[2]
    for inner in _held(node):
        yield from _references(inner)


def _anchor(name: str) -> str:
    """The fragment that a heading gets on code-hosting sites: its words in small letters, joined by hyphens."""
    heading = _TITLES.get(name, name).lower()
    return "".join(letter for letter in heading if letter.isalnum() or letter in " -_").replace(" ", "-")


def _type(node: Node) -> str:
    if "const" in node or "enum" in node:
        return " or ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if _choices(node):
        return " or ".join(dict.fromkeys(_type(choice) for choice in _choices(node)))
    if "$ref" in node:
        return "see below"
    if node.get("type") == "object" and "properties" not in node:
        return "map"
    kinds = node.get("type", "any value")
    return " or ".join(_NOUNS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


if __name__ == "__main__":
    print(schema_as_markdown(analysis_schema()), end="")
