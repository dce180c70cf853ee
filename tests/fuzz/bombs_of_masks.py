"""CheXlocalize's JSON files that ask for more than outlines are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from bomb_parts import MIB, writes
from bombs import Bomb

OUTLINES = "bomb_readers:outlines"
SIDE = 7000
NAMES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Airspace Opacity", "Edema"),
    *("Consolidation", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Support Devices"),
)


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is made before a bomb's `make` is called."""
    for name, data in (*_run_lengths(), *_structures(), *_polygons()):
        yield Bomb(f"outlines, {name}", OUTLINES, writes("outlines.json", lambda data=data: data().encode()))


def _structures() -> Iterator[tuple[str, Callable[[], str]]]:
    size = 100 * MIB
    yield "lists within each other", lambda: "[" * size
    yield "empty lists", lambda: '{"a": [' + "[]," * (size // 3) + "[]]}"
    yield "empty objects", lambda: '{"a": [' + "{}," * (size // 3) + "{}]}"
    yield "small objects", lambda: '{"a": [' + '{"a":1},' * (size // 8) + "{}]}"
    yield "numbers", lambda: '{"a": [' + "1.5," * (size // 4) + "1]}"
    yield "texts", lambda: '{"a": [' + '"a",' * (size // 4) + "1]}"
    yield (
        "a million names, the last one twice",
        lambda: "{" + "".join(f'"{n}":1,' for n in range(1_000_000)) + '"x":1,"x":1}',
    )
    yield (
        "a million radiographs",
        lambda: "{" + ",".join(f'"{n}":{{"img_size":[3,3]}}' for n in range(1_000_000)) + "}",
    )
    yield "a number of a hundred million digits", lambda: '{"a": ' + "1" * size + "}"
    yield "a text of a hundred million letters", lambda: '{"a": "' + "a" * size + '"}'
    yield "letters beyond the first plane", lambda: '{"a": "' + "\N{LUNGS}" * (size // 4) + '"}'
    yield "a file of a gigabyte", lambda: " " * (1000 * MIB)


def _run_lengths() -> Iterator[tuple[str, Callable[[], str]]]:
    def file(counts: str, shape: tuple[int, int] = (SIDE, SIDE), times: int = 1) -> str:
        entry = {name: {"size": list(shape), "counts": counts} for name in NAMES}
        return json.dumps({f"patient{n}": entry for n in range(times)})

    yield "ten masks of 100 million pixels", lambda: file("0", (10_000, 10_000))
    yield "a mask of 2^62 pixels", lambda: file("0", (2**31, 2**31))
    yield "runs of nothing", lambda: file("0" * (10 * MIB))
    yield "runs of one pixel", lambda: file("11" + "0" * (8 * MIB))
    yield "runs of one pixel, and no end", lambda: file("1" * (9 * MIB))
    yield "characters that go on", lambda: file("P" * (9 * MIB))
    yield "many small masks", lambda: file("4", (2, 2), 20_000)
    yield "ten masks of 49 million pixels", lambda: file(_whole(SIDE * SIDE))


def _whole(pixels: int) -> str:
    """COCO's text of one run."""
    text = ""
    while True:
        low, pixels = pixels & 31, pixels >> 5
        more = pixels != 0 or low & 16
        text += chr(48 + low + (32 if more else 0))
        if not more:
            return text


def _polygons() -> Iterator[tuple[str, Callable[[], str]]]:
    def file(polygons: str, side: int = SIDE) -> str:
        named = ",".join(f'"{name}": [{polygons}]' for name in NAMES)
        return f'{{"patient1": {{"img_size": [{side}, {side}], {named}}}}}'

    square = f"[[0,0],[{SIDE},0],[{SIDE},{SIDE}],[0,{SIDE}]]"
    for count in (1, 100, 30_000):
        yield f"{count} squares of all pixels", lambda count=count: file(",".join([square] * count))
    zigzag = [f"[{n % 7000},{n % 2 * SIDE}]" for n in range(100_000)]
    for count in (1000, 10_000, 100_000):
        yield f"a polygon of {count} corners", lambda count=count: file("[" + ",".join(zigzag[:count]) + "]")
    yield "points far away", lambda: file("[[-1e6,-1e6],[1e6,1e6],[1e6,-1e6],[-1e6,1e6]]")
    yield "numbers beyond all", lambda: file("[[1e999,0],[0,-1e999]]")
