"""The schema of analysis.json: it holds of analyses, refuses what they are not, and the page is made from it."""

import copy
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from receipt_counter.study.schema import analysis_schema, schema_as_markdown
from receipt_counter.study.search_analysis import analyse_search
from receipt_counter.study.settings import Objective
from tests.report.fabricate_search import SPACE, fabricate_confirmation, fabricate_rows, fabricate_search
from tests.report.fabricate_study import PRIORITY, fabricate_ablation

PAGE = Path(__file__).parents[2] / "docs" / "ANALYSIS.md"
VALIDATOR = Draft202012Validator(analysis_schema())


def mistakes(analysis):
    """What the schema says against an analysis, as [path: message]."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(analysis)]


def search_of(rows):
    return analyse_search(rows, SPACE, Objective(), PRIORITY, resamples=2)


def test_it_is_a_schema():
    Draft202012Validator.check_schema(analysis_schema())


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(fabricate_ablation, id="ablation"),
        pytest.param(fabricate_search, id="search"),
        pytest.param(lambda: {**fabricate_search(), "confirmation": fabricate_confirmation()}, id="confirmed search"),
        pytest.param(lambda: search_of(fabricate_rows()[:2]), id="search of two trials"),
        pytest.param(lambda: search_of(fabricate_rows()[5:6]), id="search that failed"),
        pytest.param(lambda: {**fabricate_ablation(), "factorial": {}}, id="a new key at the top"),
    ],
)
def test_analyses_are_as_it_says(make):
    assert mistakes(make()) == []


@pytest.mark.parametrize(
    ("make", "path", "value", "message"),
    [
        pytest.param(fabricate_ablation, ("kind",), "other", "'other' is not one of", id="kind"),
        pytest.param(fabricate_ablation, ("cost",), None, "None is not of type 'object'", id="no cost"),
        pytest.param(
            fabricate_ablation,
            ("ablation_analysis", "single_stage", "generation_bleu", "verdict"),
            "perhaps",
            "'perhaps' is not one of",
            id="verdict",
        ),
        pytest.param(
            fabricate_ablation, ("variations", "single_stage", "colour"), "red", "'colour' was unexpected", id="new key"
        ),
        pytest.param(fabricate_ablation, ("baseline_runs", "42"), 7, "7 is not of type 'string'", id="run"),
        pytest.param(fabricate_search, ("objective", "goal"), "high", "'high' is not of type 'number'", id="goal"),
        pytest.param(
            fabricate_search, ("confirmation",), {"kind": "ablation"}, "not valid under any", id="confirmation"
        ),
        pytest.param(
            fabricate_search, ("search_space", "data.augmentation", "values"), [], "not valid under any", id="no values"
        ),
    ],
)
def test_what_is_no_analysis_is_refused(make, path, value, message):
    analysis = copy.deepcopy(make())
    *parents, last = path
    place = analysis
    for key in parents:
        place = place[key]
    place[last] = value
    found = mistakes(analysis)
    assert any(message in text for text in found), found


@pytest.mark.parametrize("make", [fabricate_ablation, fabricate_search], ids=["ablation", "search"])
def test_no_key_can_be_missing(make):
    analysis = make()
    for key in analysis.keys() - {"confirmation"}:
        assert mistakes({name: value for name, value in analysis.items() if name != key}), key


def described(node):
    """Every property of a schema: (name, its schema)."""
    yield from node.get("properties", {}).items()
    for value in node.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from described(inner)


def test_every_field_is_described():
    bare = [
        name
        for name, child in described(analysis_schema()["$defs"])
        if not child.get("description") and "$ref" not in child
    ]
    assert bare == []


def test_the_page_is_made_from_it():
    assert PAGE.read_text(encoding="utf-8") == schema_as_markdown(analysis_schema())


def test_the_page_names_every_field_and_its_links_lead_somewhere():
    page = schema_as_markdown(analysis_schema())
    for name, _ in described(analysis_schema()["$defs"]):
        assert f"- `{name}` (" in page
    headings = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in page.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= headings
