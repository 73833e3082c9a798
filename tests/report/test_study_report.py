"""The page of a study, in a real browser too."""

import copy
import json

import pytest
from markupsafe import escape

from receipt_counter.errors import UserError
from receipt_counter.report.study_report import write_study_report
from receipt_counter.storage.files import write_json
from receipt_counter.storage.labels import BOARD
from tests.report.fabricate import write_events
from tests.report.fabricate_search import fabricate_search
from tests.report.fabricate_study import fabricate_ablation, run_id
from tests.report.test_run_report import CHROMIUM, CONTENT_POLICY, browse


@pytest.fixture(scope="module")
def analysis():
    return fabricate_ablation()


def draw(directory, analysis):
    write_json(directory / "analysis.json", analysis)
    return write_study_report(directory).read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_figure_without_errors_and_without_network(analysis, tmp_path):
    page = draw(tmp_path, analysis)
    dom, console = browse(tmp_path / "report.html", tmp_path / "profile")
    assert CONTENT_POLICY in page
    assert console == []
    assert 'data-drawn="12"' in dom
    assert "language_weight_0" in dom


def test_every_finding_is_on_the_page_once_and_the_honest_line_stands_out(analysis, tmp_path):
    page = draw(tmp_path, analysis)
    for sentence in analysis["findings"]:
        assert page.count(str(escape(sentence))) == 1, sentence
    assert f'<p class="story lead">{escape(analysis["findings"][0])}</p>' in page
    assert '<p class="notice">3 seeds detect differences above 1.3 points of counting accuracy' in page


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("▲ better", id="better"),
        pytest.param("▼ worse", id="worse"),
        pytest.param("● undecided", id="undecided"),
        pytest.param("= identical", id="identical"),
        pytest.param("only seeds 42, 43", id="a seed less"),
        pytest.param("<dt>late_transitions</dt><dd>seed 44</dd>", id="missing"),
        pytest.param('−29 % <span class="interval">−32 % to −26 %</span>', id="saved time"),
        pytest.param("without_cross_attention and single_stage", id="crossed pair"),
        pytest.param("training.learning_rate=0.02", id="step of the path"),
        pytest.param("data.<wbr>augmentation=true", id="what it changes"),
        pytest.param("Loss weights</th>", id="family"),
        pytest.param("The study spent 0.3 device-hours on its trials: 0.29 for 35", id="cost"),
        pytest.param("<strong>ablation-0017</strong> exit status 1", id="failed trial"),
        pytest.param("RuntimeError: out of &lt;memory&gt;: 2.0 GiB wanted</pre>", id="last lines"),
        pytest.param("variant=late_transitions seed=44", id="what failed"),
        pytest.param("The runs of this study are not in the store beside it", id="no learning curves"),
    ],
)
def test_the_page_says(analysis, tmp_path, text):
    assert text in draw(tmp_path, analysis)


@pytest.mark.parametrize(
    ("empty", "section"),
    [
        pytest.param({"factorial": {}}, "factorial", id="nothing crossed"),
        pytest.param({"path": []}, "path", id="no path"),
        pytest.param({"missing": {}}, "missing", id="nothing missing"),
        pytest.param({"failures": {"trials": [], "counts": {}}}, "failures", id="nothing failed"),
        pytest.param({"slices": {}}, "slices", id="no slice large enough"),
        pytest.param({"ablation_analysis": {}, "variations": {}}, "effects", id="all failed"),
    ],
)
def test_empty_sections_are_left_out(analysis, tmp_path, empty, section):
    assert f'id="{section}"' in draw(tmp_path, analysis)
    page = draw(tmp_path, analysis | empty)
    assert f'id="{section}"' not in page
    assert f'href="#{section}"' not in page


def test_the_runs_beside_the_study_have_learning_curves(analysis, tmp_path):
    study = tmp_path / "studies" / "ablation"
    for variant in ("baseline", "single_stage", "with_augmentation"):
        write_events(tmp_path / "runs" / run_id(variant, 42) / "events", last_epoch=2)
    page = draw(study, analysis)
    # a figure of each family and of two metrics: the baseline stands in all of them
    families = {variation["family"] for variation in analysis["variations"].values()}
    assert page.count(": counting accuracy</h3>") == page.count(": BLEU</h3>") == len(families)
    assert "not in the store beside it" not in page


@pytest.mark.parametrize(
    ("board", "shown"),
    [
        pytest.param(
            {"link": "/receipt-counter/team/tensorboard/s/", "where": "TensorBoard of s: /receipt-counter"},
            '<a href="/receipt-counter/team/tensorboard/s/">TensorBoard of s: /receipt-counter</a>, unless',
            id="behind a gateway",
        ),
        pytest.param({"link": None, "where": "kubectl <forward>"}, "kubectl &lt;forward&gt;, unless", id="without one"),
    ],
)
@pytest.mark.parametrize("kind", ["ablation", "hyperparameter"])
def test_the_tensorboard_of_a_cluster_is_linked(analysis, kind, board, shown, tmp_path):
    found = analysis if kind == "ablation" else fabricate_search()
    assert "unless it was deleted since" not in draw(tmp_path, found)
    (tmp_path / BOARD).write_text(json.dumps(board))
    assert shown in draw(tmp_path, found)


def test_one_seed_has_no_band_and_says_so(analysis, tmp_path):
    alone = analysis | {"detectable": dict.fromkeys(analysis["detectable"]), "seeds": [42]}
    assert '<p class="notice">One seed' in draw(tmp_path, alone)


def test_text_from_outside_is_text_not_markup(analysis, tmp_path):
    hostile = "</script><script>alert(1)</script><b onclick=x>"
    text = json.dumps(copy.deepcopy(analysis)).replace("with_augmentation", hostile).replace("bright", hostile)
    page = draw(tmp_path, json.loads(text))
    assert "<script>alert" not in page
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file", id="not compared yet"),
        pytest.param("{", "not valid JSON", id="broken"),
        pytest.param('{"kind": "other"}', "kind is 'other'", id="another kind"),
        pytest.param("[]", "kind is None", id="a list"),
    ],
)
def test_mistakes(tmp_path, content, message):
    if content is not None:
        (tmp_path / "analysis.json").write_text(content)
    with pytest.raises(UserError, match=message):
        write_study_report(tmp_path)


def test_the_report_goes_where_it_is_told(analysis, tmp_path):
    write_json(tmp_path / "analysis.json", analysis)
    assert write_study_report(tmp_path, tmp_path / "here" / "x.html") == tmp_path / "here" / "x.html"
