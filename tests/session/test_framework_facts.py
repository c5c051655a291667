"""A journal's facts of its framework: what a session that takes it over makes of them."""

from __future__ import annotations

import json
from typing import Any

from t2notebook.session.framework_facts import FrameworkFacts

INFO: dict[str, Any] = {"name": "t2notebook (ada@here)", "failover_timeout": 3600.0}


def test_a_new_journal_knows_nothing_yet() -> None:
    facts = FrameworkFacts({})
    assert (facts.claims, facts.is_adopted, facts.worker_port) == (0, False, 0)
    assert facts.framework_info() is None
    assert facts.master_address("h:5050") == "h:5050"
    assert not facts.cluster_is_gone("h:5050")


def test_it_is_subscribed_as_what_it_was() -> None:
    """A master takes no other FrameworkInfo for the same id."""
    facts = FrameworkFacts({"claims": "2", "framework_id": "F-1", "framework": json.dumps(INFO)})
    assert facts.is_adopted
    assert facts.framework_info() == {**INFO, "id": {"value": "F-1"}}


def test_one_that_was_never_subscribed_begins_as_a_new_one() -> None:
    assert FrameworkFacts({"claims": "1", "framework": json.dumps(INFO)}).framework_info() is None


def test_only_another_embedded_cluster_is_no_home_for_it() -> None:
    """A real master's address may change: its successor, or ZooKeeper, knows the framework."""
    local = {"claims": "1", "master": "local", "master_address": "127.0.0.1:5050"}
    assert FrameworkFacts(local).cluster_is_gone("127.0.0.1:40001")
    assert not FrameworkFacts(local).cluster_is_gone("127.0.0.1:5050")
    assert not FrameworkFacts({**local, "master": "zk://h/mesos"}).cluster_is_gone("127.0.0.1:40001")
    assert not FrameworkFacts({**local, "claims": "0"}).cluster_is_gone("127.0.0.1:40001")


def test_a_removal_is_explained_with_its_time() -> None:
    """It counts from the last sign of the session before, not from the claim of this one."""
    meta = {"framework": json.dumps(INFO), "last_seen": "1700000000.0", "renewed": "1700009999.0"}
    why = FrameworkFacts(meta).explain_removal()
    assert "failover_timeout (3600 s)" in why
    assert "2023-11-14 23:13 UTC" in why
    del meta["last_seen"]
    assert "2023-11-15 01:59 UTC" in FrameworkFacts(meta).explain_removal()
