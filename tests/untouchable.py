"""Objects that note whatever is done to them: what the agent put where, and must not be noticed to have been looked at.

`Noticing.noticed` has what any of them was asked. None answers in a way that would let a mistake pass quietly.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

# Modules by which somebody else asks.
_BETWEEN: Final = frozenset(
    (__name__, "abc", "collections.abc", "contextlib", "copy", "dataclasses", "inspect", "json")
)


class Noticing:
    """What the objects of one test were asked by code of ours; what a framework asks of its own is not our business."""

    def __init__(self) -> None:
        self.noticed: list[str] = []

    def _note(self, what: str) -> None:
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").startswith("otel_agent_journal"):
            self.noticed.append(what)

    def objects(self) -> dict[str, Any]:
        """One object of each kind, by what it is."""
        note = self._note

        class Meta(type):
            def __hash__(cls) -> int:
                note("hash of the class")
                return 1

            def __eq__(cls, other: object) -> bool:
                note("equality of the class")
                return cls is other

            def __getattribute__(cls, name: str) -> Any:
                note(f"class.{name}")
                return type.__getattribute__(cls, name)

        class Everything(metaclass=Meta):
            def __getattribute__(self, name: str) -> Any:
                note(f".{name}")
                raise AttributeError(name)

            def __len__(self) -> int:
                note("len()")
                return 3

            def __iter__(self) -> Iterator[Any]:
                note("iter()")
                return iter("abc")

            def __bool__(self) -> bool:
                note("bool()")
                return True

            def __eq__(self, other: object) -> bool:
                note("==")
                return False

            def __hash__(self) -> int:
                return 1

            def __repr__(self) -> str:
                note("repr()")
                return "?"

            __str__ = __repr__

        class Liar:
            @property
            def __class__(self) -> Any:
                note("__class__")
                return dict

        class Dumps:
            def model_dump(self) -> Any:
                note("model_dump()")

            dict = to_dict = _asdict = __json__ = model_dump

        class Message:
            type, additional_kwargs = "human", {}

            @property
            def content(self) -> Any:
                note(".content")
                return "?"

        class Lazy(Mapping[str, Any]):
            def __getitem__(self, key: str) -> Any:
                note("[]")
                return key

            def __iter__(self) -> Iterator[str]:
                note("iter()")
                return iter("abc")

            def __len__(self) -> int:
                note("len()")
                return 3

        class Query(list[Any]):
            def __iter__(self) -> Iterator[Any]:
                note("iter()")
                return iter("abc")

            def __len__(self) -> int:
                note("len()")
                return 3

        class Settings(dict[str, Any]):
            def items(self) -> Any:
                note("items()")
                return super().items()

            def __iter__(self) -> Iterator[str]:
                note("iter()")
                return super().__iter__()

        class Text(str):  # noqa: SLOT000 - as a user writes it
            def __str__(self) -> str:
                note("str()")
                return "?"

            def __len__(self) -> int:
                note("len()")
                return 0

            def __getitem__(self, key: Any) -> str:
                note("[]")
                return "?"

            def encode(self, *args: Any) -> bytes:
                note("encode()")
                return b"?"

        @dataclasses.dataclass
        class Row:
            id: int

            def __getattribute__(self, name: str) -> Any:
                note(f".{name}")
                return object.__getattribute__(self, name)

        class Odd(set[Any]):
            def __iter__(self) -> Iterator[Any]:
                note("iter()")
                return iter(())

        def generator() -> Iterator[int]:
            note("next()")
            yield 1

        async def coroutine() -> None:
            note("await")

        return {
            "everything": Everything(),
            "liar": Liar(),
            "dumps": Dumps(),
            "message": Message(),
            "lazy": Lazy(),
            "query": Query([1]),
            "settings": Settings(a=1),
            "text": Text("said"),
            "row": Row(1),
            "odd": Odd([1]),
            "generator": generator(),
            "class": Everything,
        }
