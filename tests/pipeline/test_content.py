"""Content on its way to the spool: redacted, made encodable, cut out into blobs; whatever it is, its event survives."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.mapping.facts import BlobKept, StepEnded, StepStarted, decode_fact
from otel_agent_journal.mapping.harmless import REDACTED, SAID, WITHHELD, by_hand
from otel_agent_journal.pipeline.content import CUT, MAX_BLOB_BYTES, ContentEncoder, as_json
from otel_agent_journal.plain import WHOLE


def fact(**details: Any) -> StepStarted:
    """A fact with details."""
    return StepStarted("s1", "NODE", "n", "a" * 32, None, 1, 5, None, None, details)


def through(encoder: ContentEncoder, **details: Any) -> Any:
    """Details as they come out of the spool."""
    data, _ = encoder.encode(fact(**details))
    return decode_fact(data).details  # type: ignore[union-attr]


@dataclass
class Point:
    """A plain dataclass."""

    x: int


class Dumps:
    """What would dump itself, if it were asked."""

    def model_dump(self) -> dict[str, Any]:
        """Fail."""
        raise AssertionError


class Broken:
    """What raises at everything."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_objects_become_plain() -> None:
    """Dataclasses and exceptions are journaled by their fields, unknown objects by their class; nothing is called."""
    found = through(ContentEncoder(), output=[Point(1), Dumps(), ValueError("no"), 2**70])
    name = f"<{__name__}.Dumps>"
    assert found["output"] == [{"x": 1}, name, {"type": "ValueError", "message": "no"}, 2**70]


PICTURE = bytes(range(256)) * 100
URL = f"data:image/png;base64,{b64encode(PICTURE).decode()}"


def test_media_are_kept_apart() -> None:
    """Bytes and data URLs become blobs with their type; a value that is itself kept apart names those within it."""
    encoder = ContentEncoder(field_limit_bytes=4000)
    given = {
        "messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": PICTURE}}}, URL]}]
    }
    data, blobs = encoder.encode(fact(**given))
    (kept,) = [decode_fact(blob) for blob in blobs]
    assert isinstance(kept, BlobKept)
    assert (kept.session_id, kept.data, kept.media_type) == ("s1", PICTURE, "image/png")
    assert len(data) < 1000
    given["messages"][0]["content"].append("x" * 5000)
    data, blobs = encoder.encode(fact(**given))
    reference = decode_fact(data).details["messages"]  # type: ignore[union-attr]
    assert reference["media"] == [kept.digest]
    assert [decode_fact(blob).media_type for blob in blobs] == ["image/png", "application/json"]  # type: ignore[union-attr]


def test_media_of_other_processes_are_kept_apart() -> None:
    """The same of what others sent, and what they sent without media is left as it is."""
    kept, blobs = ContentEncoder().fitting(fact(output={"image": URL}, input="an image" * 200))
    assert [(blob.data, blob.media_type) for blob in blobs] == [(PICTURE, "image/png")]
    assert kept.details["output"]["image"]["before"] == "data:image/png;base64,"
    said = fact(output="an image of nothing" * 100)
    assert ContentEncoder().fitting(said)[0] is said


def test_a_bad_field_costs_itself() -> None:
    """Keys of any kind, a field that cannot be read, half a surrogate pair: all else of the event is there."""
    found = through(ContentEncoder(), a={("x", 1): 1, None: 2}, b="\ud83d", c=Broken(), d="kept")
    assert found == {"a": {"('x', 1)": 1, "None": 2}, "b": "\\ud83d", "c": f"<{__name__}.Broken>", "d": "kept"}


def test_what_is_too_heavy_is_cut() -> None:
    """Of a field that is too heavy a part is kept, and `$cut` names it; of messages and model calls all is kept."""
    text = "x" * (WHOLE + 1)
    found = through(ContentEncoder(), output={"large": text, "beside": 1}, input="small")
    assert found[CUT] == ["output"]
    assert (found["output"]["beside"], found["input"]) == (1, "small")
    assert found["output"]["large"].endswith("more characters)")
    _, blobs = ContentEncoder().encode(fact(messages=[{"role": "user", "content": text}]))
    assert [len(decode_fact(blob).data) > WHOLE for blob in blobs] == [True]  # type: ignore[union-attr]
    called = StepStarted("s1", "MODEL", "n", "a" * 32, None, 1, 5, None, None, {"tools": text})
    _, blobs = ContentEncoder().encode(called)
    assert json.loads(decode_fact(blobs[0]).data) == text  # type: ignore[union-attr]


def test_a_redactor_sees_what_is_kept() -> None:
    """What is too heavy is cut before a redactor gets it, and the event says so."""
    seen: list[Any] = []
    encoder = ContentEncoder(redactor=lambda field, value: seen.append(value) or value)
    details = encoder.details({"input": "x" * (WHOLE + 1), "output": Point(1)})
    assert details[CUT] == ["input"]
    assert (len(seen[0]) < 100_000, seen[1]) == (True, {"x": 1})


