import pytest
from tests.monitor.browser import browser
from types import SimpleNamespace
@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running
@pytest.fixture
def tab(chromium):
    page = chromium.tab()
    yield page
    page.close()
@pytest.fixture(scope="session")
def site():
    return SimpleNamespace(url="http://127.0.0.1:8931/", finished="07395338ab40", failed="02783dbce543", hostile="x", study="ablation-c598ce79", seeds=['07395338ab40','14061f335372','2bb76f2b981a','867e41ec916b','e935eca573fd'])
