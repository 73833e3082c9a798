"""The home page in a real browser: what comes first, and filters, chosen runs and columns that its link keeps."""

import pytest

from tests.monitor.browser import CHOOSE, CHROMIUM, READY

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def test_failures_come_first_and_names_are_text(site, tab):
    tab.open(site.url)
    first = "document.querySelector('#runs tbody tr')"
    assert tab.run(f"{first}.querySelector('.status').textContent").endswith("failed")
    assert tab.run(f"{first}.querySelector('th').textContent") == site.hostile
    tab.run(f"{first}.querySelector('th a').click()")
    tab.until(READY.format("run"))
    assert site.hostile in tab.run("document.querySelector('h1').textContent")
    assert tab.run("document.querySelectorAll('main img[src=x]').length") == 0
    assert tab.run("window.hacked") is None


ROWS = "[document.querySelector('#runs tbody').textContent, document.querySelector('#count').textContent]"


def test_filters_live_in_the_link(site, tab):
    tab.open(site.url)
    tab.run(f"{CHOOSE}('[name=q]', 'seed 43')")
    tab.run(f"{CHOOSE}('[name=sort]', 'device')")
    tab.run("document.querySelector('#chips [data-key=finished]').click()")
    shown, link = tab.run(ROWS), tab.run("location.search")
    assert all(part in link for part in ("q=seed+43", "sort=device", "status=finished"))
    assert shown[1].startswith("2 of")
    tab.open(site.url + link)
    assert tab.run(ROWS) == shown
    assert tab.run("document.forms.filters.q.value") == "seed 43"


def test_runs_are_chosen_and_compared_with_the_keyboard_alone(site, tab):
    tab.open(f"{site.url}?q=seed&status=finished")
    tab.run("document.querySelector('#runs tbody input').focus()")
    for place in range(2):
        tab.press(" ")
        assert tab.run("document.activeElement.type") == "checkbox", place
        if place == 0:
            tab.run("document.querySelectorAll('#runs tbody input')[1].focus()")
    assert tab.run("document.querySelector('#compare-selected').textContent") == "Compare 2"
    tab.run("document.querySelector('#compare-selected').focus()")
    tab.press("Enter")
    tab.until(READY.format("compare"))
    assert tab.run("document.querySelectorAll('#chosen .pill').length") == 2


def test_what_was_chosen_can_be_cleared(site, tab):
    tab.open(site.url)
    for place in range(2):
        tab.run(f"document.querySelectorAll('#runs tbody input')[{place}].click()")
    assert tab.run("document.querySelectorAll('#runs tbody input:checked').length") == 2
    tab.run("document.querySelector('#clear').click()")
    assert tab.run("document.querySelectorAll('#runs tbody input:checked').length") == 0
    assert tab.run("document.querySelector('#compare-selected').textContent") == "Compare"


COLUMNS = "[...document.querySelectorAll('#runs thead th.number button')].slice(0, -2).map((head) => head.textContent)"
COLUMN = "document.querySelector('#columns-list [data-key=\"column-{}\"]')"


def test_columns_of_metrics_are_chosen_and_kept_by_the_link(site, tab):
    tab.open(site.url)
    usual = tab.run(COLUMNS)
    assert len(usual) == 4
    tab.run("document.querySelector('#columns summary').click()")
    tab.run(f"{COLUMN.format('classification_f1')}.click()")
    tab.run(f"{COLUMN.format('generation_perplexity')}.click()")
    chosen, link = tab.run(COLUMNS), tab.run("location.search")
    assert chosen == [name for name in usual if name != "Counting F1"] + ["Perplexity"]
    assert "metrics=" in link
    assert tab.run("document.querySelector('#columns').open"), "it stays open while one after the other is chosen"
    tab.open(site.url + link)
    assert tab.run(COLUMNS) == chosen
    assert tab.run(f"{COLUMN.format('generation_perplexity')}.checked")
    assert not tab.run(f"{COLUMN.format('classification_f1')}.checked")
    assert "Perplexity" in tab.run("document.forms.filters.sort.textContent")
    tab.open(f"{site.url}?metrics=none&sort=metric:generation_perplexity")
    assert tab.run(COLUMNS) == []
    assert tab.run("document.forms.filters.sort.value") == "metric:generation_perplexity"
