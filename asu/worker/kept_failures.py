"""What people can still read of a failed build for two weeks: its answer, the output included."""

import gzip
import json
import logging

from asu.builds.poll_answer import attempts, widened
from asu.errors import AsuError
from asu.records.build_record import Attempt, BuildRecord
from asu.records.worker_records import WorkerRecords
from asu.stores.manifest import KEY
from asu.stores.store import Store

from .live_log import withheld

log = logging.getLogger(__name__)


def keep_failure(
    record: BuildRecord, attempt: Attempt, store: Store, records: WorkerRecords
) -> None:
    """Keep the answer of a failed build, packed, without what it printed of a first-boot script.

    Somebody may have written other text into Redis where a key belongs; that names no file.
    """
    if KEY.fullmatch(attempt.key) is None:
        return
    request = attempt.plan.get("request")
    script = request.get("defaults") if isinstance(request, dict) else None
    body = json.loads(record.body)
    if script:
        body |= {name: withheld(body[name], str(script)) for name in ("stdout", "stderr")}
    try:
        document = widened(json.dumps(body).encode(), attempts(records.tried(attempt.key)))
        store.keep_failure(attempt.key, gzip.compress(document))
    except AsuError as error:
        log.warning("build %s: its failure is not kept: %s", attempt.key, error.detail)
