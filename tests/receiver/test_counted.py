"""What /metrics counts: every span and log record is in one place."""

from __future__ import annotations

from tests.receiver.asking import PROTOBUF, Told, ask, over_http, spans
from tests.receiver.collecting import Collecting, eventually


def test_counted(collecting: Collecting) -> None:
    """Every span is in one place: stored, a duplicate, rejected, left out; in the end none is pending."""
    good, mixed = spans("a"), spans("b", "bad", "none of an agent's")
    mixed.resource_spans[0].scope_spans[0].spans[1].trace_id = bytes(16)
    mixed.resource_spans[0].scope_spans[0].spans[2].ClearField("attributes")
    ask(collecting, "grpc", "traces", good)
    assert ask(collecting, "protobuf", "traces", mixed).rejected == 1
    assert ask(collecting, "json", "traces", good) == Told("OK")
    ask(collecting, "protobuf", "traces", b"hello")
    eventually(lambda: counted(collecting)["pending"] == counted(collecting)["spool_bytes"] == 0)
    found = counted(collecting)
    assert found.pop("bytes") > 0
    assert {name: value for name, value in found.items() if value} == {
        "requests": 4,
        "received": 5,
        "stored": 2,
        "duplicate": 1,
        "rejected": 1,
        "left_out": 1,
        "malformed": 1,
    }
    collecting.stop()
    assert sorted(event.type for event in collecting.events("s1")) == ["MODEL_END", "MODEL_END"] + ["MODEL_START"] * 2


def counted(collecting: Collecting) -> dict[str, int]:
    """Return what /metrics says."""
    lines = over_http(collecting.http, "/metrics", headers={"content-type": PROTOBUF}, method="GET")[1].decode()
    found = dict(line.removeprefix("agent_journal_receiver_").split() for line in lines.splitlines() if line[0] != "#")
    return {name.removesuffix("_total"): int(value) for name, value in found.items()}
