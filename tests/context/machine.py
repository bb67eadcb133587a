"""What a context is, written down as lists, against the context of any store: what a state machine compares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule

from otel_agent_journal.context.messages import INTERRUPTED
from otel_agent_journal.context.service import Context
from otel_agent_journal.store.lineage import read_through
from otel_agent_journal.store.protocol import DocumentStore, JournalStore, of_session

PICTURE = "data:image/png;base64,iVBORw0KGgo="
CONTENT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["x" * 20_000, "\ud800", PICTURE, None, ""]),
    st.just([{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]),
)
VALUES = st.one_of(st.integers(-9, 9), st.text(max_size=5), st.none(), st.lists(st.integers(0, 9), max_size=3))
STATES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


class Known(NamedTuple):
    """What a context is after so many events."""

    count: int
    messages: list[dict[str, Any]]
    numbers: list[int | None]  # of the messages, where they are known
    state: dict[str, Any]


class Model:
    """An instance as a list of all that it ever was."""

    def __init__(self, first: Known | None = None, past: list[Known] | None = None) -> None:
        self.past = list(past or [first or Known(0, [], [], {})])

    @property
    def now(self) -> Known:
        return self.past[-1]

    def became(self, count: int, **changed: Any) -> None:
        self.past.append(copy.deepcopy(self.now._replace(count=count, **changed)))

    def open_calls(self) -> list[str]:
        answered = {message.get("tool_call_id") for message in self.now.messages}
        called = [call["id"] for message in self.now.messages for call in message.get("tool_calls", ())]
        return [one for one in called if one not in answered]


class ContextMachine(RuleBasedStateMachine):
    """Instances, forks of them among these, each used by two handles at a time."""

    instances = Bundle("instances")

    def make_store(self) -> JournalStore:
        """Return an empty store."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.models: dict[str, Model] = {}
        self.handles: dict[tuple[str, int], Context] = {}
        self.calls = 0

    def teardown(self) -> None:
        self.store.close()

    def context(self, name: str, handle: int) -> Context:
        if (name, handle) not in self.handles:
            self.handles[name, handle] = Context(self.store, name, name="clerk")
        return self.handles[name, handle]

    @precondition(lambda self: len(self.models) < 3)
    @rule(target=instances)
    def begin(self) -> str:
        name = f"instance {len(self.models)}"
        self.models[name] = Model()
        return name

    @rule(name=instances, handle=st.integers(0, 1), role=st.sampled_from(["system", "user"]), content=CONTENT)
    def says(self, name: str, handle: int, role: str, content: Any) -> None:
        self._append(name, handle, {"role": role, "content": content})

    @rule(name=instances, handle=st.integers(0, 1), content=CONTENT, calls=st.integers(0, 2))
    def answers(self, name: str, handle: int, content: Any, calls: int) -> None:
        made = [
            {"id": f"call {self.calls + one}", "type": "function", "function": {"name": "search", "arguments": "{}"}}
            for one in range(calls)
        ]
        self.calls += calls
        self._append(name, handle, {"role": "assistant", "content": content, **({"tool_calls": made} if made else {})})

    @rule(name=instances, handle=st.integers(0, 1), content=CONTENT)
    def tool_answers(self, name: str, handle: int, content: Any) -> None:
        for call in self.models[name].open_calls()[:1]:
            self._append(name, handle, {"role": "tool", "content": content, "tool_call_id": call})

    def _append(self, name: str, handle: int, message: dict[str, Any]) -> None:
        model, context = self.models[name], self.context(name, handle)
        repairs: list[dict[str, Any]] = []
        if message["role"] != "tool":
            repairs = [{"role": "tool", "tool_call_id": one, "content": INTERRUPTED} for one in model.open_calls()]
        number = context.append_message(**message)
        assert number == model.now.count + len(repairs)
        model.became(
            number + 1 + len(message.get("tool_calls", ())),
            messages=[*model.now.messages, *repairs, message],
            numbers=[*model.now.numbers, *range(model.now.count, number), number],
        )

    @rule(name=instances, handle=st.integers(0, 1), state=STATES)
    def changes_state(self, name: str, handle: int, state: Mapping[str, Any]) -> None:
        context, model = self.context(name, handle), self.models[name]
        context.set_state(state)
        if dict(state) != model.now.state:
            model.became(model.now.count + 1, state=dict(state))

    @rule(name=instances, handle=st.integers(0, 1), data=st.data())
    def replaces(self, name: str, handle: int, data: st.DataObject) -> None:
        context, model = self.context(name, handle), self.models[name]
        plain = [one for one in model.now.messages if one["role"] in ("system", "user")]
        kept = data.draw(st.lists(st.sampled_from(plain), max_size=4, unique_by=id)) if plain else []
        wanted = [{"role": "system", "content": "a summary"}, *copy.deepcopy(kept)][data.draw(st.integers(0, 1)) :]
        context.replace_messages(wanted)
        count = context.get_last_sequence() + 1
        if wanted != model.now.messages:
            assert model.now.count < count <= model.now.count + 1 + len(wanted)
            model.became(count, messages=wanted, numbers=[None] * len(wanted))

    @rule(name=instances, handle=st.integers(0, 1), data=st.data())
    def rewinds(self, name: str, handle: int, data: st.DataObject) -> None:
        context, model = self.context(name, handle), self.models[name]
        then = data.draw(st.sampled_from(model.past))
        context.truncate_after_sequence(then.count - 1)
        model.became(model.now.count + 1, messages=then.messages, numbers=then.numbers, state=then.state)

    @precondition(lambda self: len(self.models) < 5)
    @rule(target=instances, name=instances, handle=st.integers(0, 1), data=st.data())
    def forks(self, name: str, handle: int, data: st.DataObject) -> Any:
        context, model = self.context(name, handle), self.models[name]
        if model.now.count == 0:
            return multiple()
        then = data.draw(st.sampled_from([one for one in model.past if one.count]))
        fork = f"instance {len(self.models)}"
        assert context.copy_to_new_instance(fork, then.count - 1) == fork
        past = [one for one in model.past if one.count <= then.count]
        self.models[fork] = Model(past=[*past, then._replace(count=then.count + 1)])
        return fork

    @rule(name=instances)
    def forgets_its_snapshot(self, name: str) -> None:
        if isinstance(self.store, DocumentStore) and self.store.capabilities.documents:
            scope = of_session(Context(self.store, name).session_id)
            for document in self.store.documents(scope):
                self.store.delete_document(scope, document.name, document.version)
        for handle in (0, 1):
            self.handles.pop((name, handle), None)

    @rule(name=instances, handle=st.integers(0, 1), data=st.data())
    def is_asked_for_an_earlier_number(self, name: str, handle: int, data: st.DataObject) -> None:
        context = self.context(name, handle)
        then = data.draw(st.sampled_from(self.models[name].past))
        assert context.get_messages(then.count) == then.messages
        assert context.get_state(then.count) == then.state

    @invariant()
    def everything_is_as_the_model_has_it(self) -> None:
        for name, model in self.models.items():
            for context in (self.context(name, 0), Context(self.store, name)):
                assert context.get_messages() == model.now.messages
                assert context.get_state() == model.now.state
                assert context.get_last_sequence() == model.now.count - 1
            events = list(read_through(self.store, name))
            assert len(events) == model.now.count
            own = [event.seq for event in self.store.read_context(name)]
            assert own == list(range(len(own)))
