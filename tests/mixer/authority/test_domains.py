"""What the hub's log tells of the domains that leaves claim."""

from __future__ import annotations

from mixer.authority.door import Domains

CLAIM = (
    '[7] 2026/11/21 16:22:22.1 [INF] 127.0.0.1:4 - lid:%d - JetStream using domains: local "hub", remote "%s"'
)


def test_a_claim_is_known_by_its_connection() -> None:
    """What one leaf claims is not held against another."""
    domains = Domains()
    domains.hear(CLAIM % (8, "press"))
    assert (domains.of(8), domains.of(9)) == ("press", "")


def test_a_hub_that_starts_again_begins_anew() -> None:
    """Connections get the numbers of others then; no Rack is put out for what another one claimed before."""
    domains = Domains()
    domains.hear(CLAIM % (8, "press"))
    domains.hear("[9] 2026/11/21 16:22:30.1 [INF] Starting nats-server")
    assert domains.of(8) == ""
    domains.hear(CLAIM % (8, "oven"))
    assert domains.of(8) == "oven"
