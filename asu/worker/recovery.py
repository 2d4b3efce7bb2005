"""Restores the records of finished builds from the store, after their Redis was lost."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from asu.errors import StoreFailed
from asu.records.build_account import read_account
from asu.records.worker_records import WorkerRecords
from asu.stores.store import Store


@dataclass(slots=True, kw_only=True)
class Recovered:
    """What became of each build in the store, by its key."""

    restored: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # With the reason.

    def in_words(self) -> str:
        """Return a line for each build whose record was made or could not be, and the counts."""
        lines = [f"build {key}: its record is restored" for key in self.restored]
        lines += [f"build {key}: left alone, {reason}" for key, reason in self.refused.items()]
        lines.append(
            f"{len(self.restored)} restored, {len(self.known)} known already, "
            f"{len(self.refused)} left alone"
        )
        return "".join(f"{line}\n" for line in lines)


def recover(store: Store, records: WorkerRecords) -> Recovered:
    """Give each build in the store without a record one for the rest of its lifetime.

    Raise QueueUnavailable, and StoreFailed where not even the keys of the builds can be read.
    """
    recovered = Recovered()
    for key in store.published_keys():
        try:
            is_new = not records.is_known(key) and _restore(key, store, records)
            (recovered.restored if is_new else recovered.known).append(key)
        except _LeftAloneError as reason:
            recovered.refused[key] = str(reason)
        except StoreFailed as error:
            recovered.refused[key] = error.detail
    return recovered


class _LeftAloneError(Exception):
    """A build gets no record, for this reason."""


def _restore(key: str, store: Store, records: WorkerRecords) -> bool:
    """Restore a build; False when somebody else has just done so."""
    manifest = store.manifest(key)
    if manifest is None:
        raise _LeftAloneError("its manifest is missing, or of another version")
    left = int((manifest.expires - datetime.now(UTC)).total_seconds())
    if left <= 0:
        raise _LeftAloneError("its lifetime has ended")
    if not store.has(key):
        raise _LeftAloneError("not all of its files are there as they were published")
    account = read_account(store.account(key) or b"", key)
    if account is None:
        raise _LeftAloneError(
            "no record lies with it that this version can read, as with builds of earlier versions"
        )
    published = {file.name: file.sha256 for file in manifest.files}
    if any(published.get(name) != digest for name, digest in account.hashes.items()):
        raise _LeftAloneError("its record names other images than those that lie there")
    return records.restore(key, account.record, plan=account.plan, bodies=account.bodies, ttl=left)
