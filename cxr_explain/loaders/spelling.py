"""One form for what people spell in several ways: letters, scripts, numbers and dates.

Nothing here is a transliteration for readers: both sides of a comparison are folded, so that forms need to be
alike, not right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

Date = tuple[int, int, int]
"""Two digits of the year, the month and the day."""

_SINGLE: Final = dict(
    zip(
        # Latin letters that are no letter with a mark; Cyrillic, near to passports (ICAO 9303-3); Greek, near
        # to ISO 843; Arabic, where its letters have other signs at the end of a word or in Persian and Urdu.
        "øłđðħŧıəĸƶɓɗƙабвгдезиклмнопрстуфыэіґєқғңұүһөәћђјαβγδεζηικλμνξοπρσςτυωφىیکةہھ",
        "olddhtiekzbdkabvgdeziklmnoprstufyeigekgnuuhoacdjavgdeziiklmnxoprsstyofييكههه",
        strict=True,
    )
)
_LATIN: Final = "ae oe th ng ss zh kh ts ch sh shch - - iu ia lj nj dz dz th ch ps"
_SEVERAL: Final = {
    letter: letters.strip("-")  # the signs of hardness and softness are no sounds
    for letter, letters in zip(
        "æœþŋßжхцчшщъьюяљњџѕθχψ",
        _LATIN.split(),
        strict=True,
    )
}
_COARSE: Final = (
    *(("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a"), ("oy", "u"), ("ou", "u"), ("ph", "f"), ("kh", "h")),
    *(
        ("tch", "ch"),
        ("shch", "sch"),
        ("ch", "h"),
        ("y", "i"),
        ("j", "i"),
        ("w", "v"),
        ("ie", "e"),
        ("ii", "i"),
    ),
)
_KATAKANA: Final = range(0x30A1, 0x30F7)  # hiragana comes 0x60 before it
_TATWEEL: Final = {"\u0640": ""}  # lengthens an Arabic word
_TABLE: Final = str.maketrans(
    _SINGLE | _SEVERAL | _TATWEEL | {chr(code): chr(code - 0x60) for code in _KATAKANA}
)
_MONTH_NAMES: Final = """
january januar janvier enero gennaio janeiro styczen ocak leden ledna ianuarie ianvaria ianoyarioy jan
february februar fevrier febrero febbraio fevereiro luty lutego subat unor unora fevralia fevroyarioy
march marz maerz mars marzo marco marca maart marzec mrt marta mrz brezen brezna martie martioy
april avril abril aprile kwiecien kwietnia nisan duben dubna aprelia
may mai mayo maggio maio mei maj mayis maia kveten kvetna maioy
june juni juin junio giugno junho czerwiec haziran cerven cervna iunie iiunia ioynioy
july juli juillet julio luglio julho lipiec lipca temmuz cervenec iulie iiulia ioylioy
august aout agosto augustus sierpien agustos srpen srpna aygoystoy avgusta
september septembre septiembre settembre setembro wrzesien eylul zari sentiabria
october oktober octobre octubre ottobre outubro pazdziernik ekim rijen rijna octombrie oktiabria oktovrioy
november novembre noviembre novembro listopad kasim noiembrie noiabria noemvrioy
december dezember decembre diciembre dicembre dezembro grudzien grudnia aralik prosinec dekabria dekemvrioy
"""
_MONTHS: Final = tuple(line.split() for line in _MONTH_NAMES.strip().splitlines())
_ENOUGH_OF_A_MONTH: Final = 5  # letters: what follows may be an ending, as in Slovak "januara"
_BETWEEN: Final = frozenset({"st", "nd", "rd", "th", "de", "of", "den", "年", "月", "日", "년", "월", "일"})
_TOKENS = re.compile(r"\d+|[^\W\d_]+")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_YEARS_OF_FOUR = range(1850, 2101)
_BUDDHIST = 543  # years before
_ERAS: Final = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
_YEAR_OF_AN_ERA = re.compile(rf"({'|'.join(_ERAS)})(元|\d{{1,2}})")


def folded(text: str) -> str:
    """A text in lower case, without accents, in Latin letters and digits where these are known.

    Han ideograms and letters of other scripts stay what they are; katakana becomes hiragana.

    >>> folded("Mückenhöfer"), folded("Łukasz STRASSE"), folded("Иванов"), folded("１２٣")
    ('muckenhofer', 'lukasz strasse', 'ivanov', '123')
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(map(_kept, apart)).translate(_TABLE)
    return unicodedata.normalize("NFC", plain)  # a Korean syllable counts as one letter


