"""Names to things: one small table a kind, open to other packages through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from cellnet.errors import ConfigError, UnknownNameError

T = TypeVar("T")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among ``known``; its message shows the nearest names.

    Args:
        kind: What the name stands for, in the reader's words, e.g. ``"data set"``.
        name: What the user typed.
        known: The names that would have been right.
    """
    names = sorted(known)
    spelt = {known.lower(): known for known in names}
    near = difflib.get_close_matches(str(name).lower(), spelt, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(spelt[n]) for n in near)}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is among ``known``.

    Raises:
        UnknownNameError: It is not; the message shows the nearest names.

    Example:
        >>> check_name("optimizer", "adm", ["adam", "sgd"])
        Traceback (most recent call last):
        cellnet.errors.UnknownNameError: Unknown optimizer 'adm'. Did you mean 'adam'? Known: adam, sgd.
    """
    names = list(known)
    if name not in names:
        raise unknown_name(kind, name, names)
    return name


class Registry(Generic[T]):
    """A table of named things of one kind.

    Other packages add to it by an entry point in ``group``: the entry point's name is the name, and it is
    loaded when first asked for.

    Args:
        kind: What the names stand for, used in error messages.
        group: Entry-point group that plug-ins use, e.g. ``"cellnet.datasets"``.

    Example:
        >>> shapes = Registry[type]("shape", "example.shapes")
        >>> @shapes.register("disc")
        ... class Disc: ...
        >>> shapes.get("disc") is Disc, shapes.list()
        (True, ['disc'])
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters a thing under ``name``.

        Raises:
            ConfigError: ``name`` is taken.
        """

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ConfigError(f"The {self.kind} name {name!r} is taken; register under another name.")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """The thing called ``name``.

        Raises:
            UnknownNameError: No such name; the message shows the nearest ones.
        """
        if name in self._entries:
            return self._entries[name]
        plugins = {point.name: point for point in entry_points(group=self.group)}
        if name in plugins:
            self._entries[name] = plugins[name].load()
            return self._entries[name]
        raise unknown_name(self.kind, name, self.list())

    def list(self) -> list[str]:
        """All names, plug-ins included, in alphabetical order."""
        return sorted({*self._entries, *(point.name for point in entry_points(group=self.group))})
