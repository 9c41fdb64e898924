"""Damage to files: bytes flipped, cut, inserted, repeated, zeroed, exchanged; also in archives."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

Mutation = Callable[[bytes, random.Random], bytes]

INTERESTING = (
    *(
        b"\x00",
        b"\xff",
        b"\n",
        b"\r\n",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"-",
        b"e99",
        b"\xf0\x9f",
    ),
    *(b"NaN", b"Infinity", b"null", b"true", b"-1", b"99999999999999999999", b"\x7f\xff\xff\xff"),
    *(b"../", b"/etc/passwd", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"1970-01-01", b"0000-00-00"),
)


def flip(content: bytes, draw: random.Random) -> bytes:
    """Change a few bytes."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def cut(content: bytes, draw: random.Random) -> bytes:
    """Leave out the end, or what is between two places."""
    first, last = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return content[:first] if draw.random() < 0.5 else content[:first] + content[last:]


def insert(content: bytes, draw: random.Random) -> bytes:
    """Insert what parsers trip over."""
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice(INTERESTING) * draw.choice((1, 1, 3)) + content[at:]


def replace(content: bytes, draw: random.Random) -> bytes:
    """Write it over what is there."""
    at, new = draw.randrange(len(content) + 1), draw.choice(INTERESTING)
    return content[:at] + new + content[at + len(new) :]


def repeat(content: bytes, draw: random.Random) -> bytes:
    """Write a part twice."""
    first = draw.randrange(len(content) + 1)
    last = min(len(content), first + draw.choice((1, 16, 200)))
    return content[:last] + content[first:last] * draw.choice((1, 5)) + content[last:]


def zero(content: bytes, draw: random.Random) -> bytes:
    """Write zeros over a part."""
    first = draw.randrange(len(content) + 1)
    count = min(len(content) - first, draw.choice((1, 8, 64, 512)))
    return content[:first] + bytes(count) + content[first + count :]


def exchange(content: bytes, draw: random.Random) -> bytes:
    """Exchange two parts."""
    a, b, c, d = sorted(draw.randrange(len(content) + 1) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


MUTATIONS: tuple[Mutation, ...] = (flip, cut, insert, replace, repeat, zero, exchange)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a file with one or two kinds of damage, half of the time inside of an archive."""
    if zipfile.is_zipfile(io.BytesIO(content)) and draw.random() < 0.5:
        return _in_archive(content, draw)
    for _ in range(draw.choice((1, 1, 2))):
        content = draw.choice(MUTATIONS)(content, draw)
    return content


def _in_archive(content: bytes, draw: random.Random) -> bytes:
    """Return an archive that is whole, one of whose members is not."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = draw.choice(names)
        for name in names:
            member = old.read(name)
            kept = name != chosen or draw.random() < 0.9
            if kept:
                new.writestr(name, mutated(member, draw) if name == chosen else member)
    return written.getvalue()


def damage(folder: Path, draw: random.Random) -> Path:
    """Damage one file of a folder; return which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = draw.choice(files)
    if draw.random() < 0.02:
        path.unlink()
    else:
        path.write_bytes(mutated(path.read_bytes(), draw))
    return path
