"""A JSON object of the service as a typed Python object that outlives changes of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

Nested: TypeAlias = "Mapping[str, type[Resource]]"
"""Which fields of a resource hold resources, or lists of them."""


class Resource(dict[str, Any]):
    """An answer's JSON object: a dict whose declared fields are attributes too.

    A declared field that the answer lacks is None; a field that this version does not know is kept, to be
    read as `resource["name"]` or `resource.name`. Nothing is checked, so that a newer service never breaks an
    older client.
    """

    _nested: ClassVar[Nested] = {}
    _shown: ClassVar[tuple[str, ...]] = ("id", "status")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        for name, kind in self._nested.items():
            value = self.get(name)
            if isinstance(value, Mapping):
                self[name] = kind(value)
            elif isinstance(value, list):
                self[name] = [kind(item) if isinstance(item, Mapping) else item for item in value]

    if not TYPE_CHECKING:  # a checker knows the declared fields, and finds what is none of them

        def __getattr__(self, name: str) -> Any:
            if name in self:
                return self[name]
            if not name.startswith("_") and any(
                name in vars(kind).get("__annotations__", {}) for kind in type(self).__mro__
            ):
                return None
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    def __repr__(self) -> str:
        shown = [f"{name}={self[name]}" for name in self._shown if self.get(name) is not None]
        return f"<{' '.join([type(self).__name__, *shown])}>"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as it came."""
        copied: dict[str, Any] = plain(self)
        return copied


def plain(value: Any) -> Any:
    """Resources, at any depth, as the dicts that they hold."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
