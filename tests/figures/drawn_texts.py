"""The texts of a figure, found without making the ticks of axes that draw none."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.text import Text


def drawn_texts(artist: Artist) -> Iterator[Text]:
    """What `artist.findobj(Text)` finds, less the labels of axes that are turned off.

    Matplotlib makes the ticks of an axis when it is asked for its children, which takes
    as long as the drawing.
    """
    if isinstance(artist, Text):
        yield artist
    hidden = (artist.xaxis, artist.yaxis) if isinstance(artist, Axes) and not artist.axison else ()
    for child in artist.get_children():
        if child not in hidden:
            yield from drawn_texts(child)
