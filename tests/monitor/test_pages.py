"""The pages in a real browser: what they show, what their links keep, and how they behave."""

import json
import re
import time
from pathlib import Path

import httpx
import pytest
from axe_core_python.base import AXE_FILE_PATH

from receipt_counter.storage.files import write_atomic
from tests.monitor.browser import CHOOSE, CHROMIUM
from tests.monitor.conftest import served
from tests.monitor.support import scalar, write_events, write_record

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

DRAWN = "document.querySelectorAll('#charts [data-drawn], #figures [data-drawn]').length"
SERIOUS = ("moderate", "serious", "critical")


def pages(site):
    """{name: address} of every page, with something to show."""
    return {
        "home": site.url,
        "run": f"{site.url}run?id={site.finished}",
        "failed": f"{site.url}run?id={site.failed}",
        "compare": f"{site.url}compare?ids={','.join(site.seeds)}",
        "study": f"{site.url}study?id={site.study}",
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["home", "run", "failed", "compare", "study"])
def test_a_page_is_drawn_without_errors_network_or_barriers(site, tab, name, dark):
    tab.dark(dark)
    tab.open(pages(site)[name])
    if name in ("run", "compare", "study"):
        tab.until(f"{DRAWN} > 0")
    tab.until("getComputedStyle(document.body).backgroundColor !== ''")
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 21, 26)" if dark else "rgb(246, 247, 249)")
    assert barriers(tab) == []
    assert tab.problems == []
    assert [request for request in tab.requests if not request.startswith((site.url, "data:", "blob:"))] == []


