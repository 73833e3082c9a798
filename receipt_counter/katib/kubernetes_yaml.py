"""YAML as kubectl reads it: the types of plain scalars, and text written so that they stay text.

PyYAML follows YAML 1.1 and differs from kubectl's parser (sigs.k8s.io/yaml, that is go-yaml) where it hurts a study:
`1e-5` is a number there and text here, `1:30` and `2026-01-01` the other way round.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:y|Y|n|N|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_MERGE = re.compile(r"^<<$")
_LIKE_A_NUMBER = re.compile(r"^[-+.]*[0-9].*$|^[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)$", re.DOTALL)


class KubernetesLoader(yaml.SafeLoader):
    """Gives plain scalars the types that kubectl gives them."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # per class, as PyYAML uses it
    bool_values: ClassVar[dict[str, bool]] = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


class KubernetesDumper(yaml.SafeDumper):
    """Quotes text that any YAML parser could take for something else; writes several lines as a block."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # per class, as PyYAML uses it

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: no anchors."""
        return True


for _kind, _pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT), ("merge", _MERGE)):
    for _class in (KubernetesLoader, KubernetesDumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", _pattern, None)
# After the exact ones: no value has this tag, so text that looks like a number is always quoted.
KubernetesDumper.add_implicit_resolver(f"{_TAG}timestamp", _LIKE_A_NUMBER, None)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # The rarer line breaks of YAML 1.1 survive only as escapes.
    style = '"' if any(character in text for character in "\x85\u2028\u2029\ufeff") else "|" if "\n" in text else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


KubernetesDumper.add_representer(str, _represent_text)


def dump(*objects: dict[str, Any]) -> str:
    """One YAML document per object, keys in the order given."""
    text: str = yaml.dump_all(
        objects, Dumper=KubernetesDumper, sort_keys=False, allow_unicode=True, width=10**6, explicit_start=True
    )
    return text


def parse(text: str) -> Any:
    """The first document of a text that holds YAML or JSON.

    Raises:
        yaml.YAMLError: it holds neither.
    """
    return yaml.load(text, Loader=KubernetesLoader)
