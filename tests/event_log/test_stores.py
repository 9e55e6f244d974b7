import pytest

from event_log import StoreInvalid, open_store
from event_log.stores.jsonl import JsonlStore
from event_log.stores.memory import MemoryStore


def test_a_url_names_the_store(tmp_path):
    assert isinstance(open_store("memory:"), MemoryStore)
    store = open_store(f"jsonl:{tmp_path}")
    assert isinstance(store, JsonlStore)
    assert store.directory == str(tmp_path)


def test_a_directory_may_start_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("jsonl:~/logs")
    assert isinstance(store, JsonlStore)
    assert store.directory == str(tmp_path / "logs")


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:x", "jsonl:", "jsonl:logs", "/logs", "sqlite:/logs", "JSONL:/logs"]
)
def test_a_url_that_names_no_store_is_refused_in_one_line(url):
    with pytest.raises(StoreInvalid) as refusal:
        open_store(url)
    assert "\n" not in str(refusal.value)


async def test_the_store_is_not_made_before_its_first_log(tmp_path):
    store = open_store(f"jsonl:{tmp_path}/logs")
    assert await store.names() == []
    assert list(tmp_path.iterdir()) == []
