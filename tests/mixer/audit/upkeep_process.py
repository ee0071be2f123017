"""A process that commits, compacts, prunes and rolls on one audit folder until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from mixer.audit import compact, retention
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from tests.mixer.audit.stream import NOON_NS, message, stored

DAY_NS = 86_400 * 10**9


def main(folder: Path) -> None:
    """Write one message a sequence, some to a commit, over days; say what is committed and what is pruned."""
    store = AuditStore(folder)
    while True:
        first = store.progress("UNS").last + 1
        items = [
            stored(seq, [message(seq)], seq, time_ns=NOON_NS - (seq < 40) * 9 * DAY_NS)
            for seq in range(first, first + 1 + first % 3)
        ]
        store.commit("UNS", "e", tabulate("UNS", items, Marks(store.progress("UNS").marks)))
        print(items[-1].seq, flush=True)
        if first % 4 == 0:
            for _ in compact.compact(store, compact.plan(store, least=4)):
                pass
        if first % 7 == 0:
            old = retention.plan(store, retention.Rule(age_s=3 * 86_400))
            retention.prune(store, old, "old")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
