"""A worker's recall, with a store of the test's."""

from __future__ import annotations

import time

from core.addr import Endpoint
from core.store.base import Store
from core.store.breaker import Breaker, BreakerPolicy
from core.store.guarded import GuardedStore
from edge.forwarders.userspace_flow import UserspaceFlow
from edge.recall.recall import Clocks, StoreRecall
from tests.edge.kit import KEYRING
from tests.edge.relay.rig import VIPS, Rig

VIP_NAMES = [Endpoint("192.0.2.1", 3478), Endpoint("192.0.2.2", 3478)][:VIPS]
LEASE_S = 180


def recall_of(worker: Rig, store: Store, policy: BreakerPolicy) -> StoreRecall[UserspaceFlow]:
    """What the worker asks from now on; its loops are the caller's to run."""
    guarded = GuardedStore(store, Breaker(policy, lambda: 0.5), time.monotonic_ns, "the test's")
    clocks = Clocks(lambda: worker.now_ns, time.time)
    recall = StoreRecall(worker.slow_path, guarded, VIP_NAMES, LEASE_S, worker.counters, clocks)
    recall.keyring = KEYRING
    worker.slow_path.recall = recall
    return recall
