"""What a module of msgspec structs declares, to be held against a list by hand; and a value of each."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import msgspec
from msgspec import inspect as types


def structs(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The structs that a module declares, in its order."""
    found = [one for one in vars(module).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, msgspec.Struct) and one.__module__ == module.__name__]


def own_fields(struct: type[msgspec.Struct]) -> tuple[str, dict[str, Any]]:
    """Names of its own fields that must be given, and the defaults of the others."""
    inherited = {name for base in struct.__bases__ for name in getattr(base, "__struct_fields__", ())}
    own = [field for field in msgspec.structs.fields(struct) if field.name not in inherited]
    made = {
        field.name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        for field in own if not field.required}
    return " ".join(field.name for field in own if field.required), made


def by_name_only(struct: type[msgspec.Struct]) -> bool:
    """Whether no field may be given by its place."""
    given = inspect.signature(struct).parameters.values()
    return all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in given)


def sample(struct: type[msgspec.Struct], *, whole: bool = True) -> Any:
    """A value of a struct; ``whole``: with every field given, and no list empty."""
    described = types.type_info(struct)
    assert isinstance(described, types.StructType)
    return _value(described) if whole else struct(
        **{field.encode_name: _value(field.type) for field in described.fields if field.required})


def _value(described: types.Type) -> Any:
    match described:
        case types.StrType():
            return "ü"
        case types.BoolType():
            return True
        case types.IntType():
            return 2**52
        case types.EnumType(cls=cls):
            return list(cls)[-1]
        case types.UnionType(types=several):
            return _value(next(one for one in several if not isinstance(one, types.NoneType)))
        case types.VarTupleType(item_type=item):
            return (_value(item), _value(item))
        case types.TupleType(item_types=items):
            return tuple(_value(item) for item in items)
        case types.DictType(value_type=value):
            return {"k": _value(value)}
        case types.StructType(cls=cls, fields=fields):
            return cls(**{field.encode_name: _value(field.type) for field in fields})
        case types.AnyType():
            return [None, "x"]
    raise AssertionError(f"no value for {described}")
