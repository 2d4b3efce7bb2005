"""What a store serves, for tests."""

from asu.stores.store import Store


def stored_bytes(store: Store, key: str, name: str) -> bytes:
    """Return the bytes of a published file."""
    file = store.find(key, name)
    assert file is not None
    content = store.content(file, 0, file.size)
    assert content is not None
    try:
        return content.read(file.size)
    finally:
        content.close()
