"""PNG, JPEG, TIFF, WEBP and BMP files that ask for more than a picture is."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from bomb_parts import GIB, MIB, chunk, deflated_zeros, segment, tiff, tiff_data_at, writes
from bombs import Bomb
from PIL import Image

RADIOGRAPH = "cxr_explain.loaders.read:read_radiograph"
LARGE = 7071  # squared, the most pixels that are read without asking for more
Bombs = Iterator[tuple[str, Callable[[], bytes]]]


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is made before a bomb's `make` is called."""
    for kind, made in (("PNG", _png), ("JPEG", _jpeg), ("TIFF", _tiff), ("WEBP", _webp), ("BMP", _bmp)):
        for name, data in (*made(), *_largest(kind)):
            yield Bomb(f"{kind}, {name}", RADIOGRAPH, writes(f"a.{kind.lower()}", data))


def png(
    width: int, height: int, *between: bytes, depth: int = 8, colour: int = 0, rows: bytes = b""
) -> bytes:
    """A PNG of what stands between its first and its last chunk."""
    head = struct.pack(">2L5B", width, height, depth, colour, 0, 0, 0)
    rows = rows or zlib.compress(b"\x00" * (height * (1 + width)) if width * height < MIB else bytes(9))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(between)
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def _png() -> Bombs:
    zeros = deflated_zeros(4 * GIB, wbits=15)
    for width, height in (
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (20_000, 20_000),
        (LARGE, LARGE),
    ):
        yield f"{width} x {height} of nothing", lambda width=width, height=height: png(width, height)
    yield "4 GiB behind a picture of 10 x 10", lambda: png(10, 10, rows=zeros)
    yield "4 GiB behind a picture of 7071 x 7071", lambda: png(LARGE, LARGE, rows=zeros)
    for kind, body in (
        ("zTXt", b"Comment\x00\x00" + zeros),
        ("iTXt", b"Comment\x00\x01\x00\x00\x00" + zeros),
        ("iCCP", b"icc\x00\x00" + zeros),
    ):
        yield f"4 GiB of {kind}", lambda kind=kind, body=body: png(10, 10, chunk(kind.encode(), body))
        yield (
            f"2000 chunks of {kind} of 1 MiB",
            lambda kind=kind, body=body: png(
                10, 10, chunk(kind.encode(), body[: -len(zeros)] + zlib.compress(bytes(MIB), 9)) * 2000
            ),
        )
    yield "four million texts", lambda: png(10, 10, chunk(b"tEXt", b"a\x00") * 4_000_000)
    yield "150,000 texts of 1 kB", lambda: png(10, 10, chunk(b"tEXt", b"a\x00" + b"b" * 1000) * 150_000)
    yield "four million empty pieces of the picture", lambda: png(10, 10, chunk(b"IDAT", b"") * 4_000_000)
    yield (
        "a film of a million pictures",
        lambda: png(10, 10, chunk(b"acTL", struct.pack(">2L", 1_000_000, 0))),
    )
    yield "a film of four thousand million", lambda: png(10, 10, chunk(b"acTL", b"\xff" * 8))
    exif = overlapping_tags(40 * MIB, 5000)
    yield "EXIF tags upon each other", lambda: png(10, 10, chunk(b"eXIf", exif))
    yield (
        "EXIF tags upon each other as digits",
        lambda: png(
            10,
            10,
            chunk(
                b"zTXt",
                b"Raw profile type exif\x00\x00" + zlib.compress(b"\n1\n2\n" + exif[:500_000].hex().encode()),
            ),
        ),
    )
    yield (
        "16 bits in colour",
        lambda: png(
            LARGE, LARGE, depth=16, colour=6, rows=deflated_zeros(LARGE * (1 + 8 * LARGE), wbits=15)[:-4]
        ),
    )


