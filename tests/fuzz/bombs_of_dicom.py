"""DICOM files that ask for more than a radiograph is: by transfer syntax, trick and size."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from bomb_parts import (
    DEFLATED,
    ENDLESS,
    EXPLICIT,
    GIB,
    IMPLICIT,
    MIB,
    NATIVE,
    OTHER_SYNTAXES,
    PREAMBLE,
    Form,
    deflated_zeros,
    dicom,
    encapsulated,
    meta,
    segment,
    sparse,
    writes,
)
from bombs import Bomb

RADIOGRAPH = "cxr_explain.loaders.read:read_radiograph"
FOLDER = "cxr_explain.reference.data_sets.dicom_folder:manifest_of_dicom"
PIXELS = 0x7FE00010
SMALL = bytes(range(256)) * 2
LARGE = 7071  # squared, the most pixels that are read without asking for more


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is made before a bomb's `make` is called."""
    for name, data in chain(
        _deflated(),
        _structures(),
        _values(),
        _run_lengths(),
        _frames(),
        _j2k(),
        _large(),
    ):
        yield Bomb(f"DICOM, {name}", RADIOGRAPH, writes("a.dcm", data))
    for name, data in [*_deflated(), *_structures()][::7]:
        yield Bomb(f"folder of DICOM, {name}", FOLDER, partial(_in_folder, writes("a.dcm", data)))
    for name, data in _offset_tables():
        yield Bomb(f"the second frame, {name}", "bomb_readers:second_frame", writes("a.dcm", data))
    for name, make in _odd_files():
        yield Bomb(name, RADIOGRAPH, make)
    huge = sparse(
        "a.dcm", 20 * GIB, dicom(NATIVE["explicit"][1]) + EXPLICIT.element(0x00091001, b"OB", b"", 3 * GIB)
    )
    yield Bomb("folder of DICOM, a value of 3 GiB before the pixels", FOLDER, partial(_in_folder, huge))


Bombs = Iterator[tuple[str, Callable[[], bytes]]]


def _in_folder(make: Callable[[Path], Path], folder: Path) -> Path:
    return make(folder).parent


def _deflated() -> Bombs:
    """PS3.5 A.5, with the transfer syntax wherever pydicom finds it."""
    preambles = {"": PREAMBLE, " without a preamble": b""}
    groups = {
        "": meta(DEFLATED),
        ", long group 0002": meta(DEFLATED, 3000),
        ", group 0002 of 2 MiB": meta(DEFLATED, 2 * MIB),
        ", no group length": meta(DEFLATED, length=0),
        ", a wrong group length": meta(DEFLATED, length=7),
        ", implicit group 0002": meta(DEFLATED, form=IMPLICIT),
        ", padded with zeros": meta(DEFLATED + bytes(4)),
        ", padded with blanks": meta(DEFLATED + b"  "),
        ", of two UIDs": meta(DEFLATED + b"\\1.2"),
        ", a command set before": meta(DEFLATED) + IMPLICIT.element(0x00000002, b"UI", b"1.2"),
        ", the syntax twice": meta(
            b"1.2.840.10008.1.2.1", more=EXPLICIT.element(0x00020010, b"UI", DEFLATED)
        ),
    }
    pixels = EXPLICIT.header() + EXPLICIT.element(PIXELS, b"OW", b"", 0xFFFFFFFE)
    for about, preamble in preambles.items():
        for group, head in groups.items():
            yield (
                f"deflated{about}{group}, 4 GiB of pixels",
                lambda head=preamble + head: head + deflated_zeros(4 * GIB - 2, pixels),
            )
    for size in (300 * MIB, GIB):
        yield (
            f"deflated, {size // MIB} MiB",
            lambda size=size: PREAMBLE + meta(DEFLATED) + deflated_zeros(size, pixels),
        )
    yield "deflated, of zeros alone", lambda: PREAMBLE + meta(DEFLATED) + deflated_zeros(2 * GIB)
    yield (
        "deflated, and more behind",
        lambda: PREAMBLE + meta(DEFLATED) + deflated_zeros(190 * MIB, pixels) + bytes(9 * MIB),
    )
    yield "deflated, cut off", lambda: (PREAMBLE + meta(DEFLATED) + deflated_zeros(GIB, pixels))[:-9]
    yield (
        "deflated, elements alone",
        lambda: PREAMBLE + meta(DEFLATED) + deflated_zeros(180 * MIB, EXPLICIT.header()),
    )
    items = EXPLICIT.header() + EXPLICIT.element(0x00283010, b"SQ", EXPLICIT.item() * 2_000_000)
    items += EXPLICIT.element(PIXELS, b"OW", SMALL)
    yield "deflated, two million items", lambda: PREAMBLE + meta(DEFLATED) + deflated_zeros(2, items)


