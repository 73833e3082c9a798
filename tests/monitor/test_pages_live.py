"""Pages that stay open: while a run trains, while the monitor is away, and behind a path prefix."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

import pytest

from receipt_counter.config.loading import to_yaml
from receipt_counter.report.history import read_history
from receipt_counter.storage.files import write_atomic
from tests.monitor import pages_store
from tests.monitor.browser import CHROMIUM
from tests.monitor.conftest import served
from tests.monitor.support import scalar, write_events, write_record
from tests.report.fabricate_search import fabricate_rows
from tests.support import small_config, write_squares

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

LAST_STEP = """(() => { const plot = document.querySelector('#charts .js-plotly-plot');
  return plot ? Math.max(...plot.data.map(({ x }) => x.at(-1))) : 0; })()"""
WITHIN = 2.0  # seconds from a point's being written to its being drawn


def test_a_training_is_seen_within_two_seconds_and_nothing_moves(tab, tmp_path):
    """A real run trains; zoom, scroll and an open menu stay as they are while its points come in."""
    store = tmp_path / "store"
    (store / "runs").mkdir(parents=True)
    data = write_squares(tmp_path / "data", {"train": 64})
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(small_config("training.epochs=400", "training.schedule.epochs=400")))
    with served(store, tmp_path / "cache") as site:
        tab.open(site.url)
        assert "no runs yet" in tab.run("document.querySelector('#none').textContent")
        command = [sys.executable, "-m", "receipt_counter.training", "--config", config, "--data", data.path]
        with subprocess.Popen(
            [*command, "--store", store], start_new_session=True, stdout=subprocess.DEVNULL
        ) as training:
            try:
                run = tab.until("document.querySelector('#runs tbody th a')?.href", 60)
                assert tab.run("document.querySelector('#runs tbody .status').textContent").endswith("running")
                tab.open(run)
                tab.until(f"{LAST_STEP} > 3", 30)
                tab.run("document.querySelector('.picker').open = true; window.scrollTo(0, 150)")
                delays = delays_of(tab, next((store / "runs").iterdir()) / "events", count=5)
                assert statistics.median(delays) < WITHIN
                assert tab.run("[document.querySelector('.picker').open, window.scrollY]") == [True, 150]
                assert tab.run("performance.getEntriesByType('navigation').length") == 1
            finally:
                os.killpg(training.pid, signal.SIGKILL)
    assert tab.problems == []


def delays_of(tab, events, count):
    """Seconds between a step's being in the event file and its being drawn, of some steps."""
    written, delays = {}, []
    end = time.monotonic() + 40
    while len(delays) < count:
        assert time.monotonic() < end, delays
        step, drawn = read_history(events).last_step, tab.run(LAST_STEP)
        now = time.monotonic()
        written.setdefault(step, now)
        reached = [since for at, since in written.items() if at <= drawn]
        written = {at: since for at, since in written.items() if at > drawn}
        delays += [now - max(reached)] if reached else []
        time.sleep(0.05)
    return delays


def test_a_lost_connection_is_said_and_mended_by_itself(tab, pages_folder, tmp_path):
    with served(pages_folder, tmp_path / "cache") as site:
        tab.open(site.url)
        tab.until("document.querySelector('#connection').dataset.state === 'live'")
        port = int(site.url.rsplit(":", 1)[1].strip("/"))
    tab.until("document.querySelector('#connection').dataset.state === 'lost'")
    banner = "document.querySelector('#banner')"
    assert "connection to the monitor is lost" in tab.run(f"{banner}.textContent")
    assert tab.run(f"{banner}.hidden") is False
    assert tab.run("document.querySelectorAll('#runs tbody tr').length") > 3
    before = int(tab.run("document.documentElement.dataset.ready"))
    with served(pages_folder, tmp_path / "cache", port=port):
        tab.until("document.querySelector('#connection').dataset.state === 'live'", 20)
        assert tab.run(f"{banner}.hidden") is True
        tab.until(f"Number(document.documentElement.dataset.ready) > {before}")


