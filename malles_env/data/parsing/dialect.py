"""Text tables of any dialect: encoding, separator and header, found in the file and reported."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from malles_env.errors import CorruptFile, InvalidInput, MissingResource, brief, invalid

SEPARATORS: tuple[str, ...] = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 1 << 17
"""Characters from which the separator is decided."""
MOST_BYTES = 1 << 32
"""Bytes of a text table, unpacked."""
_LONGEST_LINE = 1 << 20
_PACKED = 200
"""How many times smaller than a table its packed file can be."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Attributes:
        encoding: Name that Python knows, e.g. ``utf-8`` or ``cp1252``.
        separator: One character.
        byte_order_mark: Whether the file begins with one.
        lines_above: Lines above the header, which were skipped.
        sure: Whether the encoding is certain; cp1252 is what remains where nothing else fits.
    """

    encoding: str
    separator: str
    byte_order_mark: bool = False
    lines_above: int = 0
    sure: bool = True

    def __str__(self) -> str:
        """Return the dialect in words."""
        words = [self.encoding + (" with byte-order mark" if self.byte_order_mark else "")]
        if not self.sure:
            words[0] += " (the file is no UTF-8; give --encoding if names look wrong)"
        words.append(f"separated by {_NAMES.get(self.separator, repr(self.separator))}")
        if self.lines_above:
            words.append(f"{self.lines_above} lines above the header skipped")
        return ", ".join(words)


def read_text_table(
    path: str | Path, *, separator: str | None = None, encoding: str | None = None
) -> tuple[pl.DataFrame, Dialect]:
    """Read a text table with all columns as text.

    Args:
        path: The file; one that ends in .gz is unpacked.
        separator: One character; default: found in the file.
        encoding: Default: found in the file.

    Returns:
        The table (values without surrounding blanks, empty ones null, blank last lines left out), and its dialect.

    Raises:
        MissingResource: No such file.
        CorruptFile: It cannot be decoded or split into fields.
        InvalidInput: It is empty, a line has more fields than the header, or the options are not usable.
    """
    path = Path(path)
    text, found, marked, sure = _decoded(path, encoding)
    if separator is not None and (len(separator) != 1 or separator in '"\n\r'):
        raise invalid("--separator", separator, "one character, e.g. ';'")
    if not text.strip():
        raise InvalidInput(f"{path}: holds nothing; needed: a header and rows")
    text, named = _named_separator(text)
    separator = separator or named or _separator(text)
    try:
        above, skip = _lines_above(text, separator, path)
        dialect = Dialect(found, separator, marked, skip, sure)
        return _parsed(text[above:], dialect, path), dialect
    except csv.Error as error:  # a field of more than 131,072 characters; before Python 3.11 also a zero byte
        raise CorruptFile(f"{path}: cannot be read as a table ({brief(error)})") from None


def _decoded(path: Path, encoding: str | None) -> tuple[str, str, bool, bool]:
    """Return text, encoding, whether there was a byte-order mark, and whether the encoding is certain."""
    data = _bytes_of(path)
    mark = next(((mark, name) for mark, name in _BOMS if data.startswith(mark)), None)
    sure = True
    if encoding is not None:
        name = encoding
    elif mark is not None:
        name = mark[1]
    else:
        name, sure = _guessed_encoding(data)
    body = data[len(mark[0]) :] if mark is not None and name.replace("-sig", "").startswith(mark[1][:6]) else data
    try:
        text = body.decode(name)
    except LookupError:
        raise invalid("--encoding", encoding, "an encoding that Python knows, e.g. utf-8, cp1252, shift_jis") from None
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise CorruptFile(f"{path}: line {line} is no {name} ({error.reason}); give --encoding") from None
    head = text[:_SAMPLE]
    if sum(letter < " " and letter not in "\t\n\r\f\x1a" for letter in head) > 0.02 * len(head):
        raise CorruptFile(f"{path}: is no text (it holds control characters); needed: a table of text")
    text = text.rstrip("\x1a").replace("\r\n", "\n")
    # Files of old end lines with the one alone; beside the other it is a blank in a text.
    text = text.replace("\r", " " if "\n" in text else "\n")
    return text, name, mark is not None, sure


def most_unpacked(path: Path) -> int:
    """Return how many bytes a packed file may hold unpacked."""
    return min(MOST_BYTES, max(_PACKED * path.stat().st_size, 64 << 20))


def _bytes_of(path: Path) -> bytes:
    """Return what a file holds, unpacked where it is packed by gzip, whatever its name."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            opened: Any = gzip.GzipFile(fileobj=file) if packed else file
            data: bytes = opened.read(_LONGEST_LINE)
            if len(data) == _LONGEST_LINE and b"\n" not in data and b"\r" not in data:
                raise CorruptFile(f"{path}: its first line has more than {_LONGEST_LINE:,} bytes; needed: a header")
            most = most_unpacked(path) if packed else MOST_BYTES
            data += opened.read(most)
    except FileNotFoundError:
        raise MissingResource(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"{path}: cannot be read ({brief(error)})") from error
    if len(data) >= most:
        raise InvalidInput(f"{path}: has more than {most:,} bytes{' unpacked' * packed}; allowed: less, or Parquet")
    return data


def _guessed_encoding(data: bytes) -> tuple[str, bool]:
    head = data[:4096]
    if head.count(b"\x00") > len(head) / 4:
        # Latin letters in UTF-16 have a zero byte each: the second one where the low byte comes first.
        return ("utf-16-le" if head[1::2].count(b"\x00") > head[::2].count(b"\x00") else "utf-16-be"), True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8", True
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1", False
    return "cp1252", False


