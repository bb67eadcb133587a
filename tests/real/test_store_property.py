"""Every store on a server against the model, as it is and behind a proxy that fails some of its calls.

That the model would notice is shown by the same stores with a fault put between them and their server: a condition
taken off, an index in the order of text, items handed back by a batch and forgotten.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Callable

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import Phase, settings
from hypothesis.errors import Flaky, FlakyFailure, FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test

from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from tests.real.backends import Backend
from tests.real.fault_proxy import AtRandom, FaultProxy
from tests.real.fault_proxy_http import DynamoDBProxy, Request, S3Proxy
from tests.real.fault_proxy_postgresql import PostgreSQLProxy
from tests.real.servers import KEY, SECRET
from tests.store_machine import PatientMachine, StoreMachine

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
EXAMPLES = 200 if SOAK else 5
STEPS = 40 if SOAK else 20
# Found is enough: to make a failure small takes minutes on a server, and is for the long form.
PHASES = tuple(Phase) if SOAK else (Phase.explicit, Phase.generate)


def machine(kind: type[StoreMachine], name: str, fresh: Callable[[], str]) -> type[StoreMachine]:
    """Return a machine whose stores, of a backend, are opened by URL."""

    class Machine(kind):
        keeps_what_others_write = name == "dynamodb"
        compared_every = 5
        reopenings = 1

        def make_store(self) -> JournalStore:
            self.url = fresh()
            return self.another()

        def another(self) -> JournalStore:
            return open_store(self.url)

    return Machine


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 120)
def test_every_store(backend: Backend) -> None:
    """What a store answers is what the model says, after every step."""
    run_state_machine_as_test(
        machine(StoreMachine, backend.name, backend.fresh),
        settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=PHASES),
    )


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 120)
def test_every_store_behind_faults(backend: Backend) -> None:
    """The same where calls are refused, cut off before and after they were applied, done in part, in conflict."""
    plan = AtRandom(0.2, seed=1)
    with backend.proxy(plan, silence_s=0.02, slow_s=0.01) as proxy:
        run_state_machine_as_test(
            machine(PatientMachine, backend.name, lambda: backend.through(backend.fresh(), proxy)),
            settings=settings(max_examples=max(2, EXAMPLES // 2), stateful_step_count=STEPS, phases=PHASES),
        )
    assert proxy.injected.total() > 10


class UnconditionalDynamoDB(DynamoDBProxy):
    """Every condition holds."""

    def altered(self, request: Request) -> Request:
        def always(found: re.Match[str]) -> str:
            return f'"ConditionExpression":"({found[1]}) OR attribute_exists(PK) OR attribute_not_exists(PK)"'

        text = re.sub(r'"ConditionExpression": ?"([^"]*)"', always, request.body.decode())
        return request.with_body(text.encode())


class LexicographicDynamoDB(DynamoDBProxy):
    """Sequence numbers without the zeros before them, in the order of text."""

    def altered(self, request: Request) -> Request:
        return request.with_body(re.sub(rb'#0{1,15}(\d{1,15})"', rb'#\1"', request.body))


class ForgetfulDynamoDB(DynamoDBProxy):
    """Of a batch the last item is not taken, and that it was handed back is forgotten."""

    def altered(self, request: Request) -> Request:
        if self.call(request).name != "BatchWriteItem":
            return request
        body = json.loads(request.body)
        for table, items in body["RequestItems"].items():
            body["RequestItems"][table] = items[: max(1, len(items) - 1)]
        return request.with_body(json.dumps(body).encode())


class UnconditionalS3(S3Proxy):
    """PUT without If-None-Match and If-Match, signed anew."""

    def altered(self, request: Request) -> Request:
        conditions = ("if-none-match", "if-match")
        if not any(map(request.header, conditions)):
            return request
        kept = [(key, value) for key, value in request.headers if key.lower() not in (*conditions, "authorization")]
        again = AWSRequest("PUT", f"http://{request.header('host')}{request.path}", dict(kept), request.body)
        S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1").add_auth(again)
        return request._replace(headers=list(again.headers.items()))


class UnconditionalPostgreSQL(PostgreSQLProxy):
    """What is there already is overwritten."""

    def altered(self, sql: str) -> str:
        return sql.replace("event_id) DO NOTHING", "event_id) DO UPDATE SET details = EXCLUDED.details")


class LexicographicPostgreSQL(PostgreSQLProxy):
    """Sequence numbers in the order of text."""

    def altered(self, sql: str) -> str:
        return sql.replace("ORDER BY sequence_number", "ORDER BY sequence_number::text")


@pytest.mark.long_form
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("backend", "fault"),
    [
        ("dynamodb", UnconditionalDynamoDB),
        ("dynamodb", LexicographicDynamoDB),
        ("dynamodb", ForgetfulDynamoDB),
        ("s3", UnconditionalS3),
        ("postgresql", UnconditionalPostgreSQL),
        ("postgresql", LexicographicPostgreSQL),
    ],
    indirect=["backend"],
)
def test_the_model_finds_faults(backend: Backend, fault: type[FaultProxy]) -> None:
    """A store whose conditions, order or leftovers are lost on the way is found out by some examples."""
    # As many as it takes: the first that fails is the last.
    few = settings(max_examples=max(EXAMPLES, 40), stateful_step_count=STEPS, phases=[Phase.generate], derandomize=True)
    with fault(backend.server.port) as proxy:
        faulty = machine(StoreMachine, backend.name, lambda: backend.through(backend.fresh(), proxy))
        for _ in range(5):
            with pytest.raises((AssertionError, Flaky, StoreError)) as found:
                run_state_machine_as_test(faulty, settings=few)
            if not isinstance(found.value, FlakyStrategyDefinition):
                break
    # Who wins a race is not the same when the example is run again: hypothesis says so, and mostly what it had found.
    error = found.value.exceptions[0] if isinstance(found.value, FlakyFailure) else found.value
    if "cannot affect row a second time" in str(error):  # of one batch: PostgreSQL found it before the model did
        return
    assert isinstance(error, AssertionError)
    assert "store_machine.py" in traceback.extract_tb(error.__traceback__)[-1].filename, "found by chance"
