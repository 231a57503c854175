"""Reads PROTOCOL.md: its tables, and its examples built from the values that it states.

Nothing of the program is used here: headers are packed by the document's own offsets with `struct`, bodies
with the `msgpack` package. Run as a program it writes the bytes of every example anew.
"""

import json
import re
import shlex
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack

DOCUMENT = Path(__file__).parents[1] / "PROTOCOL.md"
_SIZES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
_PER_LINE = 24

Row = dict[str, str]


@dataclass
class Example:
    """One example: where it stands, what it says its bytes mean, and the bytes that it shows."""

    heading: str
    link: str
    header: dict[str, object]
    body: object
    shown: bytes


def sections(text: str) -> Iterator[tuple[str, str, str]]:
    """(chapter, heading, text) of every heading."""
    chapter = heading = ""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            yield chapter, heading, "\n".join(lines)
            lines = []
            heading = line.lstrip("# ")
            chapter = heading if line.startswith("## ") else chapter
        else:
            lines.append(line)
    yield chapter, heading, "\n".join(lines)


def section(text: str, wanted: str) -> str:
    """The one section of that heading. Raises KeyError."""
    found = [body for _, heading, body in sections(text) if heading == wanted]
    if len(found) != 1:
        raise KeyError(f"{wanted}: {len(found)} sections")
    return found[0]


def table(text: str) -> list[Row]:
    """The first table of a section; empty if there is none."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif found:
            break
    return [dict(zip(found[0], row, strict=True)) for row in found[2:]] if found else []


def _blocks(text: str, name: str) -> list[str]:
    return re.findall(rf"^```{name}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def fingerprint(text: str) -> tuple[list[str], str]:
    """The lines of the example, and the number that it shows for them."""
    *lines, last = _blocks(section(text, "Fingerprint"), "fingerprint")[0].splitlines()
    return lines, last.removeprefix("crc32: ")


def examples(text: str) -> list[Example]:
    return [
        _example(heading, block) for _, heading, body in sections(text) for block in _blocks(body, "example")
    ]


def _example(heading: str, block: str) -> Example:
    head, body, *dump = block.splitlines()
    link, *stated = shlex.split(head.removeprefix("header: "))
    header = {
        name: int(value) if value.isdigit() else value for name, value in (s.split("=") for s in stated)
    }
    shown = bytes.fromhex("".join(line[6:] for line in dump))
    return Example(heading, link, header, json.loads(body.removeprefix("body: "), object_hook=_bytes), shown)


def _bytes(value: dict[str, object]) -> object:
    return bytes.fromhex(str(value["bytes"])) if value.keys() == {"bytes"} else value


def build_header(text: str, example: Example) -> bytes:
    """Pack the stated values at the offsets of the document's table; what is not stated is 0."""
    built = b""
    known = set()
    for row in table(section(text, f"{example.link.capitalize()} header")):
        assert int(row["offset"]) == len(built), (
            f"{example.link}: {row['field']} does not follow what is before it"
        )
        size, field = int(row["size"]), row["field"]
        known.add(field)
        value = b"OW" if field == "magic" else example.header.get(field, 0)
        if row["type"] == "bytes":
            packed = (value.encode() if isinstance(value, str) else bytes(value)).ljust(size, b"\0")
        else:
            packed = struct.pack("<" + _SIZES[row["type"]], value)
        assert len(packed) == size
        built += packed
    assert example.header.keys() <= known, example.header.keys() - known
    return built


def build_body(example: Example) -> bytes:
    packed: bytes = msgpack.packb(example.body)
    return packed


def bodies() -> dict[int, bytes]:
    """A good body of every kind (the last example of it)."""
    return {example.shown[5]: build_body(example) for example in examples(DOCUMENT.read_text())}


def _dump(offset: int, data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _PER_LINE):
        yield f"{offset + start:04x}  {data[start : start + _PER_LINE].hex(' ')}"


def rewritten(text: str) -> str:
    """The document with the bytes of its examples, and the example's fingerprint, computed anew."""

    def with_bytes(match: re.Match[str]) -> str:
        stated = "\n".join(match[1].splitlines()[:2])
        example = _example("", stated)
        header, body = build_header(text, example), build_body(example)
        lines = [stated, *_dump(0, header), *_dump(len(header), body)]
        return "```example\n" + "\n".join(lines) + "\n```"

    text = re.sub(r"^```example\n(.*?)\n```$", with_bytes, text, flags=re.MULTILINE | re.DOTALL)
    lines, shown = fingerprint(text)
    return text.replace(f"crc32: {shown}\n", f"crc32: {zlib.crc32(chr(10).join(lines).encode()):#010x}\n")


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text()))