def test_a_folder_out_of_sight_is_said_as_that(tab, tmp_path):
    """The monitor answers: it is its folder that is gone, and comes back."""
    folder = tmp_path / "store"
    write_record(folder / "runs" / "one")
    with served(folder, tmp_path / "cache") as site:
        folder.rename(tmp_path / "away")
        tab.open(site.url)
        banner = "document.querySelector('#banner')"
        tab.until(f"{banner}.textContent.includes('No such file')", 20)
        assert "connection" not in tab.run(f"{banner}.textContent")
        assert tab.run("document.querySelector('#connection').textContent") == "Folder out of sight"
        assert tab.run("document.querySelectorAll('#runs tbody tr').length") == 1
        (tmp_path / "away").rename(folder)
        tab.until(f"{banner}.hidden", 20)


def test_the_first_curve_takes_the_place_of_the_words_that_there_is_none(tab, tmp_path):
    run = tmp_path / "store" / "runs" / "one"
    write_record(run)
    with served(tmp_path / "store", tmp_path / "cache") as site:
        tab.open(f"{site.url}run?id=one")
        words = "document.querySelector('#curves').innerText.includes('Nothing has been logged yet')"
        assert tab.run(words)
        tab.until("document.querySelector('#connection').dataset.state === 'live'")
        write_events(run, scalar("loss", 1, 1.0) + scalar("loss", 2, 0.5))
        tab.until(f"{LAST_STEP} === 2")
        assert not tab.run(words)


@pytest.fixture(scope="module")
def prefixed(pages_folder, tmp_path_factory):
    with served(pages_folder, tmp_path_factory.mktemp("prefixed"), prefix="/team/monitor") as site:
        yield site


@pytest.mark.parametrize("entry", ["/", ""], ids=["slash", "no slash"])
def test_all_of_it_works_behind_a_path_prefix(prefixed, tab, entry):
    own = prefixed.url.rstrip("/")
    tab.call("Page.navigate", url=own + entry)
    tab.until("document.documentElement?.dataset.ready", 20)
    tab.open(tab.run(f"document.querySelector('#runs a[href*={prefixed.finished}]').href"))
    tab.until("document.querySelector('#connection').dataset.state === 'live'")
    tab.run("document.querySelector('#mistakes').scrollIntoView()")
    tab.until("[...document.querySelectorAll('.mistake img')].some((image) => image.naturalWidth > 0)")
    assert tab.problems == []
    assert [request for request in tab.requests if not request.startswith((own, "data:", "blob:"))] == []


def test_where_no_stream_gets_through_the_page_asks_again_and_again(site, tab):
    """As behind a proxy that holds streams back."""
    tab.call("Network.setBlockedURLs", urls=["*api/stream*"])
    tab.open(site.url)
    tab.until("document.querySelector('#connection').dataset.state === 'polling'")
    assert "asking every 3 seconds" in tab.run("document.querySelector('#banner').textContent")
    before = int(tab.run("document.documentElement.dataset.ready"))
    tab.until(f"Number(document.documentElement.dataset.ready) > {before}")


def test_trials_of_a_study_appear_as_they_end(tab, pages_folder, tmp_path):
    study = tmp_path / "store" / "studies" / pages_store.SEARCH
    (tmp_path / "store" / "runs").mkdir(parents=True)
    study.mkdir(parents=True)
    shutil.copy(pages_folder / "studies" / pages_store.SEARCH / "experiment.yaml", study)
    rows = [{key: row[key] for key in row if key != "log"} for row in fabricate_rows()]

    def ended(count):
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:count])
        write_atomic(study / "trials.csv", table.getvalue())

    ended(2)
    shown = "document.querySelectorAll('#trials tbody tr').length"
    with served(tmp_path / "store", tmp_path / "cache") as site:
        tab.open(f"{site.url}study?id={study.name}")
        assert tab.run(shown) == 2
        tab.run("window.stays = true")
        ended(6)
        tab.until(f"{shown} === 6", WITHIN)
        assert tab.run("document.querySelector('#failures-section').hidden") is False
        assert tab.run("document.querySelector('#trials tbody tr:last-child .status').textContent").endswith("failed")
        assert tab.run("window.stays") is True