def overlapping_tags(size: int, count: int, kind: int = 3) -> bytes:
    """A directory of tags whose values are all of the data behind it."""
    width = {1: 1, 3: 2, 5: 8}[kind]
    at = tiff_data_at(count)
    return tiff([(n + 1000, kind, size // width, at) for n in range(count)], bytes(size))


def jpeg(rows: int, columns: int, scan: bytes = bytes(64), before: bytes = b"", process: int = 0xC0) -> bytes:
    """A grey JPEG that Pillow opens; there are tables, and hardly anything is in the scan."""
    tables = segment(0xDB, bytes([0]) + b"\x01" * 64) + segment(0xC4, bytes([0, 1, *[0] * 15, 0]) + b"")
    tables += segment(0xC4, bytes([0x10, 1, *[0] * 15, 0]))
    frame = segment(process, struct.pack(">BHHB3B", 8, rows, columns, 1, 1, 0x11, 0))
    return (
        b"\xff\xd8" + before + tables + frame + segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + scan + b"\xff\xd9"
    )


def progressive(size: int, scans: int) -> bytes:
    """A progressive JPEG that goes over all of its blocks again and again, for next to no bytes."""
    first = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes((size // 8 + 1) ** 2 // 8 + 8)
    runs = segment(0xC4, bytes([0x10, *[0] * 3, 15, *[0] * 12, *(n << 4 for n in range(15))]))
    again = segment(0xDA, bytes([1, 1, 0, 1, 63, 0x10])) + b"\xe0" * 64
    stream = jpeg(size, size, b"", runs, process=0xC2)
    return stream[: stream.rindex(b"\xff\xda")] + first + again * scans + b"\xff\xd9"


def _jpeg() -> Bombs:
    yield "65535 x 65535 of nothing", lambda: jpeg(65535, 65535)
    yield "7071 x 7071 of nothing", lambda: jpeg(LARGE, LARGE)
    for size, scans in (
        (LARGE, 20),
        (LARGE, 1000),
        (LARGE, 100_000),
        (2000, 400),
        (2000, 100_000),
        (64, 100_000),
    ):
        yield (
            f"progressive, {scans} scans of {size} x {size}",
            lambda size=size, scans=scans: progressive(size, scans),
        )
    yield "ten million comments", lambda: jpeg(10, 10, before=segment(0xFE, b"") * 10_000_000)
    yield "180 MiB of no segment", lambda: jpeg(10, 10, before=bytes(180 * MIB))
    yield "180 MiB of fillers", lambda: jpeg(10, 10, before=b"\xff" * (180 * MIB))
    yield (
        "two million extensions without a length",
        lambda: jpeg(10, 10, before=b"\xff\xf0\x00\x02" * 2_000_000),
    )
    yield (
        "profiles of 150 MiB",
        lambda: jpeg(10, 10, before=segment(0xE2, b"ICC_PROFILE\x00\x01\xff" + bytes(65_000)) * 2400),
    )
    exif = overlapping_tags(65_000 - 12 * 4000, 4000)
    yield "EXIF tags upon each other", lambda: jpeg(10, 10, before=segment(0xE1, b"Exif\x00\x00" + exif))
    pieces = overlapping_tags(20 * MIB, 60_000)
    yield (
        "EXIF tags upon each other in pieces",
        lambda: jpeg(
            10,
            10,
            before=b"".join(
                segment(0xE1, b"Exif\x00\x00" + pieces[at : at + 65_000])
                for at in range(0, len(pieces), 65_000)
            ),
        ),
    )
    yield (
        "a million restarts",
        lambda: jpeg(LARGE, LARGE, b"\xff\xd0\xff\xd1" * 500_000, segment(0xDD, b"\x00\x01")),
    )
    yield "arithmetic coding", lambda: jpeg(LARGE, LARGE, process=0xC9)
    yield (
        "Photoshop's records",
        lambda: jpeg(
            10,
            10,
            before=segment(0xED, b"Photoshop 3.0\x00" + b"8BIM\x04\x04\x00\x00\x00\x00\x00\x00" * 5400)
            * 2000,
        ),
    )


def ifd(
    size: int, compression: int = 1, strips: int = 1, **more: tuple[int, int, int, int]
) -> list[tuple[int, int, int, int]]:
    """The tags of a grey picture, 8 bits."""
    at = tiff_data_at(8 + len(more))
    return sorted(
        [
            (256, 4, 1, size),
            (257, 4, 1, size),
            (258, 3, 1, 8),
            (259, 3, 1, compression),
            (262, 3, 1, 1),
            (273, 4, strips, at),
            (278, 4, 1, size),
            (279, 4, strips, more.pop("counts", (0, 0, 0, 4 * MIB))[3]),
            *more.values(),
        ]
    )


def _tiff() -> Bombs:
    for size in (2**31, 65_535, LARGE):
        yield f"{size} x {size} of nothing", lambda size=size: tiff(ifd(size), bytes(64))
    zeros = deflated_zeros(4 * GIB, wbits=15)
    for name, compression, data in (
        ("deflate", 8, zeros),
        ("PackBits", 32773, b"\x81\x00" * 16 * MIB),
        ("LZW", 5, bytes.fromhex("80000102") + bytes(4 * MIB)),
    ):
        for size in (16, LARGE):
            yield (
                f"{name}, a strip beyond {size} x {size}",
                lambda size=size, compression=compression, data=data: tiff(
                    ifd(size, compression, counts=(0, 0, 0, len(data))), data
                ),
            )
        yield (
            f"{name}, a tile of 60000 x 60000",
            lambda compression=compression, data=data: tiff(
                [
                    *ifd(1000, compression)[:5],
                    (322, 4, 1, 60_000),
                    (323, 4, 1, 60_000),
                    (324, 4, 1, tiff_data_at(8)),
                    (325, 4, 1, len(data)),
                ][:9],
                data,
            ),
        )
    yield "a JPEG strip of 65535 x 65535", lambda: tiff(ifd(16, 7), jpeg(65535, 65535))
    yield (
        "zstd, of 7071 x 7071",
        lambda: saved(np.zeros((LARGE, LARGE), np.uint8), "TIFF", compression="zstd"),
    )
    yield (
        "lzma, of 7071 x 7071",
        lambda: saved(np.zeros((LARGE, LARGE), np.uint8), "TIFF", compression="lzma"),
    )
    yield (
        "fifteen million strips",
        lambda: tiff(
            [
                entry if entry[0] not in (273, 279) else (entry[0], 4, 15_000_000, tiff_data_at(8))
                for entry in ifd(16)
            ],
            bytes(60 * MIB),
        ),
    )
    yield (
        "a hundred and fifty thousand strips",
        lambda: tiff(
            [
                entry if entry[0] not in (273, 279) else (entry[0], 4, 90_000, tiff_data_at(8))
                for entry in ifd(LARGE)
            ],
            bytes(60 * MIB),
        ),
    )
    for kind in (1, 3, 5):
        yield (
            f"tags of kind {kind} upon each other",
            lambda kind=kind: overlapping_tags(60 * MIB, 60_000, kind),
        )
        yield (
            f"tags of kind {kind} upon each other in a picture",
            lambda kind=kind: tiff(
                [*ifd(16), *((n + 1000, kind, MIB, tiff_data_at(4008)) for n in range(4000))],
                bytes(10 * MIB),
            ),
        )
    yield (
        "bits of sixty million samples",
        lambda: tiff(
            [entry if entry[0] != 258 else (258, 3, 30 * MIB, tiff_data_at(8)) for entry in ifd(16)],
            bytes(60 * MIB),
        ),
    )
    yield "a picture that points to itself", lambda: tiff(ifd(16), bytes(256), next_ifd=8)
    for count in (900, 200_000, 2_000_000):
        yield f"{count} pictures", lambda count=count: chain(count)
    yield (
        "BigTIFF of endless tags",
        lambda: b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 2**40) + bytes(60 * MIB),
    )
    yield (
        "BigTIFF, a value of 2^60",
        lambda: b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQHHQQ", 16, 1, 273, 4, 2**60, 40),
    )
    yield (
        "BigTIFF of three million tags",
        lambda: (
            b"II+\x00\x08\x00\x00\x00"
            + struct.pack("<QQ", 16, 3_000_000)
            + b"".join(struct.pack("<HHQQ", n % 65_536, 4, 1, 1) for n in range(3_000_000))
        ),
    )


def chain(count: int) -> bytes:
    """A picture, and directories of one tag that point on and on."""
    first = tiff(ifd(16), bytes(256))
    start = len(first)
    first = tiff(ifd(16), bytes(256), next_ifd=start)
    directories = (
        struct.pack("<HHHLLL", 1, 256, 4, 1, 16, start + 18 * (n + 1) if n + 1 < count else 0)
        for n in range(count)
    )
    return first + b"".join(directories)


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<L", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<L", len(body)) + body


def _extended(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(
        3, "little"
    )


def _webp() -> Bombs:
    def picture(size: int) -> bytes:
        return saved(np.zeros((size, size), np.uint8), "WEBP", lossless=True)[12:]

    for width, height in ((2**24, 2**24), (2**24, 255), (16_383, 16_383), (LARGE, LARGE)):
        yield (
            f"a canvas of {width} x {height}",
            lambda width=width, height=height: _riff(_extended(width, height), (b"VP8L", picture(16)[8:])),
        )
    bits = (16_383 << 14 | 16_383).to_bytes(4, "little")
    yield "lossless, 16384 x 16384 of nothing", lambda: _riff((b"VP8L", b"\x2f" + bits + bytes(64)))
    yield (
        "lossy, 16383 x 16383 of nothing",
        lambda: _riff(
            (b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<2H", 16_383, 16_383) + bytes(64))
        ),
    )
    frame = b"\x00" * 6 + (15).to_bytes(3, "little") * 2 + bytes(4)
    yield (
        "a film of a hundred thousand pictures",
        lambda: _riff(_extended(16, 16, 2), (b"ANIM", bytes(6)), *[(b"ANMF", frame + picture(16))] * 100_000),
    )
    yield (
        "EXIF tags upon each other",
        lambda: _riff(
            _extended(16, 16, 8), (b"VP8L", picture(16)[8:]), (b"EXIF", overlapping_tags(20 * MIB, 5000))
        ),
    )
    yield (
        "a profile of 150 MiB",
        lambda: _riff(_extended(16, 16, 0x20), (b"ICCP", bytes(150 * MIB)), (b"VP8L", picture(16)[8:])),
    )


def _dib(width: int, height: int, compression: int, data: bytes, bits: int = 8) -> bytes:
    palette = b"".join(bytes([n, n, n, 0]) for n in range(256)) if bits <= 8 else b""
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 0, 0, 0, 54 + len(palette)) + head + palette + data


def _bmp() -> Bombs:
    for width, height in ((2**31 - 1, 2**31 - 1), (LARGE, -LARGE), (20_000, 20_000)):
        yield (
            f"{width} x {height} of nothing",
            lambda width=width, height=height: _dib(width, height, 0, bytes(64)),
        )
    for name, code in (
        ("of one pixel", b"\x01\x07"),
        ("of no progress", b"\x00\x02\x00\x00"),
        ("of 255", b"\xff\x07"),
        ("far ahead", b"\x00\x02\xff\xff"),
    ):
        for width, height in ((LARGE, LARGE), (3500, 3500), (12_000_000, 1)):
            yield (
                f"runs {name}, {width} x {height}",
                lambda code=code, width=width, height=height: _dib(
                    width, height, 1, code * min(2 * width * height // len(code), 20_000_000)
                ),
            )
    yield "runs of four bits", lambda: _dib(3500, 3500, 2, b"\xff\x12" * 100_000, bits=4)


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """Pixels as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def _largest(kind: str) -> Bombs:
    """Honest ones, as large as they may be without asking for more, of noise in each layout of pixels."""

    def noise(*more: int, deep: bool = False) -> np.ndarray:
        shape = (LARGE, LARGE, *more)
        return np.random.default_rng(0).integers(
            0, 65_535 if deep else 255, shape, np.uint16 if deep else np.uint8
        )

    if kind == "WEBP":  # two thirds, and noise would take minutes to write
        yield "5770 x 5770", lambda: saved(np.zeros((5770, 5770), np.uint8), kind, method=0)
        yield (
            "5770 x 5770 with alpha",
            lambda: saved(np.zeros((5770, 5770, 4), np.uint8), kind, method=0, lossless=True),
        )
        return
    yield "7071 x 7071 of noise in grey", lambda: saved(noise(), kind)
    yield "7071 x 7071 of noise in colour", lambda: saved(noise(3), kind)
    if kind in ("PNG", "TIFF"):
        yield "7071 x 7071 of noise in 16 bits", lambda: saved(noise(deep=True), kind)
        yield (
            "7071 x 7071 of noise with alpha",
            lambda: saved(noise(4), kind, **({"compress_level": 1} if kind == "PNG" else {})),
        )
    if kind == "JPEG":
        yield "7071 x 7071 of noise, progressive", lambda: saved(noise(), kind, progressive=True, quality=95)
        yield (
            "7071 x 7071 of noise in colour, progressive",
            lambda: saved(noise(3), kind, progressive=True, quality=75),
        )
