"""How the classes of :mod:`wsgi_async._records` are made."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from ._imports import StandardFirst

__all__ = ["Field", "NamedTuple", "field", "fields_of", "record", "replace"]

_MISSING: Any = object()
_NO_METADATA: Mapping[str, Any] = {}


class Field:
    """What there is to know of a field besides its name."""

    __slots__ = ("default", "default_factory", "init", "metadata", "repr")

    def __init__(
        self,
        default: Any = _MISSING,
        default_factory: Callable[[], Any] = _MISSING,
        init: bool = True,
        repr: bool = True,
        metadata: Mapping[str, Any] = _NO_METADATA,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.metadata = metadata


def field(**given: Any) -> Any:
    """As ``dataclasses.field``, with the arguments of :class:`Field`."""
    return Field(**given)


def fields_of(cls: type[Any]) -> Mapping[str, Field]:
    """The fields of a record, in their order."""
    fields: Mapping[str, Field] = cls.__record_fields__
    return fields


def replace(one: Any, /, **changes: Any) -> Any:
    """As ``dataclasses.replace``."""
    return one.__replace__(**changes)


def record(
    *,
    slots: bool,
    frozen: bool = False,
    kw_only: bool = False,
    eq: bool = True,
    repr: bool = True,
) -> Callable[[type[Any]], type[Any]]:
    """As ``dataclasses.dataclass`` with these arguments.

    :param slots: True; what has none is no record.
    """
    assert slots

    def make(cls: type[Any]) -> type[Any]:
        types = dict(cls.__annotations__)
        fields = {name: _field(cls.__dict__.get(name, _MISSING)) for name in types}
        content = {
            name: value
            for name, value in cls.__dict__.items()
            if name not in fields and name not in ("__dict__", "__weakref__")
        }
        content["__qualname__"] = cls.__qualname__
        content["__slots__"] = tuple(fields)
        given = tuple(name for name, item in fields.items() if item.init)
        content["__match_args__"] = () if kw_only else given
        content["__record_fields__"] = fields
        content["__init__"] = _init(cls, fields, types, frozen, kw_only)
        made: dict[str, Any] = {"frozen": frozen, "kw_only": kw_only, "eq": eq, "repr": repr}
        twin = _Twin(types, made)
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            content[name] = _OfTwin(twin, name)
        if repr:
            content.setdefault("__repr__", _repr)
        if eq:
            content.setdefault("__eq__", _eq)
            content.setdefault("__hash__", _hash if frozen else None)
            content["_record_key"] = _key(tuple(fields))
        if frozen:
            content["__setattr__"], content["__delattr__"] = _refuse_set, _refuse_delete
            content["__getstate__"], content["__setstate__"] = _get_state, _set_state
        content["__replace__"] = _replace
        made_again: type[Any] = type.__call__(type(cls), cls.__name__, cls.__bases__, content)
        return made_again

    return make


def _field(default: Any) -> Field:
    return default if isinstance(default, Field) else Field(default)


def _init(
    cls: type[Any], fields: Mapping[str, Field], types: dict[str, Any], frozen: bool, kw_only: bool
) -> Any:
    """The only method that is compiled: it is what is called in quantities."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
    parameters, lines = ["self", *(["*"] if kw_only and fields else [])], []
    for name, item in fields.items():
        if not item.init:  # __post_init__ sets it
            continue
        value, default = name, ""
        if item.default is not _MISSING:
            known[f"_default_{name}"] = item.default
            default = f"=_default_{name}"
        elif item.default_factory is not _MISSING:
            known[f"_make_{name}"] = item.default_factory
            default, value = "=_missing", f"_make_{name}() if {name} is _missing else {name}"
        parameters.append(name + default)
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n {body}", known)
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    made.__annotations__ = {**types, "return": None}
    return made


def _key(names: tuple[str, ...]) -> Any:
    """What two equal ones have in common."""
    if len(names) == 1:
        only = attrgetter(*names)
        return staticmethod(lambda one: (only(one),))
    return staticmethod(attrgetter(*names) if names else lambda one: ())


def _repr(self: Any) -> str:
    shown = [name for name, item in fields_of(type(self)).items() if item.repr]
    texts = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({texts})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._record_key(self) == self._record_key(other)


def _hash(self: Any) -> int:
    return hash(self._record_key(self))


def _refuse_set(self: Any, name: str, value: object) -> None:
    raise _frozen(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise _frozen(f"cannot delete field {name!r}")


def _frozen(text: str) -> Exception:
    with StandardFirst():
        from dataclasses import FrozenInstanceError
    return FrozenInstanceError(text)


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in fields_of(type(self))]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(fields_of(type(self)), state, strict=True):
        object.__setattr__(self, name, value)


def _replace(self: Any, /, **changes: Any) -> Any:
    if "__record_fields__" not in type(self).__dict__:  # a dataclass that stands on a record
        with StandardFirst():
            import dataclasses
        return dataclasses.replace(self, **changes)
    items = fields_of(type(self)).items()
    kept = {name: getattr(self, name) for name, item in items if item.init and name not in changes}
    return type(self)(**kept, **changes)


class _Twin:
    """A real dataclass with the same fields, made for who asks ``dataclasses`` about a record."""

    def __init__(self, types: dict[str, Any], made: dict[str, Any]) -> None:
        self._types = types
        self._made = made
        self._class: type[Any] | None = None

    def of(self, owner: type[Any]) -> type[Any]:
        if self._class is None:
            with StandardFirst():
                import dataclasses
            fields: list[Any] = []
            for name, item in fields_of(owner).items():
                given = {"default": item.default, "default_factory": item.default_factory}
                given = {key: value for key, value in given.items() if value is not _MISSING}
                made = dataclasses.field(
                    init=item.init, repr=item.repr, metadata=item.metadata, **given
                )
                fields.append((name, self._types[name], made))
            self._class = dataclasses.make_dataclass(owner.__name__, fields, **self._made)
        return self._class


class _OfTwin:
    """An attribute that the twin has."""

    def __init__(self, twin: _Twin, name: str) -> None:
        self._twin = twin
        self._name = name

    def __get__(self, one: object, owner: type[Any]) -> Any:
        return getattr(self._twin.of(owner), self._name)


class _NamedTupleType(type):
    def __new__(meta, name: str, bases: tuple[type, ...], content: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(meta, name, bases, content)
        types = content.get("__annotations__", {})
        defaults = [content[field] for field in types if field in content]
        made = namedtuple(name, types, defaults=defaults, module=content["__module__"])  # type: ignore[misc]
        made.__annotations__ = made.__new__.__annotations__ = types
        for key, value in content.items():
            if key not in types and key not in ("__module__", "__annotations__"):
                setattr(made, key, value)
        return made


class NamedTuple(metaclass=_NamedTupleType):
    """As ``typing.NamedTuple``, but that annotations stay what they are: text."""