def _named_separator(text: str) -> tuple[str, str | None]:
    """Take off the line ``sep=;`` that Excel writes."""
    match = re.match(r'"?sep=(.)"?\n', text)
    return (text[match.end() :], match[1]) if match else (text, None)


def _records(text: str, separator: str) -> list[list[str]]:
    """Return the first records of the text; the last one is left out where the sample ends in it."""
    part = text[:_SAMPLE]
    found = list(csv.reader(io.StringIO(part), delimiter=separator))
    if len(part) < len(text) and len(found) > 1:
        found = found[:-1]
    return [record for record in found if record]


def _separator(text: str) -> str:
    """Return the separator that splits most records into as many fields as the header has."""

    def score(separator: str) -> tuple[bool, int, float]:
        try:
            sizes = [len(record) for record in _records(text, separator)]
        except csv.Error:
            return (False, 0, 0.0)
        usual, count = Counter(sizes).most_common(1)[0]
        share = count / len(sizes)
        return (usual > 1 and share >= 0.9, usual if usual > 1 else 0, share)

    best = max(SEPARATORS, key=score)
    return best if score(best)[1] > 1 else ","


def _lines_above(text: str, separator: str, path: Path) -> tuple[int, int]:
    """Return where the header begins: the character, and how many lines of remarks stand above it."""
    records = _records(text, separator)
    sizes = [len(record) for record in records]
    usual = Counter(sizes).most_common(1)[0][0]
    if usual > 1 and sum(record[usual - 1 :] == [""] for record in records) > 0.9 * sizes.count(usual):
        usual -= 1  # lines that end in a separator, below a header that does not
    first = next((row for row, size in enumerate(sizes) if size >= usual), 0)
    if any(size > usual / 2 for size in sizes[:first]):
        row = next(row for row, size in enumerate(sizes[:first]) if size > usual / 2)
        raise InvalidInput(
            f"{path}: record {row + 1} has {sizes[row]} fields and most others have {usual}; "
            "allowed: a header with one name per column"
        )
    at = 0
    lines = 0
    seen = 0
    while seen < first:
        end = text.index("\n", at) + 1
        seen += bool(text[at:end].strip())
        at, lines = end, lines + 1
    while text[at:].startswith("\n"):
        at, lines = at + 1, lines + 1
    return at, lines


def _parsed(text: str, dialect: Dialect, path: Path) -> pl.DataFrame:
    names = [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=dialect.separator), [])]
    refuse_twice(names, str(path))
    text = _plainly_quoted(text, dialect.separator)
    try:
        frame = _split(text, dialect.separator)
    except pl.exceptions.PolarsError as error:
        wide = _first_wide(text, dialect.separator)
        if wide is not None:
            line, found, needed, values = wide
            raise InvalidInput(
                f"{path}: line {line + dialect.lines_above} has {found} fields, the header {needed} "
                f"(read as {dialect}): {values!r}; put quotes around texts that hold the separator"
            ) from None
        try:  # lines that end in a separator hold no more than the header names
            frame = _split(text, dialect.separator, truncate_ragged_lines=True)
        except pl.exceptions.PolarsError:
            raise CorruptFile(f"{path}: cannot be read as a table ({dialect}): {brief(error)}") from error
    frame = frame.rename({name: name.strip() for name in frame.columns if name.strip() not in ("", *frame.columns)})
    frame = frame.with_columns(pl.all().str.strip_chars())
    frame = frame.with_columns(pl.when(pl.all().str.len_bytes() > 0).then(pl.all()))
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return frame.head(int(filled[-1]) + 1 if len(filled) else 0)


def _split(text: str, separator: str, **options: Any) -> pl.DataFrame:
    content = io.BytesIO(text.encode())
    return pl.read_csv(content, separator=separator, infer_schema=False, null_values=[""], **options)


def _plainly_quoted(text: str, separator: str) -> str:
    """Return the text with quotes around every field that holds one, as in ``Screen 5"``, where it is a letter."""
    sign = re.escape(separator)
    if not re.search(rf'(?:^|{sign})[^"{sign}\n][^{sign}\n]*"', text, re.MULTILINE):
        return text
    written = io.StringIO()
    records = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    csv.writer(written, delimiter=separator, lineterminator="\n").writerows(records)
    return written.getvalue()


def refuse_twice(names: list[str], source: str) -> None:
    """Refuse a header that names a column twice: which of the two is meant is not known.

    Args:
        names: Cells of the header; empty ones are no names.
        source: What stands in the error.

    Raises:
        InvalidInput: Names the column and its places.
    """
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        places = [str(at) for at, name in enumerate(names, 1) if name == twice[0]]
        raise InvalidInput(
            f"{source}: column {twice[0]}: the header names it {len(places)} times (columns {', '.join(places)}); "
            "allowed: each name once"
        )


def _first_wide(text: str, separator: str) -> tuple[int, int, int, str] | None:
    """Return line, fields, fields of the header and the text of the first record that holds more than these."""
    reader: Iterator[list[str]] = csv.reader(io.StringIO(text), delimiter=separator)
    lines = reader
    needed = len(next(lines, []))
    for record in lines:
        if any(record[needed:]):
            return reader.line_num, len(record), needed, separator.join(record)[:80]  # type: ignore[attr-defined]
    return None