def barriers(tab):
    """What axe-core finds, as text; Plotly's drawings are hidden from readers and judged by their summaries."""
    tab.call("Runtime.evaluate", expression=Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
    found = tab.run("axe.run({ exclude: [['.js-plotly-plot']] })")["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("name", ["home", "run", "failed", "compare", "study"])
def test_a_narrow_screen_needs_no_sideways_scrolling(site, tab, name):
    tab.size(360, 740)
    tab.open(pages(site)[name])
    assert tab.run("document.documentElement.scrollWidth") == 360


def test_the_first_tab_stop_leads_to_the_content(site, tab):
    tab.open(site.url)
    tab.press("Tab")
    assert tab.run("document.activeElement.textContent") == "Skip to content"
    tab.press("Enter")
    assert tab.run("document.activeElement.id") == "main"


AREA = """(({ x, y, width, height }) => [x, y, width, height])(
  document.querySelector('.chart .nsewdrag').getBoundingClientRect())"""
RANGES = """[...document.querySelectorAll('#charts .js-plotly-plot')].map(
  (plot) => plot._fullLayout.xaxis.range.map((end) => Math.round(end)).join())"""
RANGE = "document.querySelector('.chart .plot')._fullLayout.xaxis.range.map(Number)"


def test_a_zoom_is_shared_by_the_curves_and_kept_by_the_link(site, tab):
    tab.open(f"{site.url}run?id={site.finished}")
    tab.until(f"{DRAWN} > 2")
    before = tab.run(RANGE)
    x, y, width, height = tab.run(AREA)
    tab.drag((x + 0.3 * width, y + height / 2), (x + 0.7 * width, y + height / 2))
    tab.until("location.search.includes('from=')")
    tab.until(f"{RANGE}[0] > {before[0]} + 1")
    tab.until(f"new Set({RANGES}).size === 1")
    zoomed, link = tab.run(RANGE), tab.run("location.href")
    tab.open(link)
    tab.until(f"{DRAWN} > 0")
    assert tab.run(RANGE) == pytest.approx(zoomed, abs=0.02)
    tab.run("document.querySelector('[data-key=reset]').click()")
    tab.until("!location.search.includes('from=')")
    tab.until(f"Math.abs({RANGE}[0] - {before[0]}) < 1")


@pytest.fixture(scope="module")
def long_runs(tmp_path_factory):
    """Two runs of more points than a chart of compare is asked for; one without any comes first."""
    folder = tmp_path_factory.mktemp("long")
    for name in ("a-first", "long-1", "long-2"):
        write_record(folder / "runs" / name, status="finished", experiment_name=name[:4])
    for name in ("long-1", "long-2"):
        losses = (scalar("train_total_loss", step, 2000 / (step + 7)) for step in range(2000))
        write_events(folder / "runs" / name, b"".join(losses))
    with served(folder, tmp_path_factory.mktemp("long-cache")) as running:
        yield running


POINTS_INSIDE = """((from, to) => [...document.querySelectorAll('#charts .js-plotly-plot')].flatMap((plot) => plot.data
  .filter(({ hoverinfo }) => hoverinfo !== 'skip').map(({ x }) => x.filter((at) => at >= from && at <= to).length)))"""


@pytest.mark.parametrize("group", ["", "&group=none"], ids=["bands", "runs"])
def test_a_zoom_into_runs_side_by_side_shows_every_point(long_runs, tab, group):
    tab.open(f"{long_runs.url}compare?ids=a-first,long-1,long-2&tags=train_total_loss{group}")
    tab.until(f"{DRAWN} > 0")
    curves = 2 if group else 1
    assert max(tab.run(f"{POINTS_INSIDE}(1000, 1100)")) < 50
    x, y, width, height = tab.run(AREA)
    tab.drag((x + 0.5 * width, y + height / 2), (x + 0.56 * width, y + height / 2))
    tab.until("location.search.includes('from=')")
    seen = "new URLSearchParams(location.search)"
    start, end = (float(tab.run(f"{seen}.get('{name}')")) for name in ("from", "to"))
    inside = sum(start <= step <= end for step in range(2000))
    assert inside > 60
    tab.until(f"{POINTS_INSIDE}({start}, {end}).join() === '{','.join(curves * [str(inside)])}'")
    tab.open(tab.run("location.href"))
    tab.until(f"{DRAWN} > 0")
    assert tab.run(f"{POINTS_INSIDE}({start}, {end})") == curves * [inside]
    tab.run("document.querySelector('[data-key=reset]').click()")
    tab.until(f"Math.max(...{POINTS_INSIDE}(0, 2000)) > {inside + 1}")
    assert tab.problems == []


def test_smoothing_scale_axis_and_curves_are_kept_by_the_link(site, tab):
    view = "smooth=0.6&log=1&x=time&tags=train_total_loss,learning_rate_head"
    tab.open(f"{site.url}run?id={site.finished}&{view}")
    tab.until(f"{DRAWN} === 2")
    found = tab.run("""[...document.querySelectorAll('#charts .js-plotly-plot')].map((plot) => [
      plot._fullLayout.xaxis.type, plot._fullLayout.yaxis.type,
      plot.data.length, plot.data[1].y[5] !== plot.data[0].y[5]])""")
    assert found == [["date", "log", 2, True]] * 2
    assert tab.run("document.querySelector('#controls [type=range]').value") == "0.6"
    assert tab.run("document.querySelector('#controls [data-key=log]').checked")
    tab.run("document.querySelector('[data-key=\"tag-train_cls_loss\"]').click()")
    tab.until("document.querySelector('#charts .js-plotly-plot').data.length === 4")
    assert "train_cls_loss" in tab.run("location.search")


def test_the_theme_can_be_chosen_and_is_handed_on(site, tab):
    tab.open(site.url)
    tab.run(f"{CHOOSE}('#theme', 'dark')")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 26)"
    assert "theme=dark" in tab.run("location.search")
    tab.until("document.querySelector('#runs tbody th a').href.includes('theme=dark')")
    tab.open(f"{site.url}?theme=light")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"


SAVE_ALL = """(async () => {
  const files = [];
  let blob = null;
  const make = URL.createObjectURL;
  URL.createObjectURL = (content) => { blob = content; return make.call(URL, content); };
  const first = async (href) => [...href.startsWith("data:")
    ? Uint8Array.from(atob(href.split(",")[1].slice(0, 80)), (letter) => letter.charCodeAt(0))
    : new Uint8Array(await blob.slice(0, 60).arrayBuffer())];
  HTMLAnchorElement.prototype.click = function () {
    files.push(first(this.href).then((head) => [this.download, head]));
  };
  const charts = [...document.querySelectorAll(".chart")];
  for (const chart of charts) {
    for (const tool of [...chart.querySelectorAll(".tool")].slice(1)) {
      const before = files.length;
      tool.click();
      while (files.length === before) await new Promise((done) => setTimeout(done, 5));
      await files.at(-1);
    }
  }
  return [charts.length, await Promise.all(files)];
})()"""


@pytest.mark.parametrize("name", ["run", "compare", "study"])
def test_every_chart_gives_csv_png_and_svg(site, tab, name):
    tab.open(pages(site)[name])
    tab.until(f"{DRAWN} > 0")
    charts, files = tab.run(SAVE_ALL)
    assert len(files) == 3 * charts > 0
    for file, head in files:
        start = {".png": b"\x89PNG", ".svg": b"<svg", ".csv": b""}[Path(file).suffix]
        assert bytes(head).startswith(start), file
        assert len(head) > 10, file
    assert tab.problems == []


def test_a_chart_has_its_data_as_a_table(site, tab):
    tab.open(f"{site.url}run?id={site.finished}")
    tab.until(f"{DRAWN} > 0")
    tab.run("document.querySelector('.chart .tool').click()")
    cells = tab.run("[...document.querySelectorAll('.chart .data tbody tr')].map((row) => row.children.length)")
    assert len(cells) > 10
    assert set(cells) == {4}
    assert re.match(
        r"Loss in training: Total [\d.]+ at step \d+",
        tab.run("document.querySelector('.chart .plot').getAttribute('aria-label')"),
    )


def test_what_a_page_says_of_a_run(site, tab):
    tab.open(f"{site.url}run?id={site.finished}")
    tab.until("document.querySelectorAll('.mistake').length > 3")
    text = tab.run("document.querySelector('main').innerText")
    for part in (
        "finished",
        "Loss in training",
        "Learning rate",
        "ROUGE",
        "Promotion gates",
        "truth",
        "Code version",
        "data.image_size",
    ):
        assert part in text, part
    tab.run("document.querySelector('#differing').click()")
    assert "differing=1" in tab.run("location.search")
    assert tab.run(
        "[...document.querySelectorAll('#config-table tbody tr')].every((row) => row.className === 'differs')"
    )


def test_seeds_are_grouped_into_bands(site, tab):
    tab.open(pages(site)["compare"])
    tab.until(f"{DRAWN} > 0")
    names = "document.querySelector('#charts .js-plotly-plot').data.filter(({ name }) => name).map(({ name }) => name)"
    grouped = tab.run(names)
    assert any("seeds)" in name for name in grouped)
    tab.run("document.querySelector('[data-key=group]').click()")
    tab.until(f"{names}.length === {len(site.seeds)}")
    assert "group=none" in tab.run("location.search")
    assert tab.run("document.querySelectorAll('#metrics .best').length") > 0


def test_two_changes_in_a_row_are_both_shown_at_once(site, tab):
    tab.open(site.url)
    tab.until("document.querySelector('#connection').dataset.state === 'live'")
    tab.run("""(() => { const ask = window.fetch; window.asked = 0; window.fetch = async (...given) => {
      window.asked += String(given[0]).startsWith('api/experiments');
      await new Promise((done) => setTimeout(done, 300));
      return ask(...given); }; })()""")
    tab.run(f"{CHOOSE}('#theme', 'dark')")
    tab.run(f"{CHOOSE}('#theme', 'light')")
    tab.until("window.asked === 2", 2.5)


ANSWER = """(() => {{ const ask = window.fetch; window.fetch = async (...given) => {{
  const [address, answer] = [String(given[0]), await ask(...given)];
  window.addresses = [...(window.addresses ?? []), address];
  {} return answer; }}; }})()"""


def answering(tab, script):
    """What the monitor answers to the page, changed on its way by a script that knows `address` and `answer`."""
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=ANSWER.format(script))


