"""A check of JSON against the part of JSON Schema that boxcam's schema uses; any other word of it is an error."""

from __future__ import annotations

from typing import Any

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_WORDS = {
    *("$schema", "title", "description", "type", "properties", "required", "additionalProperties", "items", "enum"),
    *("minimum", "maximum", "minItems", "maxItems"),
}


def faults(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """What is wrong with a value; nothing if it satisfies the schema."""
    unknown = set(schema) - _WORDS
    if unknown:
        raise NotImplementedError(f"{where}: {unknown}")
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return [f"{where}: {type(value).__name__}, expected {' or '.join(kinds)}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: {value} is out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{where}: {len(value)} items")
        found += [fault for k, one in enumerate(value) for fault in faults(one, schema["items"], f"{where}[{k}]")]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        found += [f"{where}: lacks {name}" for name in schema.get("required", ()) if name not in value]
        for name, one in value.items():
            below = known.get(name, others)
            if below is False:
                found.append(f"{where}: has {name}")
            elif below is not True:
                found += faults(one, below, f"{where}.{name}")
    return found


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        return isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])