@lru_cache(maxsize=4096)
def _kept(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Mn", "Me", "Cf"):
        return ""
    return str(unicodedata.decimal(character)) if kind == "Nd" else character


@lru_cache(maxsize=4096)
def coarse(word: str) -> str:
    """A folded word where what languages write differently is alike: ü and ue, y and j and i, ph and f.

    >>> coarse("mueller") == coarse("muller"), coarse("andrey") == coarse("andrei")
    (True, True)
    """
    for several, one in _COARSE:
        word = word.replace(several, one)
    return word


def without_zeros(word: str) -> str:
    """A word without the zeros that its numbers begin with.

    >>> without_zeros("a0017"), without_zeros("0000")
    ('a17', '0')
    """
    return _ZEROS.sub("", word)


def dates_in(text: str) -> set[Date]:
    """Every date that a folded text may mean, in any order of year, month and day.

    Eight digits, six digits, or three parts of which the month may be a word; years of two or four digits, of
    a Japanese era, or of Thailand's calendar.

    >>> [(50, 1, 12) in dates_in(text) for text in ("smythe-12jan1950", "500112_pa", "昭和25年1月12日")]
    [True, True, True]
    """
    plain = _YEAR_OF_AN_ERA.sub(_common_year, text)
    tokens = [token for token in _TOKENS.findall(plain) if token not in _BETWEEN]
    parts = (three for token in tokens if token.isdecimal() for three in _cut(token))
    threes = zip(tokens, tokens[1:], tokens[2:], strict=False)
    after_months = ((d[:2], month, d[2:]) for month, d in pairwise(tokens) if len(d) in (4, 6))
    return {date for three in (*parts, *threes, *after_months) for date in _orders(three)}


def _common_year(found: re.Match[str]) -> str:
    return str(_ERAS[found[1]] + (1 if found[2] == "元" else int(found[2])))


def _cut(digits: str) -> Iterator[tuple[str, str, str]]:
    """The digits of one run as three parts: as eight digits anywhere, or six where the run may be a date."""
    for at in range(len(digits) - 7):
        eight = digits[at : at + 8]
        yield eight[:4], eight[4:6], eight[6:]
        yield eight[:2], eight[2:4], eight[4:]
    sixes = {6: (0,), 7: (), 10: (0, 4), 12: (0, 6)}.get(len(digits), ())
    for at in sixes:
        yield digits[at : at + 2], digits[at + 2 : at + 4], digits[at + 4 : at + 6]
    if len(digits) == 7:
        for month in (1, 2):
            yield digits[:4], digits[4 : 4 + month], digits[4 + month :]
            yield digits[:month], digits[month:3], digits[3:]


def _orders(parts: tuple[str, str, str]) -> Iterator[Date]:
    first, second, third = parts
    for year, month, day in ((first, second, third), (third, second, first), (third, first, second)):
        if not (year.isdecimal() and day.isdecimal() and len(day) <= 2 and int(day) in range(1, 32)):
            continue
        if len(year) not in (2, 4):
            continue
        for common in (int(year), int(year) - _BUDDHIST):
            if common == int(year[-2:]) or common in _YEARS_OF_FOUR:
                yield from ((common % 100, number, int(day)) for number in _months(month))


@lru_cache(maxsize=1024)
def _months(text: str) -> tuple[int, ...]:
    if text.isdecimal():
        return (int(text),) if len(text) <= 2 and int(text) in range(1, 13) else ()
    if len(text) < 3:
        return ()
    beginning = text[:_ENOUGH_OF_A_MONTH]
    return tuple(
        number
        for number, names in enumerate(_MONTHS, start=1)
        if any(name.startswith(beginning) for name in names)
    )