def test_reading_is_shown_until_it_has_ended(site, tab, pages_folder):
    """However few runs change last."""
    answering(
        tab,
        """if (address === "api/experiments" && !window.told) { window.told = true;
             return Response.json({ ...await answer.json(), scanning: { done: 1, total: 9 } }); }""",
    )
    tab.open(site.url)
    overview = "document.querySelector('#overview').textContent"
    assert "1 / 9read" in tab.run(overview)
    tab.until("document.querySelector('#connection').dataset.state === 'live'")
    record = pages_folder / "runs" / site.failed / "run.json"
    write_atomic(record, record.read_text() + "\n")  # written in place it would be seen at the next sweep only
    tab.until(f"!{overview}.includes('read')")


def test_a_variant_of_two_studies_is_two_groups(site, tab):
    answering(
        tab,
        """if (address.startsWith("api/compare")) { const found = await answer.json();
             const named = (place) => ({ variant: "same", study: `study-${place % 2}` });
             found.experiments.forEach((run, place) => Object.assign(run, named(place)));
             return Response.json(found); }""",
    )
    tab.open(pages(site)["compare"])
    looks = "[...document.querySelectorAll('#chosen .swatch')].map((one) => one.style.borderTopColor)"
    colours = tab.run(looks)
    assert (len(colours), len(set(colours))) == (4, 2)


