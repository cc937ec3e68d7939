"""Records do what ``dataclasses`` makes, and named tuples what ``typing`` does, for less."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from wsgi_async import _making, _records
from wsgi_async.config.options import Config

Maker = Callable[..., Callable[[type[Any]], type[Any]]]
FORMS: list[dict[str, bool]] = [
    {},
    {"frozen": True},
    {"frozen": True, "kw_only": True},
    {"eq": False},
    {"frozen": True, "repr": False},
]


def made_by(maker: Maker, field: Callable[..., Any], form: dict[str, bool]) -> type[Any]:
    class Point:
        """Somewhere."""

        x: int
        y: int = 2
        hidden: str = field(default="h", repr=False)
        several: list[int] = field(default_factory=list)
        total: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "total", self.x + self.y)

    return maker(slots=True, **form)(Point)


def outcome(act: Callable[[], object]) -> object:
    """What it returns, or how it fails: the kind and the first words, which name no class."""
    try:
        return act()
    except Exception as error:
        return type(error), str(error).rpartition(".")[2]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_does_what_a_dataclass_does(form: dict[str, bool]) -> None:
    seen = []
    for maker, field in (
        (dataclasses.dataclass, dataclasses.field),
        (_making.record, _making.field),
    ):
        cls = made_by(maker, field, form)
        one, same, other = cls(x=1), cls(x=1), cls(x=1, y=3)
        parameters = inspect.signature(cls).parameters.values()
        seen.append(
            [
                repr(one).partition(" object")[0],
                [one == same, one != same, one == other, one == (1, 2)],
                outcome(lambda one=one, same=same: hash(one) == hash(same)),
                outcome(lambda one=one: setattr(one, "x", 9)),
                outcome(lambda one=one: delattr(one, "y")),
                outcome(lambda one=one: setattr(one, "nothing", 9)) is None,
                outcome(lambda cls=cls: cls()),
                outcome(lambda cls=cls: cls(x=1, z=2)),
                outcome(lambda cls=cls: cls(1, 2).y),
                [(one.name, one.kind, one.annotation) for one in parameters],
                cls.__match_args__,
                cls.__slots__,
                cls.__doc__,
                [(item.name, item.type, item.init) for item in dataclasses.fields(cls)],
                dataclasses.asdict(other),
                dataclasses.replace(one, y=7).total,
                copy.copy(one).total,
                copy.deepcopy(one).several is one.several,
                one.several is same.several,
            ]
        )
    assert seen[0] == seen[1]
    assert dataclasses.is_dataclass(cls)


def test_a_dataclass_may_inherit_from_a_record() -> None:
    base = made_by(_making.record, _making.field, {})

    @dataclasses.dataclass(slots=True)
    class Further(base):  # type: ignore[misc]
        more: int = dataclasses.field(kw_only=True)

    assert (Further(1, more=5).total, Further(1, more=5).more) == (3, 5)


def test_one_that_cannot_be_changed_can_be_pickled() -> None:
    config = Config(threads=3)
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config, threads=4) == Config(threads=4) != config
    assert hash(config) == hash(Config(threads=3))


def tuple_by(base: Any) -> Any:
    namespace: dict[str, Any] = {"NamedTuple": base, "__name__": __name__}
    source = (
        "from __future__ import annotations\n"
        "class Pair(NamedTuple):\n"
        "    'Two.'\n"
        "    left: Absent | None\n"
        "    right: int = 3\n"
        "    @property\n"
        "    def both(self): return self.left, self.right\n"
        "    def __str__(self): return 'pair'\n"
    )
    exec(source, namespace)
    return namespace["Pair"]


def test_a_named_tuple_is_what_typing_makes_but_that_annotations_are_text() -> None:
    seen = []
    for base in (typing.NamedTuple, _making.NamedTuple):
        cls = tuple_by(base)
        one = cls(1)
        seen.append(
            [
                *(repr(one), str(one), one.both, one == (1, 3), one._replace(right=4)),
                *(cls._fields, cls._field_defaults, cls.__doc__, cls.__module__, cls.__mro__[1:]),
                str(inspect.signature(cls)).count("left"),
                outcome(lambda one=one: setattr(one, "left", 2)) is None,
            ]
        )
    assert seen[0] == seen[1]
    assert cls.__annotations__ == {"left": "Absent | None", "right": "int"}


def test_of_a_records_methods_one_is_compiled() -> None:
    """It is why they exist: a start makes some thirty."""
    compiled = []

    def compiling(source: str, known: dict[str, Any]) -> None:
        compiled.append(source)
        exec(source, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_making.__dict__, "exec", compiling)
        made_by(_making.record, _making.field, {"frozen": True})
        tuple_by(_making.NamedTuple)
    assert len(compiled) == 1
    assert _records.record is _making.record  # type: ignore[comparison-overlap]


def test_a_dataclass_may_stand_on_a_record() -> None:
    """As the heads of front servers do; until CPython 3.13 it has no ``__replace__`` of its own."""

    @_making.record(slots=True)
    class Base:
        a: int
        b: int = 2

    @dataclasses.dataclass(slots=True)
    class Above(Base):
        c: int = dataclasses.field(kw_only=True)

    one = Above(1, c=3)
    for replace in (_making.replace, _records.replace, dataclasses.replace):
        assert replace(one, b=5) == Above(1, 5, c=3)
    assert (one.b, repr(_making.replace(one, c=4))) == (2, repr(Above(1, c=4)))
