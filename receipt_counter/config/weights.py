"""Finding pretrained weights that are already on this machine; nothing is ever downloaded."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError


def find_weights(name: str) -> Path | None:
    """The directory of a checkpoint.

    Args:
        name: a directory with a config.json, or a hub name ("OpenGVLab/InternVL3-1B-hf") in the local hub cache.

    Returns:
        The directory, or None when the weights are not on this machine.
    """
    if (Path(name) / "config.json").is_file():
        return Path(name)
    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    if not isinstance(cached, str):
        return None
    directory = Path(cached).parent
    return directory if any(directory.glob("*.safetensors")) else None
