"""Names for the outputs of a run, of which none takes the place of another input's."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from cxr_explain.errors import OptionError
from cxr_explain.loaders.sniff import is_own_figure
from cxr_explain.options import FigureFormat
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.whole_file import safe_stem

PAGE_GENERATOR = "cxr-explain explanation"
"""By which the page of one explanation is known, of the kind that `Explanation.to_html` writes."""

_INDEX = "index"  # the name of the page on all radiographs of a run
_ARRAYS = {"class_maps.npy", "maps.npy"}
_MOST_JSON = 2**24
_HEAD = 2048
_FRAME = re.compile(r"frame \d+ of \d+")


class OutputNames:
    """Names for the outputs of one run: two files of one name in different folders keep apart.

    Names that differ only by capitals are one name, since they are one file on many machines. An output of an
    earlier run is replaced by that of the same radiograph alone; so is what a killed run left half done.

    Args:
        folder: where the outputs are written; None keeps apart those of one run only.
        hashed: name outputs after the SHA-256 of the file rather than after its name.
        figure_format: ending of the figures; None where none are written.
        html: whether a page is written for each, `<id>.html`.

    >>> import numpy as np
    >>> names = OutputNames()
    >>> one, other = (Radiograph.from_array(np.full((2, 2), value), id="a") for value in (-5.0, 5.0))
    >>> [names.give(each).id for each in (one, other, one)]
    ['a', 'a-5fdb6150', 'a']
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        hashed: bool = False,
        figure_format: FigureFormat | None = None,
        html: bool = False,
    ) -> None:
        self._folder = folder
        self._hashed = hashed
        self._html = html
        self._figure_format = figure_format
        self._sources: dict[str, Hashable] = {}

    def give(self, radiograph: Radiograph, source: Hashable = None) -> Radiograph:
        """The radiograph under a name that no other input has.

        Args:
            radiograph: what is to be named.
            source: what tells its input from others, such as its path: files of the same bytes may have other
                labels. By default its digest, and its frame.
        """
        mine = (radiograph.sha256, _frame_of(radiograph.steps)) if source is None else source
        plain = radiograph.sha256[:12] if self._hashed else safe_stem(radiograph.id) or radiograph.sha256[:12]
        free = (
            name for name in names_for(plain, radiograph.sha256) if self._may_have(name, radiograph, mine)
        )
        name = next(free)
        self._sources[name.casefold()] = mine
        return replace(radiograph, id=name)

    def _may_have(self, name: str, radiograph: Radiograph, source: Hashable) -> bool:
        if self._html and name.casefold() == _INDEX:
            return False
        known = self._sources.get(name.casefold())
        if known is not None:
            return known == source
        return self._folder is None or not self._is_of_another(self._folder / name, radiograph)

    def _is_of_another(self, path: Path, radiograph: Radiograph) -> bool:
        """Whether files lie there that this radiograph's would replace, and that are not its own."""
        page = path.with_name(f"{path.name}.html")
        if self._html and _is_there(page) and not is_page_file(page):
            return True
        saved = path.with_name(f"{path.name}.json")
        if _is_there(saved):
            return not _explains(saved, radiograph)
        # Without an explanation a figure or maps are what a killed run left.
        figure = path.with_name(f"{path.name}.{self._figure_format}")
        arrays = path.with_name(f"{path.name}.npz")
        return (_is_there(figure) and not is_figure_file(figure)) or (
            _is_there(arrays) and not _is_of_maps(arrays)
        )


def _is_there(path: Path) -> bool:
    """Whether a file would be replaced; a folder never is, and writing there fails."""
    return os.path.lexists(path) and not path.is_dir()


def names_for(plain: str, digest: str) -> Iterator[str]:
    """Names for outputs, the first choice first, without an end.

    Args:
        plain: the first choice.
        digest: hexadecimal digest that tells the input from others of that name.

    >>> from itertools import islice
    >>> list(islice(names_for("chest", "5fdb6150ab"), 3))
    ['chest', 'chest-5fdb6150', 'chest-5fdb6150-2']
    """
    yield plain
    other = f"{plain}-{digest[:8]}"
    yield other
    yield from (f"{other}-{number}" for number in count(2))


def _explains(path: Path, radiograph: Radiograph) -> bool:
    """Whether a JSON file is the explanation of a radiograph: of the same file, and the same frame."""
    try:
        if path.stat().st_size > _MOST_JSON:
            return False
        provenance = json.loads(path.read_bytes())["provenance"]
        return bool(
            provenance["radiograph_sha256"] == radiograph.sha256
            and _frame_of(provenance["steps"]) == _frame_of(radiograph.steps)
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _frame_of(steps: Sequence[str]) -> str:
    """Which frame of a file was read, as the steps have it also after MONAI; '' where there is one."""
    return next((found[0] for step in steps if (found := _FRAME.search(step))), "")


def is_figure_file(path: Path) -> bool:
    """Whether a figure of this package lies there.

    Args:
        path: the file, whose ending says its format.

    >>> is_figure_file(Path("nowhere.png"))
    False
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".png":
                return is_own_figure(file.read(_HEAD))
            return b"cxr-explain" in file.read(_MOST_JSON)
    except OSError:
        return False


def is_page_file(path: Path) -> bool:
    """Whether the page of one explanation lies there.

    >>> is_page_file(Path("nowhere.html"))
    False
    """
    try:
        with path.open("rb") as file:
            return f'content="{PAGE_GENERATOR}"'.encode() in file.read(_HEAD)
    except OSError:
        return False


def check_replaceable(path: Path) -> None:
    """Refuse to write a figure, under a name that nobody chose, over something else than a figure of ours.

    Args:
        path: where it is to be written.

    Raises:
        OptionError: something else is there.
    """
    if os.path.lexists(path) and not is_figure_file(path):
        raise OptionError(
            f"{path}, which is no figure of this package, and would be replaced",
            expected="another name for the figure",
            remedy="Name one with --out.",
        )


def _is_of_maps(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) == _ARRAYS
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
