"""Where finished images live: one protocol, one module per place."""

from asu.settings import Settings

from .local import LocalStore
from .store import Store


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name, ready for use; raises StoreFailed."""
    store: Store
    if settings.s3_bucket:
        # boto3 takes memory, and time at the start; a server with a local store needs none of it.
        from .s3 import S3Store  # noqa: PLC0415

        store = S3Store(settings)
    else:
        store = LocalStore(settings.store_path)
    store.open()
    return store
