"""Any value as plain data: what is known is read, what is not is left alone, and a budget ends the work."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import json
import pathlib
import sys
import threading
import tracemalloc
import types
import uuid
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import MagicMock
from zoneinfo import ZoneInfo

import attrs
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.foreign import own
from otel_agent_journal.plain import PART, WHOLE, Budget, light, plain, text_of
from otel_agent_journal.readers import fields_of
from tests.untouchable import Noticing

KIB = 1024
FIELD_LIMIT = 64 * KIB


class Color(enum.StrEnum):
    """A text."""

    RED = "red"


class Level(enum.IntEnum):
    """A number."""

    HIGH = 3


class Kind(enum.Enum):
    """Neither."""

    MAIL = ("mail", 1)


class Score(float):
    """A number of its own class."""


class Count(int):
    """A number of its own class."""


class Pair(NamedTuple):
    """A tuple of its own class."""

    a: int
    b: str


@dataclasses.dataclass
class Point:
    """Fields in a dict."""

    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Fields in slots."""

    row: int
    column: int


@attrs.define
class Attrs:
    """Fields of attrs."""

    x: int


class Packed(msgspec.Struct):
    """Fields of msgspec."""

    x: int


class Model(pydantic.BaseModel):
    """Fields of pydantic, of which one is not shown to anybody and one is computed."""

    model_config = pydantic.ConfigDict(extra="allow")
    x: Any
    secret: str = pydantic.Field(default="s", exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def computed(self) -> int:
        raise AssertionError


class Names(pydantic.RootModel[list[str]]):
    """What is a list."""


class Site(pydantic.BaseModel):
    """A model with a class of pydantic's own."""

    url: pydantic.HttpUrl


class Foreign:
    """A class that nobody knows."""


NAME = f"<{__name__}.Foreign>"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Kind.MAIL, ["mail", 1]),
        (Score(0.375), 0.375),
        (Count(77), 77),
        (True, True),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1]), "<numpy.ndarray>"),
        (Pair(1, "b"), [1, "b"]),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (Cell(1, 2), {"row": 1, "column": 2}),
        (Attrs(1), {"x": 1}),
        (Packed(1), {"x": 1}),
        (Model(x=1, more=2), {"x": 1, "more": 2}),
        (Names(["a"]), ["a"]),
        (Site(url=pydantic.HttpUrl("http://a/")), {"url": "http://a/"}),
        (types.SimpleNamespace(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.deque([1, 2]), [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (range(3), "range(0, 3)"),
        (1 + 2j, "(1+2j)"),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"ab"), "YWI="),
        (dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC), "2026-01-31T12:00:00Z"),
        (dt.datetime(2026, 1, 31, 12, tzinfo=ZoneInfo("Europe/Berlin")), "2026-01-31T12:00:00+01:00"),
        (dt.datetime(2026, 1, 31, 12), "2026-01-31T12:00:00"),  # noqa: DTZ001
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.time(12, 30), "12:30:00"),
        (dt.timedelta(days=1, seconds=2), "P1DT2S"),
        (decimal.Decimal("1.50"), "1.50"),
        (fractions.Fraction(1, 3), "1/3"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (pathlib.Path("/a/b"), "/a/b"),
        (ValueError("no"), {"type": "ValueError", "message": "no"}),
        (KeyError(Foreign()), {"type": "KeyError", "message": NAME}),
        (Foreign(), NAME),
        (Foreign, f"<class '{__name__}.Foreign'>"),
        (len, "<function len>"),
        (io.StringIO("a"), "<_io.StringIO>"),
        (threading.Lock(), "<_thread.lock>"),
        (MagicMock(), "<unittest.mock.MagicMock>"),
        (10**5000, "<integer of 16,610 bits>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_known_is_read(value: Any, expected: Any) -> None:
    """Each class that we know is read by its own storage; of any other value there is its class's name."""
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)
    assert json.loads(json.dumps(plain({"of": [value]}))) == {"of": [expected]}


@pytest.mark.parametrize("kind", Noticing().objects())
@pytest.mark.parametrize("read", [plain, lambda value: Budget().fit(value), lambda value: light([value], 999), text_of])
def test_nothing_is_asked_of_a_foreign_object(kind: str, read: Callable[[Any], Any]) -> None:
    """However an object would answer: it is not asked, as a value, within others, nor as a key."""
    noticing = Noticing()
    value = noticing.objects()[kind]
    read(value)
    read([{"deep": (value,)}])
    if kind not in ("query", "settings", "row", "odd", "lazy"):
        made = {value: 1}
        noticing.noticed.clear()  # what the dict asked
        read(made)
    fields_of(value)
    own(value, "content")
    assert noticing.noticed == []


def test_a_time_zone_of_the_users_is_not_asked() -> None:
    """A moment in a zone that somebody wrote is told without its offset."""

    class Zone(dt.tzinfo):
        def utcoffset(self, moment: Any) -> Any:
            raise AssertionError

        def dst(self, moment: Any) -> Any:
            raise AssertionError

    said = plain([dt.datetime(2026, 1, 31, tzinfo=Zone()), dt.time(1, tzinfo=Zone())])
    assert [text.split()[0] for text in said] == ["2026-01-31T00:00:00", "01:00:00"]
    assert "Zone>" in said[0]


def test_no_warning_is_caused() -> None:
    """A model with a field of another type than it declares warns nobody."""
    envelope = Model.model_construct(x=Model(x=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain(envelope)["x"] == {"x": 1}


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "None"),
        (7, "7"),
        (False, "False"),
        (2.5, "2.5"),
        (("a", "b"), "('a', 'b')"),
        (frozenset([1]), "[1]"),
        (Cell(1, 2), '{"row":1,"column":2}'),
        (Color.RED, "red"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Foreign(), NAME),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_of_any_kind(key: Any, text: str) -> None:
    """A key is a text by the same rules, and its value is kept."""
    assert plain({key: "kept"}) == {text: "kept"}


def test_keys_that_become_one() -> None:
    """Two keys of one text are both kept, and as many as there are."""
    assert plain({1: "a", "1": "b", Foreign(): "c", Foreign(): "d"}) == {
        "1": "a", "1 (2)": "b", NAME: "c", f"{NAME} (2)": "d",
    }  # fmt: skip
    assert len(plain({Foreign(): number for number in range(100)})) == 100


# --- budgets --------------------------------------------------------------------------------------------------------

TEXT = "x" * 5000
ROWS = 300_000
LARGE: dict[str, Callable[[], Any]] = {
    "a text": lambda: "x" * 10_000_000,
    "a text of its own class": lambda: type("Long", (str,), {})("x" * 10_000_000),
    "bytes": lambda: b"x" * 10_000_000,
    "a table": lambda: [{f"c{column}": row + 0.5 for column in range(5)} for row in range(ROWS)],
    "columns": lambda: {f"c{column}": dict.fromkeys(range(ROWS // 5), 0.5) for column in range(5)},
    "objects": lambda: [Point(row, "text") for row in range(ROWS // 5)],
    "an object of many": lambda: Point(1, [Point(row, "text") for row in range(ROWS // 5)]),
    "numbers": lambda: [float(row) for row in range(ROWS * 4)],
    "rows": lambda: [[0.5] * 100 for _ in range(10_000)],
    "many texts": lambda: {f"doc {number}": "x" * 100_000 for number in range(100)},
    "a set": lambda: set(range(ROWS)),
    "a long key": lambda: {"x" * 10_000_000: 1},
    "what is in itself often": lambda: _shared(40),
    "a large number": lambda: 1 << 80_000_000,
}


def _shared(levels: int) -> Any:
    value: Any = ["text"]
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize("kind", LARGE)
def test_the_work_ends(kind: str) -> None:
    """Of a value of 10 MB a part is copied, in memory below the field limit; what stands beside it is there too."""
    value = {"large": LARGE[kind](), "beside": "kept"}
    tracemalloc.start()
    try:
        found, cut = Budget().fit(value)
        data = encoded(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["beside"] == "kept"
    assert peak < 2 * FIELD_LIMIT
    assert len(data) < FIELD_LIMIT
    assert cut is (kind != "a large number")
    assert not cut or " more" in data.decode()


@pytest.mark.parametrize("kind", LARGE)
def test_the_work_is_counted(kind: str) -> None:
    """However large a value is, little of it is looked at: it takes milliseconds."""
    value, lines = LARGE[kind](), 0

    def count(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        Budget().fit(value)
    finally:
        sys.settrace(before)
    assert lines < 250_000


def encoded(value: Any) -> bytes:
    """A value as JSON."""
    return msgspec.json.encode(value)


def test_what_is_not_heavy_is_whole() -> None:
    """Up to half a megabyte all of a value is kept, itself where it is plain."""
    text = {"text": "x" * (WHOLE - 1000)}
    assert Budget().fit(text)[0] is text
    points = [Point(number) for number in range(1000)]
    assert Budget().fit(points) == ([{"x": number, "y": None} for number in range(1000)], False)
    loop: list[Any] = [1]
    loop.append(loop)
    assert Budget().fit(loop) == ([1, "<list within itself>"], False)


def test_one_budget_for_all() -> None:
    """The fields of one event share a budget: one that is too heavy leaves room for the next."""
    kept, cut = Budget().fit_all({"a": "x" * WHOLE, "b": "small", "c": "x" * WHOLE, "d": {"x": Foreign()}, 5: 1})
    assert cut == ["a", "c"]
    assert (kept["b"], kept["d"], kept["5"]) == ("small", {"x": NAME}, 1)
    assert len(kept["a"]) + len(kept["c"]) < PART


def test_messages_are_whole() -> None:
    """What a model was asked or has answered is kept whole beside what is cut, up to a bound of its own."""
    said = {"role": "user", "content": "x" * 2_000_000}
    kept, cut = Budget().fit({"messages": [said, {"role": "user", "content": [Foreign()]}], "table": "y" * 2_000_000})
    assert cut
    assert kept["messages"] == [said, {"role": "user", "content": [NAME]}]
    assert len(kept["table"]) < PART
    assert Budget().fit({"messages": [said]}) == ({"messages": [said]}, False)
    assert Budget(messages=1000).fit([said])[1]


def test_the_parts_say_what_is_missing() -> None:
    """Texts, bytes, lists and dicts that are cut say how much is missing of them."""
    budget = Budget(whole=0, part=16_000)
    found, cut = budget.fit([TEXT, list(range(1000)), {str(key): key for key in range(1000)}, TEXT.encode(), "small"])
    text, numbers, keys, octets, small = found
    assert cut
    assert text == "x" * (kept := text.count("x")) + f"... ({5000 - kept:,} more characters)"
    assert numbers[-1] == f"... ({1000 - len(numbers) + 1:,} more)"
    assert keys["..."] == f"({1000 - len(keys) + 1:,} more)"
    assert octets.endswith(" more bytes)")
    assert small == "small"


def test_what_another_thread_changes() -> None:
    """A dict that changes while it is read costs nothing but itself."""

    class Changing(dict[Any, Any]):
        pass

    shared = Changing({number: [number] for number in range(500)})
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            shared[f"new {number % 5000}"] = [number]
            shared.pop(f"new {(number - 2500) % 5000}", None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            found, _ = Budget().fit({"shared": shared, "beside": 1})
            assert found["beside"] == 1
    finally:
        stop.set()
        thread.join()


# --- anything -------------------------------------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids()
    | st.decimals(allow_nan=False) | st.datetimes()
    | st.dates() | st.timedeltas() | st.fractions() | st.complex_numbers()
    | st.builds(Score, st.floats()) | st.builds(Foreign) | st.sampled_from([Color.RED, Level.HIGH, Kind.MAIL, object])
    | st.text(st.characters(categories=["Cs", "L"]))
)  # fmt: skip
keys = scalars | st.tuples(scalars) | st.builds(Cell, st.integers(), st.integers()) | st.frozensets(st.integers())
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(Point, inner, inner)
        | st.builds(lambda x: Model(x=x), inner)
        | st.builds(lambda items: (*items,), st.lists(inner, max_size=3))
        | st.builds(collections.deque, st.lists(inner, max_size=3))
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


@given(anything)
def test_anything_is_plain(value: Any) -> None:
    """Whatever a value is, it becomes what JSON carries, whole or in part, and no key of it is lost."""
    made = plain(value)
    assert plain(made) == made
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    part, _ = Budget(whole=0, part=2000).fit(value)
    json.dumps(part, allow_nan=False).encode()
    if type(value) is dict:
        assert len(made) == len(value)


@given(anything, st.integers(0, 3000))
def test_light_is_what_the_encoder_takes(value: Any, most: int) -> None:
    """What is light is encoded by the encoder alone, or the encoder objects."""
    if light([value], most):
        try:
            data = msgspec.msgpack.encode(value)
        except (UnicodeEncodeError, OverflowError):
            return
        msgspec.msgpack.decode(data)
        assert len(data) <= 5 * most + 100


@given(anything)
def test_text_of_anything(value: Any) -> None:
    """Any value is a text, which UTF-8 can carry."""
    assert type(text_of(value)) is str
    text_of(value).encode()
