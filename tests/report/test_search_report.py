"""The page of a search, in a real browser too."""

import copy
import json

import pytest
from markupsafe import escape

from receipt_counter.report.study_report import write_study_report
from receipt_counter.storage.files import write_json
from receipt_counter.study.search_analysis import analyse_search
from receipt_counter.study.settings import Objective
from tests.report.fabricate import write_events
from tests.report.fabricate_search import SPACE, fabricate_confirmation, fabricate_rows, fabricate_search
from tests.report.fabricate_study import PRIORITY, run_id
from tests.report.test_run_report import CHROMIUM, CONTENT_POLICY, browse


@pytest.fixture(scope="module")
def analysis():
    return fabricate_search()


@pytest.fixture(scope="module")
def confirmed(analysis):
    return {**analysis, "confirmation": fabricate_confirmation()}


def draw(directory, analysis):
    write_json(directory / "analysis.json", analysis)
    return write_study_report(directory).read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_figure_without_errors_and_without_network(confirmed, tmp_path):
    page = draw(tmp_path, confirmed)
    dom, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert CONTENT_POLICY in page
    assert console == []
    figures = 1 + 1 + 1 + len(SPACE) + 1 + 3 + 3
    assert f'data-drawn="{figures}"' in dom
    assert dom.count('class="main-svg"') >= figures


def test_every_finding_is_on_the_page_once_and_the_honest_line_stands_out(analysis, tmp_path):
    page = draw(tmp_path, analysis)
    for sentence in analysis["findings"]:
        assert page.count(str(escape(sentence))) == 1, sentence
    assert f'<p class="story lead">{escape(analysis["findings"][0])}</p>' in page
    assert '<p class="notice">20 trials are few: importances of parameters below 0.' in page


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("24 trials over 6 parameters · objective counting accuracy · judged on the split val", id="what"),
        pytest.param("<strong>hparam-opt-0018</strong>best by counting accuracy", id="best by the objective"),
        pytest.param("best by BLEU, ROUGE-1", id="best by others, told once"),
        pytest.param("training.<wbr>learning_<wbr>rate", id="parameter"),
        pytest.param("[128, 64]</td>", id="list"),
        pytest.param("fANOVA (Hutter, Hoos, Leyton-Brown 2014)", id="method"),
        pytest.param("<strong>1 · hparam-opt-0018</strong>", id="front"),
        pytest.param("The study spent 0.37 device-hours on its trials: 0.33 for 20 that succeeded", id="cost"),
        pytest.param("Early stopping saved about 0.033 device-hours", id="saved"),
        pytest.param("<strong>hparam-opt-0005</strong> exit status 1", id="failed trial"),
        pytest.param("RuntimeError: out of &lt;memory&gt;: 2.0 GiB wanted</pre>", id="last lines"),
        pytest.param("only other seeds and the test split can say", id="not confirmed yet"),
    ],
)
def test_the_page_says(analysis, tmp_path, text):
    assert text in draw(tmp_path, analysis)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("retrained with seeds 142, 143, 144 that the search has not seen, on the split test", id="lead"),
        pytest.param("gains 3.1 points of counting accuracy (95 % interval +1.9 to +4.3", id="finding"),
        pytest.param('<strong>+3.1</strong> <span class="badge target">▲ better</span>', id="effect"),
        pytest.param("+1.9 to +4.3</span>", id="interval"),
        pytest.param("<span>87.0 %</span>", id="baseline"),
        pytest.param("3 seeds detect differences above 1.5 points", id="honest line"),
    ],
)
def test_a_confirmation_is_shown(confirmed, tmp_path, text):
    page = draw(tmp_path, confirmed)
    assert text in page
    assert "only other seeds and the test split can say" not in page


def test_a_confirmation_has_the_learning_curves_of_its_runs(confirmed, tmp_path):
    study = tmp_path / "studies" / "hparam-opt"
    assert "Learning curves" not in draw(study, confirmed)
    for variant in ("baseline", "winner"):
        write_events(tmp_path / "runs" / run_id(variant, 142) / "events", last_epoch=2)
    page = draw(study, confirmed)
    assert "Learning curves on val" in page
    assert page.count("Search: counting accuracy</h3>") == page.count("Search: BLEU</h3>") == 1


@pytest.mark.parametrize("absent", [{"confirmation": None}, {}], ids=["null", "no key"])
def test_no_confirmation_has_no_section(analysis, tmp_path, absent):
    bare = {key: value for key, value in analysis.items() if key != "confirmation"}
    assert 'id="confirmation"' not in draw(tmp_path, {**bare, **absent})


def failed(rows):
    return [{**row, "status": "failed", **dict.fromkeys(PRIORITY)} for row in rows]


@pytest.mark.parametrize(
    ("rows", "there", "gone"),
    [
        pytest.param(
            failed(fabricate_rows()),
            ["failures", "cost"],
            ["best", "history", "parallel", "importance"],
            id="all failed",
        ),
        pytest.param(fabricate_rows()[:1], ["best", "parallel", "sensitivity"], ["failures", "importance"], id="one"),
        pytest.param(fabricate_rows()[:4], ["best", "correlations"], ["importance"], id="too few for importances"),
    ],
)
def test_empty_sections_are_left_out(tmp_path, rows, there, gone):
    page = draw(tmp_path, analyse_search(rows, SPACE, Objective(), PRIORITY, resamples=2))
    assert [name for name in (*there, *gone) if f'id="{name}"' in page] == there
    assert [name for name in (*there, *gone) if f'href="#{name}"' in page] == there


def test_text_from_outside_is_text_not_markup(confirmed, tmp_path):
    hostile = "</script><script>alert(1)</script><b onclick=x>"
    text = json.dumps(copy.deepcopy(confirmed))
    for name in ("hparam-opt-0018", "layer", "loss_weights", "winner", "exit status 1"):
        text = text.replace(name, hostile)
    page = draw(tmp_path, json.loads(text))
    assert "<script>alert" not in page
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page
