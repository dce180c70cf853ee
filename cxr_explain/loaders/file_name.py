"""A file's name in all the forms in which it is compared with what a header says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, Self
from urllib.parse import unquote

from pydicom.datadict import tag_for_keyword

from cxr_explain.loaders.header_texts import HeaderBytes, HeaderText
from cxr_explain.loaders.ordinary_names import ORDINARY, is_ordinary
from cxr_explain.loaders.spelling import Date, coarse, dates_in, folded, without_zeros

DATES: Final = frozenset({"DA", "DT"})
"""Value representations of dates."""

NUMBERS: Final = frozenset({"US", "UL", "UV", "SS", "SL", "SV", "FL", "FD", "AT", "IS", "DS", "US or SS"})
"""Value representations of numbers."""

_IDENTIFIERS: Final = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        *("AccessionNumber", "StudyID", "AdmissionID", "RequestedProcedureID", "ServiceEpisodeID"),
        *("ScheduledProcedureStepID", "PerformedProcedureStepID", "DeviceSerialNumber"),
        *("FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest"),
    )
)
_PATIENT: Final = 0x0010
_BIRTH: Final = tag_for_keyword("PatientBirthDate")
_WELL_KNOWN_UIDS: Final = "1.2.840.10008."
_MIN_SHORT_WORD, _MIN_WORD, _MIN_NUMBER, _MIN_LONG_NUMBER, _MIN_PART_OF_NUMBER = 3, 4, 4, 5, 6
_WORDS = re.compile(r"[^\W_]+")
_RUNS = re.compile(r"[^\W\d_]+|\d+")
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"\d+")
_CAMEL = re.compile(r"(?<=[^\W\d_])(?=[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ])|(?<=[a-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class FileName:
    """A stem in all forms in which it is compared.

    Args:
        stem: the file's name without folder and extension.
    """

    stem: str

    @classmethod
    def readings(cls, stem: str) -> list[Self]:
        """The stem as it is, and as its %-signs or its bytes in another encoding would be read."""
        readings = {stem, unquote(stem)}
        for content, code in _bytes_of(stem):
            with suppress(UnicodeDecodeError):
                readings.add(content.decode(code))
        return [cls(each) for each in readings]

    @cached_property
    def _words(self) -> list[str]:
        apart = _CAMEL.sub(" ", unicodedata.normalize("NFC", self.stem))
        whole, parts = folded(self.stem), folded(apart)
        return [*_WORDS.findall(whole), *_RUNS.findall(whole), *_WORDS.findall(parts), *_RUNS.findall(parts)]

    @cached_property
    def words(self) -> frozenset[str]:
        """Words, their parts of letters and of digits, and those that a capital letter begins."""
        plain = {*self._words, *map(without_zeros, self._words)}
        return frozenset({*plain, *map(coarse, plain)})

    @cached_property
    def packed(self) -> frozenset[str]:
        """All letters and digits in one, in the forms that a part may have."""
        words = _WORDS.findall(folded(self.stem))
        plain = "".join(words)
        return frozenset({plain, coarse(plain), "".join(map(coarse, words))})

    @cached_property
    def unusual(self) -> frozenset[str]:
        """The same without the words that radiographs are usually called by."""
        words = [word for word in _WORDS.findall(folded(self.stem)) if not is_ordinary(word)]
        plain = "".join(words)
        return frozenset({plain, coarse(plain), "".join(map(coarse, words))}) - {""}

    @cached_property
    def _numbered(self) -> frozenset[str]:
        """All in one, without the zeros that its numbers begin with."""
        return frozenset(without_zeros(packed.lstrip("0")) for packed in self.packed)

    @cached_property
    def digits(self) -> str:
        """All digits in one."""
        return "".join(_DIGITS.findall(folded(self.stem)))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Numbers without the zeros that they begin with."""
        return frozenset(word for word in self.words if word.isdecimal() and word != "0")

    @cached_property
    def sought(self) -> tuple[str, ...]:
        """Words that count where a text has them within longer words."""
        found = (w for w in self._words if w.isalpha() and len(w) >= _MIN_WORD and w not in ORDINARY)
        unspaced = (w for w in self._words if _UNSPACED.search(w) and len(w) > 1 and w not in ORDINARY)
        return tuple(dict.fromkeys(form for w in (*found, *unspaced) for form in (w, coarse(w))))

    @cached_property
    def long_numbers(self) -> tuple[str, ...]:
        """Numbers that count where a text has them within longer ones."""
        long = (n for n in self.numbers if len(n) >= _MIN_PART_OF_NUMBER)
        packed = self.digits.lstrip("0")
        return tuple({*long, *([packed] if len(packed) >= _MIN_PART_OF_NUMBER else [])})

    @cached_property
    def dates(self) -> frozenset[Date]:
        """Every date that it may mean."""
        return frozenset(dates_in(folded(self.stem)))

    def repeats(self, value: HeaderText | HeaderBytes) -> bool:
        """Whether the stem has what a value of the header has."""
        if isinstance(value, HeaderBytes):
            return self._in_bytes(value.content)
        text = folded(value.text)
        if value.vr == "PN":
            return self._has_name(text) or self._has_text(text)
        if value.vr == "UI":
            return self._has_uid(text)
        if value.vr == "AS":
            return self._has_age(text)
        if value.tag == _BIRTH and self._has_month_or_year(text):
            return True
        if value.vr in DATES:
            return self._has_date(text) or self._has_number(text, _MIN_LONG_NUMBER)
        if value.vr == "TM":
            return self._has_time(text)
        if value.vr == "CS" or (value.tag >> 16 & 1 and 0x10 <= value.tag & 0xFFFF <= 0xFF):
            return self._has_code(text)
        if value.vr in NUMBERS and not any(c.isalpha() for c in text.replace("e", "")):
            return self._has_number(text, _MIN_LONG_NUMBER)
        if value.tag in _IDENTIFIERS or (value.tag >> 16 == _PATIENT and value.vr == "LO"):
            return self._has_identifier(text)
        return self._has_text(text)

    def _has_part(self, part: str, shortest: int) -> bool:
        return _is_within(part, self.packed, shortest)

    def _has_unusual(self, part: str, shortest: int) -> bool:
        return _is_within(part, self.unusual, shortest)

    def _as_word(self, word: str) -> bool:
        return word in self.words or (len(coarse(word)) > 1 and coarse(word) in self.words)

    def _has_name(self, text: str) -> bool:
        for group in text.split("="):
            parts = _LETTERS.findall(group)
            for part in parts:
                shortest = 3 if part.isascii() else 1 if _UNSPACED.match(part) else 2
                if self._has_part(part, shortest):
                    return True
                if len(part) > 1 and part not in ORDINARY and self._as_word(part):
                    return True
                if any(len(w) == 3 and part.startswith(w) and w not in ORDINARY for w in self._words):
                    return True
            joined = {"".join(parts), "".join(reversed(parts)), *_pairs(parts)} if len(parts) > 1 else ()
            if any(self._has_part(word, 3) for word in joined) or self._is_short_for(parts):
                return True
        return any(_UNSPACED.match(c) and c in text for word in self._words for c in word)

    def _is_short_for(self, parts: list[str]) -> bool:
        """Whether it is, or has as a word, the initials of a name, or its parts' first three letters."""
        orders = (
            parts,
            parts[::-1],
            [*parts[1:], *parts[:1]],
        )  # the family name may be the first or the last
        initials = {"".join(part[0] for part in order) for order in orders if len(parts) >= 3}
        threes = {"".join(part[:3] for part in order[:2]) for order in orders if len(parts) >= 2}
        return any(
            len(word) >= 3 and word not in ORDINARY and (word in self.words or word in self.unusual)
            for word in initials | {each for each in threes if len(each) == 6}
        )

    def _has_text(
        self, text: str, shortest_word: int = _MIN_SHORT_WORD, shortest_number: int = _MIN_NUMBER
    ) -> bool:
        if self.unusual and self._has_words(_WORDS.findall(text), shortest_word):
            return True
        return self._has_numbers(text, shortest_number) or (bool(self.dates) and self._has_date(text))

    def _has_identifier(self, text: str) -> bool:
        """Shorter words and numbers count than in other texts, and the whole even where it is ordinary."""
        packed = "".join(_WORDS.findall(text))
        short = without_zeros(packed)
        return (
            self._has_part(packed, _MIN_WORD)
            or (not short.isdecimal() and self._has_part(short, _MIN_WORD))
            or (_is_mixed(short) and any(short in numbered for numbered in self._numbered))
            or self._has_text(text, _MIN_SHORT_WORD - 1, _MIN_NUMBER - 1)
        )

    def _has_words(self, words: list[str], shortest: int) -> bool:
        fresh = [word for word in dict.fromkeys(words) if not is_ordinary(word)]
        packed = "".join(words)
        if fresh and self._has_unusual(packed, _MIN_WORD):
            return True
        if any(self._has_word(word, shortest) for word in fresh):
            return True
        return any(word in packed or word in coarse(packed) for word in self.sought)

    def _has_word(self, word: str, shortest: int) -> bool:
        if word.isdecimal():
            return False  # `_has_numbers`
        unspaced = _UNSPACED.match(word)
        short = without_zeros(word)
        if len(short) >= (2 if unspaced else shortest) and (self._as_word(word) or self._as_word(short)):
            return True
        if self._has_unusual(word, 2 if unspaced else _MIN_WORD):
            return True
        parts = _LETTERS.findall(word) if not word.isalpha() else ()
        return any(
            len(p) >= _MIN_WORD and p not in ORDINARY and self._has_unusual(p, _MIN_WORD) for p in parts
        )

    def _has_numbers(self, text: str, shortest: int) -> bool:
        runs = _DIGITS.findall(text)
        for run in runs:
            number = run.lstrip("0")
            if len(number) >= shortest and number in self.numbers:
                return True
            if len(number) >= _MIN_LONG_NUMBER and number in self.digits:
                return True
            if number and len(run) >= _MIN_PART_OF_NUMBER and run in self.digits:
                return True
        packed = "".join(runs)
        number = packed.lstrip("0")
        if len(number) >= shortest and number in self.numbers:
            return True
        if len(number) >= _MIN_PART_OF_NUMBER and packed in self.digits:
            return True
        return any(number in packed for number in self.long_numbers)

    def _has_number(self, text: str, shortest: int) -> bool:
        numbers = (run.lstrip("0") for run in _DIGITS.findall(text))
        return any(len(number) >= shortest and number in self.numbers for number in numbers)

    def _has_code(self, text: str) -> bool:
        words = (word for word in _WORDS.findall(text) if len(word) >= _MIN_WORD and not is_ordinary(word))
        return any(self._as_word(word) for word in words)

    def _has_uid(self, text: str) -> bool:
        if text.startswith(_WELL_KNOWN_UIDS):
            return False
        digits = "".join(_DIGITS.findall(text))
        if len(digits) >= 8 and any(digits in packed for packed in self.packed):
            return True
        if len(self.digits) >= 8 and self.digits in digits:
            return True
        if text.startswith("2.25.") and text[5:].isdecimal() and len(text) <= 45:  # a UUID as a number
            return any(f"{int(text[5:]):032x}" in packed for packed in self.packed)
        return any(len(part) >= _MIN_PART_OF_NUMBER and part in self.numbers for part in text.split("."))

    def _has_date(self, text: str) -> bool:
        return bool(self.dates) and not self.dates.isdisjoint(dates_in(text))

    def _has_month_or_year(self, text: str) -> bool:
        """Of birth: other dates' years are what folders and studies are called by."""
        year, month = text[:4], text[4:6]
        forms = {year, year + month, (month + year).lstrip("0")}
        return len(text) == 8 and not self.numbers.isdisjoint(forms)

    def _has_age(self, text: str) -> bool:
        """As the header has it, or in words: 073Y, 73 yo, 73-year-old."""
        age = re.fullmatch(r"0*([1-9]\d*)([dwmy])", text)
        return age is not None and bool(re.search(rf"(?<!\d)0*{age[1]}[\W_]*{age[2]}", folded(self.stem)))

    def _has_time(self, text: str) -> bool:
        """Six digits; those of the first hour of a day look like a running number."""
        time = "".join(_DIGITS.findall(text.split(".")[0]))[:6]
        return len(time) == 6 and not time.startswith("00") and time in self._times

    @cached_property
    def _times(self) -> frozenset[str]:
        runs = _DIGITS.findall(folded(self.stem))
        twos = ("".join(three) for three in zip(runs, runs[1:], runs[2:], strict=False))
        ends = (run[-6:] for run in runs if len(run) == 14)
        return frozenset(text for text in (*runs, *twos, *ends) if len(text) == 6)

    def _in_bytes(self, content: bytes) -> bool:
        """Long bytes are searched for the stem's words, and not read."""
        lower = content.lower()
        sought = (*self.sought, *self.long_numbers)
        return any(word.encode(code) in lower for word in sought for code in ("utf-8", "utf-16-le"))


def _is_mixed(short: str) -> bool:
    """Whether it has three signs at least, letters and digits among them."""
    return len(short) >= _MIN_SHORT_WORD and not short.isalpha() and not short.isdecimal()


def _is_within(part: str, wholes: frozenset[str], shortest: int) -> bool:
    forms = {part, coarse(part)}
    return any(len(form) >= shortest and form in whole for form in forms for whole in wholes)


def _pairs(parts: list[str]) -> Iterator[str]:
    for one, other in pairwise(parts):
        yield one + other
        yield other + one


def _bytes_of(stem: str) -> Iterator[tuple[bytes, str]]:
    """What the file system may have meant by a stem, as bytes with an encoding."""
    if any("\udc80" <= c <= "\udcff" for c in stem):  # bytes that are no UTF-8
        raw = stem.encode("utf-8", "surrogateescape")
        yield from ((raw, code) for code in ("latin-1", "gb18030", "shift_jis", "euc_kr", "cp1251"))
    elif not stem.isascii():  # UTF-8 that a ZIP archive or an old file system took for something else
        for wrong in ("latin-1", "cp1252", "cp437"):
            with suppress(UnicodeEncodeError):
                yield stem.encode(wrong), "utf-8"
