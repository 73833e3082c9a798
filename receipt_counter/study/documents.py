"""Reading the Experiments that `plan` wrote: what travels with one in its ConfigMap and annotations."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from receipt_counter.config.loading import build, parse_config
from receipt_counter.config.schema import Config
from receipt_counter.config.source import read_yaml
from receipt_counter.config.validation import coerce, declarations
from receipt_counter.errors import UserError
from receipt_counter.katib.experiment import StudyDocument, read_document
from receipt_counter.study.compile import PRESET_ANNOTATION, SETTINGS_FILE, SPLIT_ANNOTATION
from receipt_counter.study.settings import StudySettings
from receipt_counter.study.trial_job import CONFIG_FILE

_SETTINGS = {name: (hint, item) for name, hint, item in declarations(StudySettings)}


def parse_document(text: str) -> StudyDocument:
    """A study from the text that `document_text` made, as pipeline steps hand it on.

    Raises:
        UserError: see `read_document`.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "experiment.yaml"
        path.write_text(text, encoding="utf-8")
        return read_document(path)


def study_files(document: StudyDocument) -> Mapping[str, str]:
    """The files that travel with an Experiment of ours.

    Raises:
        UserError: it is somebody else's.
    """
    for files in document.config_maps.values():
        if CONFIG_FILE in files:
            return files
    raise UserError(f"its ConfigMaps hold no {CONFIG_FILE}: only studies made by `plan` can be compared")


def base_config(files: Mapping[str, str]) -> Config:
    """The config that every variant of a study changes."""
    return parse_config(files[CONFIG_FILE])


def study_settings(files: Mapping[str, str]) -> StudySettings:
    """The settings of the study file that a search was planned from.

    Raises:
        UserError: another version wrote it, with settings that this one does not know.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / SETTINGS_FILE
        path.write_text(files[SETTINGS_FILE], encoding="utf-8")
        written = read_yaml(path)
    unknown = next((setting.name for setting in written if setting.name not in _SETTINGS), None)
    if unknown:
        raise UserError(f"{SETTINGS_FILE}: {unknown}: no setting of this version, but of another; plan the study again")
    values = {setting.name: coerce(setting.name, setting.value, _SETTINGS) for setting in written}
    settings: StudySettings = build(values, StudySettings)
    return settings


def preset_of(document: StudyDocument) -> str:
    """The preset that a study's config was resolved with."""
    return _annotation(document, PRESET_ANNOTATION)


def split_of(document: StudyDocument) -> str:
    """The split that a study's trials are judged on."""
    return _annotation(document, SPLIT_ANNOTATION)


def _annotation(document: StudyDocument, name: str) -> str:
    value: str = document.experiment.metadata.annotations[name]
    return value
