"""Types of the columns that are carried through: one canonical type for each, one schema for all shards.

In a shard, string-like columns (string, large_string, string_view, dictionaries of them) become string,
binary-like ones binary, columns of nothing but nulls null; every other type is kept. Between shards integers
and floats widen, other scalars that differ become strings, and what cannot be reconciled is an error that
names both shards. The result depends on the shards in key order and on nothing else. Not here: the text
column (reading.py).
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ConfigError, DataError
from curate.schema import ERROR, TEXT
from curate.shards.model import ERROR_DETAIL, Input, Shard

RESERVED = (TEXT, ERROR, ERROR_DETAIL)


def is_stringlike(kind: pa.DataType) -> bool:
    """Tell whether values of this type are text, dictionaries of text included."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_binarylike(kind: pa.DataType) -> bool:
    """Tell whether values of this type are bytes, dictionaries of bytes included."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def canonical(kind: pa.DataType) -> pa.DataType:
    """Give the one type that stands for this type and its variants."""
    if is_stringlike(kind):
        return pa.string()
    if is_binarylike(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    return kind


def convert(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast an array; dictionaries are decoded first, booleans become `true` and `false`."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type == kind:
        return array
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_string() if pa.types.is_string_view(array.type) else pa.large_binary())
    return array.cast(kind)


def row_bytes(array: pa.Array) -> pa.Array:
    """Bytes of each value: the length of strings and bytes, 8 for each item of a list, else 8."""
    kind = array.type
    if pa.types.is_dictionary(kind) and (is_stringlike(kind) or is_binarylike(kind)):
        return pc.take(row_bytes(array.dictionary), array.indices).fill_null(0)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = convert(array, pa.large_binary())
    if is_stringlike(array.type) or is_binarylike(array.type):
        return pc.binary_length(array).cast(pa.int64()).fill_null(0)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pc.multiply(pc.list_value_length(array).cast(pa.int64()), 8).fill_null(0)
    return pa.repeat(pa.scalar(8, pa.int64()), len(array))


def carried_schema(shards: Sequence[Shard], settings: Input) -> pa.Schema:
    """Merge the carried columns of all shards, in the order in which they first appear.

    A column without any value is string. A name in `input.columns` that no shard has is a ConfigError; types
    that cannot be reconciled are a DataError that names both shards.
    """
    merged: dict[str, tuple[pa.DataType, Shard]] = {}
    for shard in shards:
        for column in shard_schema(shard, settings):
            if column.name not in merged or pa.types.is_null(merged[column.name][0]):
                merged[column.name] = (column.type, shard)
            else:
                kind, first = merged[column.name]
                merged[column.name] = (_merge(column.name, kind, column.type, (first, shard)), first)
    _check_found(merged.keys(), shards, settings)
    string = pa.string()
    return pa.schema(
        [(name, string if pa.types.is_null(kind) else kind) for name, (kind, _) in merged.items()]
    )


def shard_schema(shard: Shard, settings: Input) -> pa.Schema:
    """Carried columns of one shard; a name that the engine needs itself is a DataError."""
    fields = [column for column in shard.schema if settings.carries(column.name)]
    for column in fields:
        if column.name in RESERVED:
            raise DataError(
                f"{shard.key}: column {column.name} cannot be carried: the engine uses this name",
                hint="list the columns to carry in input.columns, without it",
            )
    return pa.schema(fields)


def _check_found(found: object, shards: Sequence[Shard], settings: Input) -> None:
    wanted = list(settings.columns or ())
    wanted += [
        name
        for name, default in ((settings.id, "id"), (settings.source, "source"))
        if name and name != default
    ]
    known = sorted({name for shard in shards for name in shard.schema.names} | {settings.text})
    for name in wanted:
        if name not in known:
            raise ConfigError(f"input.columns: no shard has a column {name}; there are: {', '.join(known)}")


def _merge(name: str, left: pa.DataType, right: pa.DataType, shards: tuple[Shard, Shard]) -> pa.DataType:
    if left == right or pa.types.is_null(right):
        return left
    if _is_scalar(left) and _is_scalar(right):
        return _merge_scalars(left, right)
    try:
        both = [pa.schema([(name, left)]), pa.schema([(name, right)])]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid) as exc:
        raise DataError(
            f"column {name} is {left} in {shards[0].key} and {right} in {shards[1].key}",
            hint="leave the column out with input.columns, or convert it in the input",
        ) from exc


def _is_scalar(kind: pa.DataType) -> bool:
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(is_number or pa.types.is_boolean(kind) or pa.types.is_string(kind))


def _merge_scalars(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """Widen numbers; a pair without a common number is string."""
    if pa.types.is_integer(left) and pa.types.is_integer(right):
        signed = [kind for kind in (left, right) if pa.types.is_signed_integer(kind)]
        if len(signed) in (0, 2):
            return left if left.bit_width >= right.bit_width else right
        return pa.string() if pa.uint64() in (left, right) else pa.int64()
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (left, right))
    if not numbers:
        return pa.string()
    both_float = pa.types.is_floating(left) and pa.types.is_floating(right)
    return (left if left.bit_width >= right.bit_width else right) if both_float else pa.float64()
