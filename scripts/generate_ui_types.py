"""Write the viewer's TypeScript types of what the server says, from the Structs of server/wire*.py.

Each `server/wire….py` becomes `ui/src/model/wire….ts`, which is checked in: an interface a Struct, and for those that
are arrays on the wire a function from the array to the object. A test compares, so the two cannot part.

    python scripts/generate_ui_types.py            write
    python scripts/generate_ui_types.py --check    say which files differ, exit code 1
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import inspect as shapes

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "ui" / "src" / "model"
PLAIN: dict[type, str] = {
    shapes.StrType: "string",
    shapes.IntType: "number",
    shapes.FloatType: "number",
    shapes.BoolType: "boolean",
    shapes.NoneType: "null",
    shapes.AnyType: "unknown",
    shapes.RawType: "unknown",
}


def typescript(shape: shapes.Type) -> str:
    """The TypeScript of a type as msgspec sees it."""
    match shape:
        case shapes.UnionType(types=types):
            return " | ".join(dict.fromkeys(typescript(one) for one in types))
        case shapes.LiteralType(values=values):
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        case shapes.DictType(value_type=value):
            return f"Readonly<Record<string, {typescript(value)}>>"
        case shapes.VarTupleType(item_type=item) | shapes.ListType(item_type=item):
            inner = typescript(item)
            return f"readonly ({inner})[]" if " " in inner else f"readonly {inner}[]"
        case shapes.TupleType(item_types=items):
            return f"readonly [{', '.join(map(typescript, items))}]"
        case shapes.StructType(cls=cls):
            return f"{cls.__name__}Array" if cls.__struct_config__.array_like else cls.__name__
        case _:
            return PLAIN[type(shape)]


def comment(struct: type, indent: str = "") -> str:
    """A Struct's docstring as a comment of TypeScript."""
    lines = textwrap.dedent(inspect.getdoc(struct) or "").splitlines()
    return "\n".join(f"{indent}{line}".rstrip() for line in ["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def declaration(struct: type[msgspec.Struct]) -> str:
    """The interface of a Struct, and where it is an array on the wire, the way from that."""
    shape = shapes.type_info(struct)
    assert isinstance(shape, shapes.StructType)
    config = struct.__struct_config__
    optional = config.omit_defaults and not config.array_like
    fields = [
        f"  readonly {field.encode_name}{'?' if optional and not field.required else ''}: {typescript(field.type)};"
        for field in shape.fields
    ]
    name = struct.__name__
    text = f"{comment(struct)}\nexport interface {name} {{\n" + "\n".join(fields) + "\n}\n"
    if config.array_like:
        types = "".join(f"  {field.encode_name}: {typescript(field.type)},\n" for field in shape.fields)
        parts = "".join(f"    {field.encode_name}: a[{place}],\n" for place, field in enumerate(shape.fields))
        small = name[0].lower() + name[1:]
        text += f"\nexport type {name}Array = readonly [\n{types}];\n"
        text += f"\nexport function {small}Of(a: {name}Array): {name} {{\n  return {{\n{parts}  }};\n}}\n"
    return text


def structs_of(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The Structs that a module itself defines, as they stand in it."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    ]


def imports_of(module: ModuleType) -> list[str]:
    """The import lines for Structs that a module has from another of the same kind."""
    wanted: dict[str, list[str]] = {}
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ != module.__name__:
            array = value.__struct_config__.array_like
            source = value.__module__.rsplit(".", 1)[1]
            if source.startswith("wire"):
                wanted.setdefault(source, []).append(f"{value.__name__}Array" if array else value.__name__)
    return [f'import type {{ {", ".join(sorted(names))} }} from "./{source}.ts";' for source, names in wanted.items()]


def generated() -> dict[Path, str]:
    """What each file is to hold."""
    files: dict[Path, str] = {}
    for source in sorted((ROOT / "src" / "otel_agent_journal" / "server").glob("wire*.py")):
        module = importlib.import_module(f"otel_agent_journal.server.{source.stem}")
        head = f"// Written by scripts/generate_ui_types.py from server/{source.name}: change that, and run it.\n"
        parts = [declaration(struct) for struct in structs_of(module)]
        imports = "".join(f"{line}\n" for line in imports_of(module))
        files[MODEL / f"{source.stem}.ts"] = "\n".join([head, *([imports] if imports else []), *parts])
    return files


def main() -> int:
    """Write, or say what differs."""
    differing = [file for file, text in generated().items() if not file.exists() or file.read_text() != text]
    if "--check" in sys.argv[1:]:
        for file in differing:
            print(f"{file.relative_to(ROOT)} differs from the Structs; run: python scripts/generate_ui_types.py")
        return int(bool(differing))
    for file in differing:
        file.write_text(generated()[file])
    return 0


if __name__ == "__main__":
    sys.exit(main())