def test_content_of_a_span() -> None:
    """What goes on a span is JSON of any value, as far as an event would hold it."""
    assert as_json("a") == '"a"'
    assert json.loads(as_json([Point(1), {1: Broken()}])) == [{"x": 1}, {"1": f"<{__name__}.Broken>"}]
    assert len(as_json({"x": "y" * (WHOLE + 1)})) < 100_000


def test_cycles_end() -> None:
    """A structure that holds itself, however often, ends."""
    loop: list[Any] = []
    loop.extend([loop, loop, {"again": loop}])
    assert json.dumps(through(ContentEncoder(), output=loop))


def test_broken_objects_cost_themselves() -> None:
    """An object that raises at everything costs its place, never its event."""
    found = through(ContentEncoder(), output=["kept", Broken()])
    assert found["output"][0] == "kept"


def test_large_field_becomes_a_blob() -> None:
    """A field over the limit is a reference with digest, size and preview; the blob is to be written first."""
    encoder = ContentEncoder(field_limit_bytes=1000)
    data, blobs = encoder.encode(fact(input="x" * 5000, output="small"))
    details = decode_fact(data).details  # type: ignore[union-attr]
    (blob,) = (decode_fact(one) for one in blobs)
    assert isinstance(blob, BlobKept)
    assert details["output"] == "small"
    assert details["input"] == {"$blob": blob.digest, "bytes": 5002, "preview": '"' + "x" * 255}
    assert json.loads(blob.data) == "x" * 5000
    assert MAX_BLOB_BYTES > 5002


def test_metadata_only() -> None:
    """With content off only what is no content is left of the details."""
    encoder = ContentEncoder(content=False)
    kept = encoder.details({"input": "secret", "attributes": {"gen_ai.request.model": "m"}, "parent_span_id": "b" * 16})
    assert kept == {"attributes": {"gen_ai.request.model": "m"}, "parent_span_id": "b" * 16}


def test_what_others_told() -> None:
    """A fact of another's span or process is as one of our own: less, redacted, and itself where nothing changes."""
    error = ErrorInfo(type="ValueError", message="secret", code="E1")
    failed = StepEnded(
        "s1", "TOOL", "t", "a" * 32, None, 1, 5, None, None, 6, "error", error, None, {"input": "secret"}
    )
    assert ContentEncoder().told(failed) is failed
    off = ContentEncoder(content=False).told(failed)
    assert (off.error, off.details) == (ErrorInfo(type="ValueError", message=WITHHELD, code="E1"), {})
    both = ContentEncoder(content=False, redactor=lambda field, value: f"{field}?").told(failed)
    assert (both.error, both.details) == (off.error, {})
    redacted = ContentEncoder(redactor=lambda field, value: f"{field}?").told(failed)
    assert redacted.error == ErrorInfo(type="ValueError", message="error.message?", code="E1")
    assert redacted.details == {"input": "input?", REDACTED: ["input"]}


def test_a_redactor_sees_what_is_said_under_names_of_ours() -> None:
    """What a program says by hand is content, whatever the name; what we say under it is not redacted."""
    encoder = ContentEncoder(redactor=lambda field, value: "***")
    assert encoder.details({"reason": "killed", "process": {"pid": 7}}) == {"reason": "killed", "process": {"pid": 7}}
    said = encoder.details(by_hand({"reason": "secret", "process": "secret", "agent": "a"}))
    changed = ["reason", "process"]
    assert said == {"reason": "***", "process": "***", "agent": "a", SAID: changed, REDACTED: changed}


def test_redactor_sees_every_content_field() -> None:
    """The redactor gets plain data under the field's name, and what it returns is journaled."""
    seen: list[tuple[str, Any]] = []

    def redactor(field: str, value: Any) -> Any:
        seen.append((field, value))
        return "***"

    encoder = ContentEncoder(redactor=redactor)
    assert encoder.details({"input": Point(1), "parent_span_id": "b" * 16}) == {
        "input": "***",
        "parent_span_id": "b" * 16,
        REDACTED: ["input"],
    }
    assert seen == [("input", {"x": 1})]


def test_failing_redactor_leaves_the_field_out() -> None:
    """A field that the redactor fails on is not journaled, and counted."""
    encoder = ContentEncoder(redactor=lambda field, value: 1 / 0)
    assert encoder.details({"input": "secret"}) == {
        "input": "[left out: the redactor failed]",
        REDACTED: ["input"],
    }
    assert encoder.failures == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Point, st.integers()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


@given(anything)
def test_anything_is_encoded(value: Any) -> None:
    """Whatever content is, its event is encoded and can be read back."""
    assert "output" in through(ContentEncoder(), output=value)
