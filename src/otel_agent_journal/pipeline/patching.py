"""What every instrumentor does with the library that it hooks: patch it once it is imported, and put it back.

An instrumentor of a framework derives from `Instrumentor`, which knows no framework: what is patched, and what the
patches do, is its own. The framework is never imported for it.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from importlib import metadata as distributions
from typing import Any, ClassVar, Final, Self

from wrapt import register_post_import_hook

from otel_agent_journal.replays.current import replaying

_log = logging.getLogger(__name__)

_OURS: Final = "_agent_journal"  # marks what was put in the place of a function, also where it is wrapped since

Patch = Callable[[Any], None]


class Instrumentor:
    """Patches a library while it is enabled. One a process: every instance of a class is the same one.

    `instrument()` may be called before the library is imported, and as often as one likes. `uninstrument()` puts back
    what it replaced; what another instrumentation has wrapped since is left in place, so that theirs stays, and has to
    do nothing by itself where `enabled` is not set.
    """

    minimum: ClassVar[Mapping[str, tuple[int, ...]]]  # the distributions it is for, and their oldest versions

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Return the one instance."""
        instance: Self | None = cls.__dict__.get("_instance")
        if instance is None:
            instance = super().__new__(cls)
            instance.enabled = False
            instance._registered = False
            instance._patched = set()
            instance._restore = []
            instance.set_up()
            cls._instance = instance
        return instance

    _instance: ClassVar[Any]
    enabled: bool
    _registered: bool
    _patched: set[str]
    _restore: list[Callable[[], bool]]  # each tells whether it is done with

    def set_up(self) -> None:
        """Make what the one instance keeps. Called once."""

    def patches(self) -> Mapping[str, Patch]:
        """Return what patches a module once it is imported, by the module's name."""
        raise NotImplementedError

    # --- what OpenTelemetry's loader calls ---

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Return what must be installed for this to do anything."""
        return tuple(f"{name} >= {_text(version)}" for name, version in self.minimum.items())

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Tell whether it is active."""
        return self.enabled

    def missing(self) -> str | None:
        """Return why there is nothing to instrument, or None where there is."""
        for name, version in self.minimum.items():
            try:
                found = distributions.version(name)
            except distributions.PackageNotFoundError:
                return f"{name} is not installed"
            if tuple(int(part) for part in found.split(".")[: len(version)] if part.isdigit()) < version:
                return f"{name} {found} is older than {_text(version)}"
        return None

    def instrument(self, **_: Any) -> None:
        """Patch the library now or, where it is not imported yet, when it is."""
        self.enabled = True
        if not self._registered:
            self._registered = True
            for name in self.patches():
                register_post_import_hook(functools.partial(self._patch, name), name)
        else:
            for name in self.patches():
                if name in sys.modules:
                    self._patch(name, sys.modules[name])

    def uninstrument(self, **_: Any) -> None:
        """Journal nothing new from here on; what is open is still journaled to its end."""
        self.enabled = False
        self._restore = [restore for restore in self._restore if not restore()]
        self._patched.clear()

    # --- patches ---

    def _patch(self, name: str, module: Any) -> None:
        if not self.enabled or name in self._patched:
            return
        try:
            self.patches()[name](module)
            self._patched.add(name)
        except Exception:
            if replaying() is not None:  # what is not patched would be called
                raise
            # An import of the program's must not fail for us.
            _log.warning("module=<%s> | could not be instrumented", name, exc_info=True)

    def replace(
        self, owner: Any, name: str, original: Any, replacement: Any, *, needed: Callable[[], bool] | None = None
    ) -> None:
        """Put a function in the place of another one, until `uninstrument()`; nothing where it is there already.

        Args:
            owner: a class or module.
            name: the attribute's name.
            original: its value.
            replacement: what takes its place.
            needed: tells at the end whether it has to stay all the same.
        """
        if getattr(original, _OURS, False):  # it was left in place, or wrapped by another since
            return
        setattr(replacement, _OURS, True)
        setattr(owner, name, replacement)

        def restore() -> bool:
            if owner.__dict__.get(name) is replacement:
                if needed is not None and needed():
                    return False
                setattr(owner, name, original)
            return True

        self._restore.append(restore)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