def test_of_two_splits_chosen_in_a_row_the_later_one_is_shown(site, tab):
    answering(tab, "if (address.includes('split=val')) await new Promise((done) => setTimeout(done, 700));")
    tab.open(f"{site.url}run?id={site.finished}")
    tab.until("document.querySelectorAll('.mistake').length > 3")
    confusion = "document.querySelector('#evaluation-charts .plot').getAttribute('aria-label')"
    before = tab.run(confusion)
    for split in ("val", "analysis"):
        tab.run(f"document.querySelector('#splits [data-key={split}]').click()")
    asked = "window.addresses.filter((address) => address.includes('/slices')).length"
    tab.until(f"{asked} === 3")
    time.sleep(1)
    assert tab.run("location.search.includes('split=analysis')")
    assert tab.run(confusion) == before


def test_the_latest_figures_are_the_latest_in_a_zoom_too(site, tab):
    def step():
        tab.until("document.querySelectorAll('#tiles .tile').length > 2")
        return tab.run("document.querySelector('#tiles').textContent.match(/step (\\d+)/)[1]")

    tab.open(f"{site.url}run?id={site.finished}")
    last = step()
    tab.open(f"{site.url}run?id={site.finished}&from=10&to=100")
    assert (step(), int(last) > 100) == (last, True)


def test_an_unknown_run_is_said(site, tab):
    tab.open(f"{site.url}run?id=..%2F..%2Fetc")
    assert "There is no such run" in tab.run("document.querySelector('main').textContent")


def test_a_report_is_saved_and_never_run_here(site, pages_folder):
    report = pages_folder / "studies" / site.study / "report.html"
    address = f"{site.url}report?study={site.study}"
    assert httpx.get(address).json()["detail"].startswith("this study has no report yet")
    report.write_text("<script>alert(1)</script>")
    answer = httpx.get(address)
    report.unlink()
    assert answer.text == "<script>alert(1)</script>"
    assert answer.headers["content-disposition"] == f'attachment; filename="{site.study}-report.html"'
    report.symlink_to("/etc/hostname")
    assert httpx.get(address).status_code == 404
    report.unlink()
    assert httpx.get(f"{site.url}report?study=..%2Fruns").status_code == 404


def test_static_files_are_kept_by_the_browser(site, tab):
    tab.open(f"{site.url}run?id={site.finished}")
    library = tab.run("document.querySelector('script[src*=plotly]').src")
    assert "immutable" in tab.run(f"fetch({json.dumps(library)}).then((answer) => answer.headers.get('cache-control'))")
    style = f"{site.url}static/style.css"
    assert tab.run(f"fetch({json.dumps(style)}).then((answer) => answer.headers.get('etag'))")
    policy = tab.run("fetch(location.href).then((answer) => answer.headers.get('content-security-policy'))")
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert not any(loose in scripts for loose in ("unsafe", "http", "*"))


def test_figures_are_written_as_in_reports(site, tab):
    tab.open(site.url)
    module = f"import('{site.url}static/{{}}.js')"
    shares = [0.8825, 0.8835, 0.8875, -0.0125, 0.12349, 1.0]
    script = (
        f"{module.format('format')}.then((m) => {shares}.map((share) => m.figure('classification_accuracy', share)))"
    )
    assert tab.run(script) == [f"{100 * share:.1f} %" for share in shares]
    parameters = json.dumps({"rate": "0.019200619610764906", "batch": "32", "name": "adam", "none": ""})
    script = f"{module.format('study_cards')}.then((m) => m.parameterText({parameters}))"
    assert tab.run(script) == "rate 0.0192, batch 32, name adam, none "
