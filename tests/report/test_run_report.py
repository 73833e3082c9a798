"""The report in a real browser, and of runs in every state."""

import dataclasses
import json
import re
import shutil
import subprocess

import pytest

from receipt_counter.errors import UserError
from receipt_counter.report import story
from receipt_counter.report.contents import read_run
from receipt_counter.report.run_report import write_run_report
from receipt_counter.storage.files import write_json
from tests.report.fabricate import fabricate_run, record, write_events

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CONTENT_POLICY = "default-src 'none'"
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=20000"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser's own calls home go nowhere either
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fabricate_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run):
    return write_run_report(run).read_text(encoding="utf-8")


def browse(page, folder):
    """The page after its scripts have run, and what it wrote to the console."""
    done = subprocess.run(
        [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={folder}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_figure_without_errors_and_without_network(run, html, tmp_path):
    """The page forbids itself every request, so that one that is tried would stand in the console."""
    dom, console = browse(run / "report.html", tmp_path)
    assert CONTENT_POLICY in html
    assert console == []
    assert 'data-drawn="10"' in dom
    assert all(f'id="figure-{number}"' in dom for number in range(10))
    assert dom.count('class="main-svg"') >= 10
    assert "stage 3" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        pytest.param("<script>undefined_name()</script>", "undefined_name is not defined", id="error"),
        pytest.param('<img src="http://127.0.0.1:9/x.png">', "violates the following Content Security", id="picture"),
        pytest.param("<script>fetch('http://127.0.0.1:9/')</script>", "violates the following Content", id="fetch"),
    ],
)
def test_the_test_above_would_see_an_error_and_a_request(html, tmp_path, broken, message):
    page = tmp_path / "page.html"
    policy = re.search(rf"<meta [^>]*{re.escape(CONTENT_POLICY)}[^>]*>", html)[0]
    page.write_text(f"<!doctype html><head>{policy}</head><body>{broken}</body>")
    _, console = browse(page, tmp_path)
    assert any(message in line for line in console)


def test_the_page_refers_to_nothing_outside_itself(html):
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)  # but for the plotting library's unused servers
    assert not re.findall(r'(?:src|href)="(?!data:|#)', own)
    assert "url(" not in own


def test_the_page_tells_the_story(run, html):
    metrics = json.loads((run / "evaluation/test/metrics.json").read_text())["metrics"]
    accuracy = f"{100 * metrics['classification_accuracy']['value']:.1f} %"
    for text in (
        "baseline",
        "seed 42",
        f"counts {accuracy}",
        "Every promotion gate meets its target.",
        "6,144 rendered pictures of 128 pixels",
        "12 epochs, 3 stages",
        "1 min 8 s of device time",
        "9a0f6c1e55d2b741",
        "0.1.0+3fa94c1b22d0",
        "1.13 GB",
    ):
        assert text in html, text
    assert html.count('class="badge target"') == 7  # the headline's and six gates'


def test_the_gallery_shows_the_mistakes_with_their_pictures(html):
    assert html.count('<article class="card mistake">') == html.count('src="data:image/jpeg;base64,') > 10
    first = html[html.index('<article class="card mistake">') :]
    assert 'class="wrong">counted' in first[: first.index("</article>")]


def test_changed_values_of_the_config_stand_out(html):
    assert re.search(r'class="leaf changed">learning_rate: 0\.008 <span class="soft">reference 2e-05', html)
    assert re.search(r'class="leaf">betas: \[0\.9, 0\.999\]</div>', html)


def test_text_from_outside_is_text_not_markup(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    hostile = "</script><script>alert(1)</script>"
    file = copy / "evaluation/test/predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["answers"][0] |= {"predicted": hostile, "correct": False}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = json.loads((copy / "evaluation/test/metrics.json").read_text())
    metrics["slices"] = {hostile: {hostile: next(iter(metrics["slices"]["overlap"].values()))}}
    write_json(copy / "evaluation/test/metrics.json", metrics)
    write_json(copy / "run.json", record(experiment_name=hostile))
    assert hostile not in write_run_report(copy).read_text()


def test_the_report_goes_where_it_is_told(run, tmp_path):
    assert write_run_report(run, tmp_path / "here" / "x.html") == tmp_path / "here" / "x.html"
    assert (tmp_path / "here" / "x.html").stat().st_size < 7e6


@pytest.mark.parametrize(
    ("status", "error", "badge", "told"),
    [
        pytest.param("running", None, "running", "Training is under way: last heard of at step 250.", id="running"),
        pytest.param(
            "failed",
            {"message": "no disk space", "last_lines": ["step 249", "OSError: [Errno 28]"]},
            "failed",
            "The run failed at step 250.",
            id="failed",
        ),
        pytest.param("diverged", {"message": "the loss is nan"}, "diverged", "stopped being a number", id="diverged"),
        pytest.param("interrupted", None, "interrupted", "the same command continues it", id="interrupted"),
        pytest.param("finished", None, "trained", "has not been judged yet", id="not judged"),
    ],
)
def test_a_run_without_evaluation(tmp_path, status, error, badge, told):
    write_json(tmp_path / "run.json", record(status=status, error=error, ended=None))
    write_events(tmp_path / "events", last_epoch=4)
    html = write_run_report(tmp_path).read_text()
    assert f">{badge}</span>" in html
    assert told in html
    assert 'id="figure-3"' in html
    assert 'id="gates"' not in html
    for line in (error or {}).get("last_lines", [(error or {}).get("message", "")]):
        assert line in html


def test_a_run_that_has_only_just_begun(tmp_path):
    write_json(tmp_path / "run.json", {"status": "failed", "error": {"message": "out of memory"}})
    html = write_run_report(tmp_path).read_text()
    for text in ("out of memory", "before its first logged step", "Nothing has been logged yet", "no config.yaml"):
        assert text in html


def test_a_perfect_model_has_no_mistakes_to_show(tmp_path):
    html = write_run_report(fabricate_run(tmp_path, splits=("val",), skill=1.0)).read_text()
    assert "None: every count and every answer on val is right." in html
    assert "It miscounts none of them." in html


def test_a_bad_model_is_not_to_be_promoted(tmp_path):
    fabricate_run(tmp_path, splits=("test",), skill=0.6)
    told = story.headline(read_run(tmp_path))
    assert told.badge == "do not promote"
    assert "counting accuracy" in told.sentence
    assert "✗ failed" in write_run_report(tmp_path).read_text()


def test_no_run_directory_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"not a run directory \(no run\.json\)"):
        write_run_report(tmp_path)


def test_the_weakest_slice_is_named_only_if_it_is_clearly_weaker(run):
    contents = read_run(run)
    results = contents.results["test"]
    weak = {"n": 80, "classification_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    fine = {"n": 80, "classification_accuracy": {"value": 0.97, "low": 0.9, "high": 0.99}}
    tiny = {"n": 3, "classification_accuracy": {"value": 0.0, "low": 0.0, "high": 0.7}}

    def told(slices):
        judged = dataclasses.replace(results, metrics={**results.metrics, "slices": {"overlap": slices}})
        return " ".join(story.sentences(dataclasses.replace(contents, results={"test": judged})))

    assert "worst where overlap is heavy: 50.0 % (40.0–60.0 %) of 80 images" in told({"heavy": weak, "none": fine})
    assert "counted clearly worse" in told({"light": fine, "none": fine})
    assert "counted clearly worse" in told({"odd": tiny, "none": fine})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (51.7, "52 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (4320, "1 h 12 min")],
)
def test_durations(seconds, text):
    assert story.duration(seconds) == text
