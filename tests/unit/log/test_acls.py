"""Nobody may do more than its work."""

from __future__ import annotations

import tomllib

from app.log import acls, topics
from app.log.acls import Operation, Resource, principal
from app.log.resources import infra_kafka
from app.roles import ROLES

WRITES = {(acl.principal, acl.name) for acl in acls.declared() if acl.operation == Operation.WRITE}


def test_every_role_has_its_section() -> None:
    assert tomllib.loads(infra_kafka("acls.toml").read_text()).keys() == {*ROLES, "integrator"}


def test_nobody_but_the_command_handler_writes_events_states_replies_and_work() -> None:
    for topic in topics.declared("embedded"):
        writers = {who for who, name in WRITES if name == topic.name}
        if topic.name.endswith((".commands.v1", "workers.v1", "queue.v1", "metrics.v1")):
            assert principal("command-handler") not in writers
        else:
            assert writers == {principal("command-handler")}


def test_an_integrator_writes_nothing_and_commits_no_transaction() -> None:
    mine = [acl for acl in acls.declared() if acl.principal == principal("integrator")]
    assert {acl.operation for acl in mine} == {Operation.READ}
    assert {acl.resource for acl in mine} == {Resource.TOPIC, Resource.GROUP}
    assert "tunesmith.accounts.events.v1" in {acl.name for acl in mine}


def test_a_permission_is_told_in_a_sentence() -> None:
    told = [str(acl) for acl in acls.declared()]
    assert "User:tunesmith-trainer-worker may write topic tunesmith.tunings.commands.v1" in told
    assert "User:tunesmith-command-handler may write transactional id tunesmith-tunings-*" in told
