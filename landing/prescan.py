"""One pass over the bytes of a text file: digest, decompression, lines.

DuckDB's readers notice neither a truncated gzip nor a bad checksum, and a bad byte can cost a
good neighbour (measured on 1.5 and 2.0), so every byte passes here first, a mebibyte at a time.
Lines that are plainly text go on in blocks; a line that is not (invalid UTF-8, NUL, a bare
carriage return, longer than 1 MiB) is handed over alone and leaves an empty line, so that line
numbers hold. Belongs here: bytes. Does not: what a line means.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from backports import zstd

from landing.contract import MAX_LINE_BYTES
from landing.reasons import FileFailure, Reason

CHUNK_BYTES = 1 << 20  # not above MAX_LINE_BYTES: only a line that spans chunks can be too long
SLICE_BYTES = 128 << 20
MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 200  # text compresses 5 to 60 times; a 750:1 file is a bomb
RATIO_FROM_BYTES = 256 << 20
KEPT_OF_LONG_LINE = 128 << 10

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
# the one-column reader needs a delimiter that no good line holds; JSON forbids raw controls
DELIMITER = b"\x01"


class OddLine(NamedTuple):
    """A line that DuckDB must not see. `raw` is cut when the line `is_too_long`."""

    number: int
    raw: bytes
    is_too_long: bool = False


class Block(NamedTuple):
    """Complete lines, each ended by a newline; odd ones are empty here and listed beside."""

    first_line: int
    lines: bytes
    odd: list[OddLine]


class Slice(NamedTuple):
    """A temporary file of at most about SLICE_BYTES of lines."""

    path: Path
    first_line: int
    odd: list[OddLine]


def file_digest(path: Path) -> str:
    """SHA-256 of the bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gunzip(file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Iterate over the unpacked bytes; zlib verifies every checksum and end."""
    unpacker = zlib.decompressobj(wbits=31)
    member_open = False
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        while data:
            if unpacker.eof:
                if not data.startswith(GZIP_MAGIC[: len(data)]):
                    raise FileFailure(Reason.FILE_TRAILING_GARBAGE)
                unpacker = zlib.decompressobj(wbits=31)
            try:
                member_open = True
                unpacked = unpacker.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise FileFailure(Reason.FILE_CORRUPT, str(error)) from error
            if unpacker.eof:
                data = unpacker.unused_data
                member_open = False
            else:
                data = unpacker.unconsumed_tail
            if unpacked:
                yield unpacked
            elif member_open and not data:
                break
    if member_open:
        # all input is consumed and no output is pending: the end of the member is missing
        raise FileFailure(Reason.FILE_TRUNCATED)


def _unzstd(file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Iterate over the unpacked bytes; the library verifies the checksums."""
    unpacker = zstd.ZstdDecompressor()
    frame_open = False
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        while True:
            if unpacker.eof:
                if not data:
                    break
                unpacker = zstd.ZstdDecompressor()
            try:
                unpacked = unpacker.decompress(data, CHUNK_BYTES)
            except zstd.ZstdError as error:
                if not frame_open and not ZSTD_MAGIC.startswith(data[:4]):
                    raise FileFailure(Reason.FILE_TRAILING_GARBAGE, str(error)) from error
                raise FileFailure(Reason.FILE_CORRUPT, str(error)) from error
            frame_open = not unpacker.eof
            data = unpacker.unused_data if unpacker.eof else b""
            if unpacked:
                yield unpacked
            if unpacker.eof:
                continue
            if unpacker.needs_input:
                break
    if frame_open:
        raise FileFailure(Reason.FILE_TRUNCATED)


def _plain(file: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        yield data


def is_odd(line: bytes) -> bool:
    """Whether DuckDB's line reader could misread this line."""
    if b"\0" in line or b"\r" in line or DELIMITER in line:
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_clean(block: bytes) -> bool:
    """Answer the same question of a whole block, at memory speed."""
    if b"\r" in block or b"\0" in block or DELIMITER in block:
        return False
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class TextScan:
    """A text file on its way through; the results are complete once `blocks` is exhausted.

    Raises FileFailure from `blocks` and `slices` when the file as a whole is no good.
    """

    path: Path
    compression: str
    """`""`, `"gz"` or `"zst"`."""
    sha256: str = ""
    packed_bytes: int = 0
    _unpacked_bytes: int = field(default=0, init=False)

    def _chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            self._check_magic(head)
            unpack = {"gz": _gunzip, "zst": _unzstd, "": _plain}[self.compression]
            for number, chunk in enumerate(unpack(file, digest)):
                self._unpacked_bytes += len(chunk)
                unpacked, packed = self._unpacked_bytes, file.tell()
                if unpacked > MAX_UNPACKED_BYTES or (
                    unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * packed
                ):
                    raise FileFailure(Reason.FILE_UNPACKED_TOO_LARGE)
                if number == 0:
                    if chunk.startswith((GZIP_MAGIC, ZSTD_MAGIC, PARQUET_MAGIC)):
                        raise FileFailure(Reason.FILE_WRONG_MAGIC)
                    chunk = chunk.removeprefix(BOM)  # noqa: PLW2901
                if chunk:
                    yield chunk
            self.packed_bytes = file.tell()
        self.sha256 = digest.hexdigest()

    def _check_magic(self, head: bytes) -> None:
        if not self.compression:
            if head.startswith((GZIP_MAGIC, ZSTD_MAGIC)) or head == PARQUET_MAGIC:
                raise FileFailure(Reason.FILE_WRONG_MAGIC)
            return
        magic = GZIP_MAGIC if self.compression == "gz" else ZSTD_MAGIC
        if len(head) < len(magic) and magic.startswith(head):
            raise FileFailure(Reason.FILE_TRUNCATED)
        is_skippable = self.compression == "zst" and head[1:4] == b"\x2a\x4d\x18"
        if not head.startswith(magic) and not is_skippable:
            raise FileFailure(Reason.FILE_WRONG_MAGIC)

    def blocks(self) -> Iterator[Block]:
        """Complete lines in blocks of one to two mebibytes, in file order."""
        line = 1
        carry = b""
        long_line: bytes | None = None  # the kept beginning of a line that is too long
        for chunk in self._chunks():
            if long_line is not None:
                end = chunk.find(b"\n")
                if end < 0:
                    continue
                yield Block(line, b"\n", [OddLine(line, long_line, is_too_long=True)])
                line += 1
                long_line = None
                chunk = chunk[end + 1 :]  # noqa: PLW2901
            first_end = chunk.find(b"\n")
            if first_end < 0:
                carry += chunk
                if len(carry) > MAX_LINE_BYTES + 1:  # + 1: a carriage return may end it
                    long_line, carry = carry[:KEPT_OF_LONG_LINE], b""
                continue
            if len(carry) + first_end > MAX_LINE_BYTES + 1:
                kept = (carry + chunk[:first_end])[:KEPT_OF_LONG_LINE]
                yield Block(line, b"\n", [OddLine(line, kept, is_too_long=True)])
                line += 1
                carry, chunk = b"", chunk[first_end + 1 :]  # noqa: PLW2901
            last_end = chunk.rfind(b"\n")
            if last_end >= 0:
                lines = carry + chunk[: last_end + 1]
                carry = chunk[last_end + 1 :]
                yield _block(line, lines)
                line += lines.count(b"\n")
            else:
                carry += chunk
        if long_line is not None:
            yield Block(line, b"\n", [OddLine(line, long_line, is_too_long=True)])
        elif carry:
            yield _block(line, carry + b"\n")

    def slices(self, folder: Path) -> Iterator[Slice]:
        """Write the blocks into temporary files in `folder`; each lasts until the next."""
        path = folder / "slice"
        written, first_line, odd = 0, 1, list[OddLine]()
        file = path.open("wb")
        try:
            for block in self.blocks():
                if written == 0:
                    first_line = block.first_line
                written += file.write(block.lines)
                odd += block.odd
                if written >= SLICE_BYTES:
                    file.close()
                    yield Slice(path, first_line, odd)
                    written, odd = 0, []
                    file = path.open("wb")
            file.close()
            if written:
                yield Slice(path, first_line, odd)
        finally:
            file.close()
            path.unlink(missing_ok=True)


def lines_in_block(first_line: int, lines: list[bytes]) -> Block:
    """Lines without their newlines as a block; those that are too long are odd ones of it."""
    too_long = [
        OddLine(first_line + index, line[:KEPT_OF_LONG_LINE], is_too_long=True)
        for index, line in enumerate(lines)
        if len(line) > MAX_LINE_BYTES
    ]
    for odd in too_long:
        lines[odd.number - first_line] = b""
    block = _block(first_line, b"\n".join(lines) + b"\n")
    return block._replace(odd=[*too_long, *block.odd])


def _block(first_line: int, lines: bytes) -> Block:
    if _is_clean(lines):
        return Block(first_line, lines, [])
    lines = lines.replace(b"\r\n", b"\n")
    if _is_clean(lines):
        return Block(first_line, lines, [])
    split = lines.split(b"\n")[:-1]
    odd = []
    for index, line in enumerate(split):
        if is_odd(line):
            odd.append(OddLine(first_line + index, line))
            split[index] = b""
    return Block(first_line, b"\n".join(split) + b"\n", odd)
