"""Frozen and slotted dataclasses, and named tuples, that cost little to make.

``dataclasses`` writes and compiles up to six methods of each class, and makes a class with slots
twice; ``typing.NamedTuple`` compiles each annotation that is text. Here ``__init__`` alone is
compiled, as it is what is called in quantities. The other methods are the same for all classes.

A type checker takes these for what they stand for, and so does ``dataclasses``: its `fields`,
`replace` and `asdict` work as ever.
"""

from __future__ import annotations

from ._making import fields_of

TYPE_CHECKING = False  # without an import of typing
if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import field, replace
    from typing import NamedTuple
else:
    from ._making import NamedTuple, field, record, replace

__all__ = ["NamedTuple", "field", "fields_of", "record", "replace"]
