"""Small words between facts: lists, numbers of things, and sentences out of their parts."""

from __future__ import annotations

from collections.abc import Iterable


def listed(items: Iterable[str]) -> str:
    """Things one after the other, with "and" before the last; with semicolons where a thing has a comma.

    >>> listed(["Mass"]), listed(["Mass", "Edema"]), listed(["Mass", "Edema", "Hernia"])
    ('Mass', 'Mass and Edema', 'Mass, Edema and Hernia')
    >>> listed(["a, b", "c", "d"])
    'a, b; c; and d'
    """
    *others, last = [*items] or [""]
    if not others:
        return last
    if any("," in each for each in (*others, last)):
        return f"{'; '.join(others)}; and {last}"
    return f"{', '.join(others)} and {last}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number of things.

    >>> counted(1, "image"), counted(2300, "image"), counted(0, "pathology", "pathologies")
    ('1 image', '2,300 images', '0 pathologies')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def signed(number: float) -> str:
    """A difference with its sign, and three decimals.

    >>> signed(-0.25), signed(0.1)
    ('−0.250', '+0.100')
    """
    return f"{number:+.3f}".replace("-", "−")


def p_text(p: float | None) -> str:
    """A p in words, with its relation.

    >>> p_text(0.0421), p_text(3e-7), p_text(1.0), p_text(None)
    ('= 0.042', '< 0.0001', '= 1', '–')
    """
    if p is None:
        return "–"
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def paragraph(sentences: Iterable[str]) -> str:
    """Sentences on one line; those that are empty are left out, and a full stop ends each.

    >>> paragraph(["One", "", "two.", "three!"])
    'One. Two. Three!'
    """
    whole = [text if text.endswith((".", "!", "?")) else f"{text}." for text in sentences if text]
    return " ".join(text[0].upper() + text[1:] for text in whole)