def _structures() -> Bombs:
    for name, (form, syntax) in NATIVE.items():
        for trick, body in _tricks(form).items():
            yield f"{name}, {trick}", lambda body=body, syntax=syntax: dicom(syntax, *body())


def _tricks(form: Form) -> dict[str, Callable[[], list[bytes]]]:
    """Groups up to 7FE0, of which some are long."""
    pixels = form.element(PIXELS, b"OW", SMALL)
    image = form.header()

    def sequence(tag: int, value: bytes, *, endless: bool = False) -> list[bytes]:
        end = struct.pack(f"{form.order}HHL", 0xFFFE, 0xE0DD, 0) if endless else b""
        return [image, form.element(tag, b"SQ", value + end, ENDLESS if endless else None), pixels]

    def nested(depth: int) -> bytes:
        head = form.element(0x00283010, b"SQ", b"", ENDLESS) + form.item(b"", ENDLESS)
        return head * depth

    return {
        "two million items in a VOI LUT Sequence": lambda: sequence(0x00283010, form.item() * 2_000_000),
        "two million items without a length": lambda: sequence(
            0x00283010, form.item() * 2_000_000, endless=True
        ),
        "two million items of functional groups": lambda: sequence(0x52009230, form.item() * 2_000_000),
        "items within each other": lambda: [image, nested(100_000), pixels],
        "eight million items in an unknown sequence": lambda: sequence(
            0x00091010, form.item() * 8_000_000, endless=True
        ),
        "a million private elements": lambda: [
            form.header()[:0] + form.element(0x00080060, b"CS", b"DX"),
            *(
                form.element(0x00090000 + n % 65536 + (n // 65536 << 17), b"LO", b"a ")
                for n in range(1_000_000)
            ),
            form.image(),
            pixels,
        ],
        "one element two million times": lambda: [
            form.element(0x00080060, b"CS", b"DX") * 2_000_000,
            form.image(),
            pixels,
        ],
        "items of a million elements": lambda: sequence(
            0x00283010, form.item(form.element(0x00283006, b"US", b"") * 1_000_000)
        ),
        "a number of frames of two thousand million": lambda: [
            form.element(0x00080060, b"CS", b"DX"),
            form.image(frames=b"2000000000"),
            pixels,
        ],
        "a number of frames beyond all": lambda: [
            form.element(0x00080060, b"CS", b"DX"),
            form.image(frames=b"9e307 "),
            pixels,
        ],
    }


def _values() -> Bombs:
    """Values that are taken apart; implicit ones may have any length."""
    form, syntax = NATIVE["implicit"]
    image, pixels = form.header(), form.element(PIXELS, b"OW", SMALL)
    size = 60 * MIB
    for name, tag, value in (
        ("window centers", 0x00281050, lambda: b"1\\" * (size // 2)),
        ("empty window centers", 0x00281050, lambda: b"\\" * size),
        ("a text of a body part", 0x00180015, lambda: b"A" * size),
        ("vertices of a shutter", 0x00181620, lambda: b"1\\2\\" * (size // 4)),
        ("a pixel spacing", 0x00280030, lambda: b"0.1\\" * (size // 4)),
        ("padding values", 0x00280120, lambda: bytes(size)),
        ("a patient's name", 0x00100010, lambda: b"A^" * (size // 2)),
        ("names of patients", 0x00101001, lambda: b"A\\" * (size // 2)),
        ("numbers of patients", 0x00101000, lambda: b"1234\\" * (size // 5)),
        ("an overlay", 0x60003000, lambda: bytes(size)),
        ("an ICC profile", 0x00282000, lambda: bytes(size)),
    ):
        yield (
            f"60 MiB of {name}",
            lambda tag=tag, value=value: dicom(syntax, image, form.element(tag, b"", value()), pixels),
        )
    for name, charset in (("ISO_IR 100\\", 11), ("\\", 1), ("ISO 2022 IR 87\\", 15), ("?\\", 2)):
        yield (
            f"60 MiB of character sets {name}",
            lambda name=name, charset=charset: dicom(
                syntax, form.element(0x00080005, b"", name.encode() * (size // charset)), image, pixels
            ),
        )
    items = form.item(form.element(0x00080005, b"", b"\\?" * 128)) * 150_000
    yield (
        "a long character set in each of many items",
        lambda: dicom(syntax, image, form.element(0x00283010, b"", items), pixels),
    )
    yield (
        "an explicit character set of 60 MiB",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.element(0x00080005, b"UT", b"ISO_IR 6\\" * (size // 9)),
            EXPLICIT.header(),
            EXPLICIT.element(PIXELS, b"OW", SMALL),
        ),
    )
    yield (
        "190 MiB of letters beyond the first plane",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.element(0x00080005, b"CS", b"ISO_IR 192"),
            EXPLICIT.element(0x00080060, b"UT", b"DX" + "\N{LUNGS}".encode() * (45 * MIB)),
            EXPLICIT.image(),
            EXPLICIT.element(PIXELS, b"OW", SMALL),
        ),
    )
    yield (
        "thirty thousand windows",
        lambda: dicom(
            syntax,
            image,
            form.element(0x00281050, b"", b"9e6\\" * 29_999 + b"1 "),
            form.element(0x00281051, b"", b"2\\" * 29_999 + b"2 "),
            pixels,
        ),
    )
    for count, entries in ((1400, 65536), (20_000, 1)):
        yield (
            f"{count} lookup tables of {entries}",
            lambda count=count, entries=entries: dicom(
                syntax, image, form.element(0x00283010, b"", _lut(form, entries) * count), pixels
            ),
        )
    yield (
        "a lookup table that is a text of 60 MiB",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.header(),
            EXPLICIT.element(
                0x00283010,
                b"SQ",
                EXPLICIT.item(
                    EXPLICIT.element(0x00283002, b"US", struct.pack("<3H", 0, 0, 16))
                    + EXPLICIT.element(0x00283006, b"UT", bytes(size))
                ),
            ),
            EXPLICIT.element(PIXELS, b"OW", SMALL),
        ),
    )
    yield (
        "sixteen overlays of 9 MiB",
        lambda: dicom(
            syntax,
            image,
            *(form.element(0x60003000 + (n << 17), b"", bytes(9 * MIB)) for n in range(16)),
            pixels,
        ),
    )
    yield (
        "a document of 150 MiB",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.104.1"),
            EXPLICIT.element(0x00080060, b"CS", b"DOC "),
            EXPLICIT.element(0x00420011, b"OB", bytes(150 * MIB)),
        ),
    )
    yield (
        "pixels as numbers",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.header(5000, 5000),
            EXPLICIT.element(PIXELS, b"UT", bytes(50_000_000)),
        ),
    )
    for rows, columns in ((65535, 760), (760, 65535)):
        yield (
            f"a shutter of many corners, {rows} x {columns}",
            lambda rows=rows, columns=columns: dicom(
                syntax,
                form.element(0x00080060, b"", b"DX"),
                form.element(0x00181600, b"", b"POLYGONAL "),
                form.element(
                    0x00181620,
                    b"",
                    b"\\".join(b"%d\\%d" % (1 + n % 2 * (rows - 1), n % columns + 1) for n in range(10_000)),
                ),
                form.image(rows, columns),
                form.element(PIXELS, b"", bytes(2 * rows * columns)),
            ),
        )
    yield (
        "rows as a long number",
        lambda: dicom(
            syntax,
            form.element(0x00080060, b"", b"DX"),
            form.image().replace(
                struct.pack("<HHLH", 0x28, 0x10, 2, 16), struct.pack("<HHLL", 0x28, 0x10, 4, 49_000_000)
            ),
            form.element(PIXELS, b"", bytes(98_000_000)),
        ),
    )


def _lut(form: Form, entries: int) -> bytes:
    return form.item(
        form.element(0x00283002, b"US", struct.pack("<3H", entries % 65536, 0, 16))
        + form.element(0x00283006, b"OW", bytes(range(256)) * (entries // 128) or b"\x01\x00")
    )


def _run_lengths() -> Bombs:
    """RLE (PS3.5 Annex G) in segments of other sizes than the header says."""
    syntax = OTHER_SYNTAXES["RLE"]

    def file(
        rows: int, columns: int, bits: int, segments: list[bytes], offsets: list[int] | None = None
    ) -> bytes:
        at = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
        starts = offsets or at
        head = struct.pack("<16L", len(starts), *starts, *[0] * (15 - len(starts)))
        return dicom(syntax, EXPLICIT.header(rows, columns, bits), encapsulated(head + b"".join(segments)))

    runs = b"\x81\x00"
    for size in (MIB, 16 * MIB, 80 * MIB):
        for bits in (8, 16):
            yield (
                f"RLE, {bits} bits, runs of {size // MIB} MiB for 16 x 16",
                lambda size=size, bits=bits: file(16, 16, bits, [runs * (size // bits * 4)] * (bits // 8)),
            )
            yield (
                f"RLE, {bits} bits, runs of {size // MIB} MiB for 5000 x 5000",
                lambda size=size, bits=bits: file(
                    5000, 5000, bits, [runs * (size // bits * 4)] * (bits // 8)
                ),
            )
    for name, code in (
        ("bytes one by one", b"\x00\x07"),
        ("codes of nothing", b"\x80"),
        ("runs of two", b"\xff\x07"),
    ):
        for bits in (8, 16):
            encoded = int(LARGE * LARGE * 1.45) // len(code)
            yield (
                f"RLE, {bits} bits, {name}",
                lambda code=code, bits=bits, encoded=encoded: file(
                    LARGE, LARGE, bits, [code * encoded] * (bits // 8)
                ),
            )
    yield "RLE, segments that are all of it", lambda: file(16, 16, 16, [runs * MIB], [64, 64])
    yield "RLE, offsets beyond the end", lambda: file(16, 16, 16, [runs, runs], [64, ENDLESS])
    yield "RLE, fifteen segments", lambda: file(16, 16, 16, [runs * MIB] * 15)


def _jpeg(kind: int, rows: int, columns: int, body: bytes = bytes(64), before: bytes = b"") -> bytes:
    """A JPEG or JPEG-LS stream that says a size, and has hardly anything."""
    frame = segment(kind, struct.pack(">BHHB3B", 8, rows, columns, 1, 1, 0x11, 0))
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))
    return b"\xff\xd8" + before + frame + scan + body + b"\xff\xd9"


_PROCESS = {
    "JPEG baseline": 0xC0,
    "JPEG extended": 0xC1,
    "JPEG lossless": 0xC3,
    "JPEG lossless SV1": 0xC3,
    "JPEG-LS": 0xF7,
    "JPEG-LS near": 0xF7,
}


def _frames() -> Bombs:
    for name, kind in _PROCESS.items():
        syntax = OTHER_SYNTAXES[name]
        yield (
            f"{name}, a frame of 65535 x 65535 in 16 x 16",
            lambda kind=kind, syntax=syntax: dicom(
                syntax, EXPLICIT.header(16, 16, 8), encapsulated(_jpeg(kind, 65535, 65535))
            ),
        )
        yield (
            f"{name}, 65535 x 65535 in both",
            lambda kind=kind, syntax=syntax: dicom(
                syntax, EXPLICIT.header(65535, 65535, 8), encapsulated(_jpeg(kind, 65535, 65535))
            ),
        )
        yield (
            f"{name}, 7071 x 7071 of nothing",
            lambda kind=kind, syntax=syntax: dicom(
                syntax, EXPLICIT.header(LARGE, LARGE, 8), encapsulated(_jpeg(kind, LARGE, LARGE))
            ),
        )
        yield (
            f"{name}, a million comments",
            lambda kind=kind, syntax=syntax: dicom(
                syntax,
                EXPLICIT.header(LARGE, LARGE, 8),
                encapsulated(_jpeg(kind, LARGE, LARGE, before=segment(0xFE, b"") * 1_000_000)),
            ),
        )
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))
    for size in (64, 2000, LARGE):
        yield (
            f"JPEG baseline, ten thousand scans of {size} x {size}",
            lambda size=size: dicom(
                OTHER_SYNTAXES["JPEG baseline"],
                EXPLICIT.header(size, size, 8),
                encapsulated(_jpeg(0xC2, size, size, (bytes(8) + scan) * 10_000)),
            ),
        )
    frame = _jpeg(0xC0, 16, 16)
    syntax = OTHER_SYNTAXES["JPEG baseline"]
    yield (
        "a frame in four million fragments",
        lambda: dicom(syntax, EXPLICIT.header(16, 16, 8), encapsulated([b""] * 4_000_000)),
    )
    yield (
        "a fragment of 180 MiB",
        lambda: dicom(
            syntax, EXPLICIT.header(16, 16, 8), encapsulated(frame[:-2] + bytes(180 * MIB) + b"\xff\xd9")
        ),
    )
    yield (
        "frames deflated one by one",
        lambda: dicom(
            OTHER_SYNTAXES["deflated frames"],
            EXPLICIT.header(16, 16, 8),
            encapsulated(deflated_zeros(4 * GIB)),
        ),
    )
    yield (
        "a fragment that is longer than the file",
        lambda: dicom(
            syntax,
            EXPLICIT.header(16, 16, 8),
            EXPLICIT.element(PIXELS, b"OB", b"", ENDLESS),
            EXPLICIT.item(b""),
            EXPLICIT.item(frame, 0xFFFFFFF0),
        ),
    )


def _offset_tables() -> Bombs:
    """Two frames in three fragments: where the second one begins, the Basic Offset Table says."""
    image = EXPLICIT.element(0x00080060, b"CS", b"DX") + EXPLICIT.image(16, 16, 8, frames=b"2 ")
    fragments = [_jpeg(0xC0, 16, 16)] * 3
    for name, table in (
        ("a table of 120 MiB of zeros", lambda: bytes(120 * MIB)),
        ("a table of 120 MiB", lambda: bytes(range(256)) * (120 * MIB // 256)),
        ("a table that lies", lambda: bytes.fromhex("00000000ffffff7f")),
        ("a table that goes back", lambda: bytes.fromhex("ffffff7f00000000")),
    ):
        yield (
            name,
            lambda table=table: dicom(
                OTHER_SYNTAXES["JPEG baseline"], image, encapsulated(fragments, table())
            ),
        )


def siz(width: int, height: int, tile: int | None = None) -> bytes:
    tiles = (tile or max(width, height), tile or max(width, height))
    body = struct.pack(">H8LH3B", 0, width, height, 0, 0, *tiles, 0, 0, 1, 7, 1, 1)
    return b"\xff\x4f" + segment(0x51, body)


def cod(layers: int = 1, levels: int = 5, block: int = 4, precincts: bytes = b"") -> bytes:
    style = bytes([bool(precincts)]) + struct.pack(">BHB", 0, layers, 0)
    return segment(0x52, style + bytes([levels, block, block, 0, 1]) + precincts)


def _j2k() -> Bombs:
    quantised = segment(0x5C, b"\x40" + b"\x48" * 16)
    empty = struct.pack(">HHHLBB", 0xFF90, 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(64) + b"\xff\xd9"
    for family, number in (("JPEG 2000", 91), ("JPEG 2000 lossless", 90), ("HTJ2K", 203)):
        syntax = b"1.2.840.10008.1.2.4.%d" % number
        capability = segment(0x50, bytes.fromhex("000200000000")) if number > 200 else b""
        for name, size, head in (
            ("the most pixels", (LARGE, LARGE), siz(LARGE, LARGE) + cod()),
            ("other pixels than the header", (16, 16), siz(60_000, 60_000) + cod()),
            ("sixty thousand tiles", (LARGE, LARGE), siz(LARGE, LARGE, 29) + cod()),
            ("tiles of one pixel", (250, 250), siz(250, 250, 1) + cod()),
            ("ten thousand tiles", (LARGE, LARGE), siz(LARGE, LARGE, 71) + cod()),
            ("code-blocks of 4 x 4", (LARGE, LARGE), siz(LARGE, LARGE) + cod(block=0)),
            ("code-blocks of 16 x 16", (LARGE, LARGE), siz(LARGE, LARGE) + cod(block=2)),
            ("precincts of one pixel", (LARGE, LARGE), siz(LARGE, LARGE) + cod(precincts=bytes(6))),
            ("precincts of 32 x 32", (LARGE, LARGE), siz(LARGE, LARGE) + cod(precincts=b"\x55" * 6)),
            ("65535 layers", (LARGE, LARGE), siz(LARGE, LARGE) + cod(layers=65535, precincts=b"\x88" * 6)),
            ("a million comments", (16, 16), siz(16, 16) + cod() + segment(0x64, b"\x00\x01") * 700_000),
        ):
            yield (
                f"{family}, {name}",
                lambda syntax=syntax, size=size, head=head, capability=capability: dicom(
                    syntax,
                    EXPLICIT.header(*size, 8),
                    encapsulated(
                        head[:2]
                        + head[2:].replace(b"\xff\x52", capability + b"\xff\x52", 1)
                        + quantised
                        + empty
                    ),
                ),
            )


def _large() -> Bombs:
    """Honest ones, as large as they may be without asking for more."""
    for name, (form, syntax) in NATIVE.items():
        yield (
            f"{name}, 7071 x 7071",
            lambda form=form, syntax=syntax: dicom(
                syntax, form.header(LARGE, LARGE), form.element(PIXELS, b"OW", _noise().tobytes())
            ),
        )
    yield (
        "explicit, 7071 x 7071 and 90 MiB more",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.header(LARGE, LARGE),
            EXPLICIT.element(0x60003000, b"OW", bytes(90 * MIB)),
            EXPLICIT.element(PIXELS, b"OW", _noise().tobytes()),
        ),
    )
    yield (
        "deflated, 7071 x 7071",
        lambda: (
            PREAMBLE
            + meta(DEFLATED)
            + deflated_zeros(
                2 * LARGE * LARGE,
                EXPLICIT.header(LARGE, LARGE) + EXPLICIT.element(PIXELS, b"OW", b"", 2 * LARGE * LARGE),
            )
        ),
    )
    yield (
        "explicit, 10000 x 10000",
        lambda: dicom(
            NATIVE["explicit"][1],
            EXPLICIT.header(10_000, 10_000),
            EXPLICIT.element(PIXELS, b"OW", bytes(190_000_000)),
        ),
    )
    for name in ("JPEG-LS", "JPEG 2000 lossless"):
        yield f"{name}, 7071 x 7071 of noise", lambda name=name: _compressed(name)


def _noise() -> np.ndarray:
    """Pixels that cannot be compressed."""
    return np.random.default_rng(0).integers(0, 65_535, (LARGE, LARGE), np.uint16)


def _compressed(name: str) -> bytes:
    from pydicom import uid
    from radiograph_files import dataset, encode

    return encode(dataset(_noise(), 16), uid.UID(OTHER_SYNTAXES[name].decode()))


def _odd_files() -> Iterator[tuple[str, Callable[[Path], Path]]]:
    yield "a file of 50 GiB of zeros", sparse("a.dcm", 50 * GIB)
    yield "a DICOM file of 50 GiB of zeros", sparse("a.dcm", 50 * GIB, dicom(NATIVE["explicit"][1]))
    yield "a pipe", _pipe
    yield "a link to a device without an end", _device


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.dcm")
    return folder / "a.dcm"


def _device(folder: Path) -> Path:
    (folder / "a.dcm").symlink_to("/dev/zero")
    return folder / "a.dcm"
