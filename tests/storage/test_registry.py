"""The registry: whole whenever a publication is killed, one publication at a time, and nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_counter.errors import UserError
from receipt_counter.storage.files import exclusive, write_json
from receipt_counter.storage.manifest import verify
from receipt_counter.storage.registry import CURRENT, Registry, Version, all_models, find_version
from receipt_counter.storage.store import Store

FORK = multiprocessing.get_context("fork")  # children begin where the test is, in milliseconds


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Store(tmp_path), "counter")


def filling(run_id: str, size: int = 1000) -> Callable[[Path, int], None]:
    def fill(directory: Path, number: int) -> None:
        write_json(directory / "run.json", {"run_id": run_id})
        write_json(directory / "card.json", {"version": number})
        (directory / "model").mkdir()
        (directory / "model" / "model.safetensors").write_bytes(run_id.encode() * size)

    return fill


def publish(registry: Registry, run_id: str) -> Version | None:
    return registry.publish(run_id, registry.current(), filling(run_id))


def names(registry: Registry) -> set[str]:
    return {path.name for path in registry.directory.iterdir()}


def test_a_version_is_current_until_the_next(registry: Registry) -> None:
    assert registry.current() is None
    for number, run_id in enumerate(("a", "b", "c"), 1):
        published = publish(registry, run_id)
        assert published == registry.current()
        assert (str(published), published.run_id, published.card) == (f"counter/{number}", run_id, {"version": number})
        published.check()
    assert [version.run_id for version in registry.versions()] == ["a", "b", "c"]
    assert names(registry) == {"1", "2", "3", CURRENT, ".lock"}


def test_what_was_decided_about_another_version_is_not_done(registry: Registry) -> None:
    first = publish(registry, "a")
    assert registry.publish("b", None, filling("b")) is None
    publish(registry, "c")
    assert registry.publish("b", first, filling("b")) is None
    assert [version.run_id for version in registry.versions()] == ["a", "c"]


def test_a_publication_killed_before_its_last_step_is_ended_and_not_repeated(registry: Registry) -> None:
    publish(registry, "a")
    publish(registry, "b")
    (registry.directory / CURRENT).write_text("1\n")  # what a kill before the last step leaves
    assert str(publish(registry, "b")) == "counter/2"
    (registry.directory / CURRENT).write_text("1\n")
    assert str(publish(registry, "c")) == "counter/3", "another run never takes a number that was given"
    assert [version.run_id for version in registry.versions()] == ["a", "b", "c"]


def test_a_failed_publication_leaves_nothing(registry: Registry) -> None:
    publish(registry, "a")

    def fails(directory: Path, number: int) -> None:
        filling("b")(directory, number)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        registry.publish("b", registry.current(), fails)
    assert names(registry) == {"1", CURRENT, ".lock"}


def test_kills_at_random_instants_leave_the_old_version_or_the_new_one(registry: Registry) -> None:
    """Each child publishes run after run until it is killed; what it leaves is whole, and the next one goes on."""

    def publish_on(start: int) -> None:
        for index in range(start, start + 10_000):
            run_id = f"run{index}"
            registry.publish(run_id, registry.current(), filling(run_id, 20_000))

    random_instants, published, in_the_middle, behind = random.Random(7), 0, 0, 0
    while published < 10 or in_the_middle < 10:
        child = FORK.Process(target=publish_on, args=(published,))
        child.start()
        time.sleep(0.2 * random_instants.random())
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        versions, current = registry.versions(), registry.current()
        assert [verify(version.directory) for version in versions] == [None] * len(versions)
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        before, behind = behind, len(versions) - (current.number if current else 0)
        assert behind <= before + 1, "all become current in turn; a kill keeps at most the last one from it"
        published = len(versions)
        in_the_middle += any(name.endswith(".tmp") for name in names(registry))
    last = publish(registry, "last")
    assert last == registry.current()
    assert not [name for name in names(registry) if name.endswith(".tmp")]


def test_of_publications_at_the_same_time_one_counts(registry: Registry) -> None:
    first, barrier, results = publish(registry, "a"), FORK.Barrier(6), FORK.SimpleQueue()

    def compete(run_id: str) -> None:
        barrier.wait()
        results.put(str(registry.publish(run_id, first, filling(run_id, 20_000))))

    children = [FORK.Process(target=compete, args=(f"b{index}",)) for index in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert sorted(results.get() for _ in children) == ["None"] * 5 + ["counter/2"]
    assert [version.number for version in registry.versions()] == [1, 2]


def test_exclusive_can_wait(tmp_path: Path) -> None:
    order, taken = FORK.SimpleQueue(), FORK.Event()

    def second() -> None:
        taken.wait(60)
        with exclusive(tmp_path, "model", wait=True):
            order.put("second")

    child = FORK.Process(target=second)  # forked before there is a lock, which it would share
    child.start()
    with exclusive(tmp_path, "model"):
        refused = pytest.raises(UserError, match=f"process {os.getpid()} is already working on this model")
        with refused, exclusive(tmp_path, "model"):
            pass
        taken.set()
        child.join(0.3)
        order.put("first")
    child.join(60)
    assert (order.get(), order.get()) == ("first", "second")


def test_versions_are_found_by_name_and_number(registry: Registry) -> None:
    store = Store(registry.directory.parent.parent)
    publish(registry, "a")
    publish(registry, "b")
    publish(Registry(store, "another"), "c")
    assert [known.model for known in all_models(store)] == ["another", "counter"]
    assert str(find_version("counter", store)) == "counter/2"
    assert str(find_version("counter/1", store)) == "counter/1"
    assert find_version("nobody", store) is None
    with pytest.raises(UserError, match=r"counter/3: no such version in .*; there: 1, 2"):
        find_version("counter/3", store)
    (registry.directory / CURRENT).unlink()
    with pytest.raises(UserError, match="counter: no version of it is the current one; there: counter/1, counter/2"):
        find_version("counter", store)


@pytest.mark.parametrize(
    ("damage", "problem"),
    {
        "changed": (lambda file: file.write_bytes(b"x" + file.read_bytes()[1:]), "model/model.safetensors is corrupt"),
        "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-1]), "model/model.safetensors is corrupt"),
        "removed": (lambda file: file.unlink(), "model/model.safetensors is missing"),
    }.values(),
)
def test_damage_is_found(registry: Registry, damage: Callable[[Path], object], problem: str) -> None:
    version = publish(registry, "a")
    assert version is not None
    damage(version.directory / "model" / "model.safetensors")
    with pytest.raises(UserError, match=f"{problem}; restore it from a copy, or use another version"):
        version.check()


@pytest.mark.parametrize("name", ["", ".hidden", "../x", "a/b", "a b", "-x", "ä"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="model name"):
        Registry(Store(tmp_path), name)
