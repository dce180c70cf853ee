"""Tables of labels as people write them: the right labels, or one clear error; no pathology nobody knows."""

from __future__ import annotations

import collections
import csv
import io
import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from cxr_explain.errors import CxrExplainError
from cxr_explain.pathologies import DATA_SET_PATHOLOGIES, NIH_PATHOLOGIES, PATHOLOGIES
from cxr_explain.reference import read_references

KNOWN = (*PATHOLOGIES, *DATA_SET_PATHOLOGIES)
FINDINGS = tuple(name for name in KNOWN if name not in ("Support Devices", "Tube", "Foreign Object"))
ALIASES = {"Effusion": "Pleural Effusion", "Lung Opacity": "Airspace opacity", "Infiltration": "Infiltrate"}
STATES = {"positive": ("", "=positive", "=1", "=1.0"), "negative": ("=negative", "=0", "=NEGATIVE")}
STATES |= {"uncertain": ("=uncertain", "=-1", " = Uncertain")}
ABSENCES = ("No Finding", "no finding", "NO_FINDING", "no findings", "normal", "Normal", "No Finding=1")
SEPARATORS = ("|", ";", ",", "/", " | ", "; ", ", ", " / ", "\n", "||", ";,")
LISTS = ("['{}']", '["{}"]', "[{}]", "('{}')", "{{'{}'}}")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16")
FOLDERS = ("", "images/", "C:\\data\\", "/mnt/x ray/", "./", "\\\\server\\share\\")
ENDINGS = (".png", ".dcm", "", ".JPG")
PIECES = (b"", b",", b'"', b"\n", b"\x00", b"\xff", b"|", b"/", b";", b"=", b"[", b"'", b"\xc3", b"\t", b"=0")

States = dict[str, str]


@dataclass
class Table:
    """A table and what it says, by image; None where it must be refused, or where nobody can say."""

    data: bytes
    truth: dict[str, States] | None
    may_fail: bool = False
    must_fail: bool = False


def spelt(name: str, rng: random.Random) -> str:
    """A name in another spelling: capitals, blanks, underscores, hyphens, or another name."""
    name = ALIASES.get(name, name) if rng.random() < 0.3 else name
    name, around = (
        rng.choice((name, name.upper(), name.lower(), name.title())),
        rng.choice(("", "", "", " ", "_")),
    )
    spaced = name.replace(" ", rng.choice((" ", "_", "-", "", "  "))) if "/" not in name else name
    return around + spaced + around  # a hyphen there might say that there is none


def misspelt(name: str, rng: random.Random) -> str:
    """A name with a letter that stands in none."""
    at = rng.randrange(len(name) + 1)
    return name[:at] + rng.choice("q0!?é") + name[at:]


def slashes_part(names: list[str]) -> bool:
    """Whether a slash can only stand between these names, as "Nodule/Mass" is one, too."""
    return "/" not in "".join(names) and ("Nodule", "Mass") not in pairwise(names)


def cell_of(states: States, rng: random.Random, *, typo: bool) -> str:
    labels = [spelt(name, rng) + rng.choice(STATES[state]) for name, state in states.items()]
    if typo:
        at = rng.randrange(len(labels) + 1)
        labels.insert(at, misspelt(rng.choice(KNOWN), rng))
    signs = [sign for sign in SEPARATORS if "/" not in sign or slashes_part(list(states))]
    if labels and rng.random() < 0.3 and not typo:
        form, mark = rng.choice(LISTS), rng.choice((", ", ","))
        quote = "'" if "'" in form else '"' if '"' in form else ""
        return form.format(f"{quote}{mark}{quote}".join(labels))
    return rng.choice(signs).join(labels)


def row_of(rng: random.Random) -> tuple[States, str | None]:
    """What a row says, and the text of it where that is no list of labels."""
    if rng.random() < 0.15:
        return dict.fromkeys(PATHOLOGIES, "negative"), rng.choice(ABSENCES)
    names = rng.sample(KNOWN, rng.randint(0, 4))
    if not any("/" in name for name in names):
        return {name: rng.choice(tuple(STATES)) for name in names}, None
    return dict.fromkeys((name for name in names if "/" not in name), "positive"), None


def plain(rng: random.Random, *, typo: bool) -> tuple[list[list[str]], dict[str, States]]:
    rows, truth = [["image", "labels", "ward"]], {}
    wrong = rng.randrange(3)
    for at in range(3):
        states, text = row_of(rng)
        text = None if typo and at == wrong else text
        shown = (
            cell_of(states if text is None else {}, rng, typo=typo and at == wrong) if text is None else text
        )
        rows.append(
            [rng.choice(FOLDERS) + f"img_{at}" + rng.choice(ENDINGS), shown, rng.choice(("A", "Süd", ""))]
        )
        truth[f"img_{at}"] = states
    named = {name for states in truth.values() for name in states if name not in PATHOLOGIES}
    for at, states in enumerate(truth.values()):
        if rows[at + 1][1] in ABSENCES:
            states.update(dict.fromkeys((name for name in FINDINGS if name in named), "negative"))
    return rows, truth


def nih(rng: random.Random, *, typo: bool) -> tuple[list[list[str]], dict[str, States]]:
    rows, truth = [["Image Index", "Finding Labels", "Süd"]], {}
    for at in range(3):
        there = rng.sample(NIH_PATHOLOGIES, rng.randint(1, 3)) if typo or rng.random() < 0.8 else []
        labels = [spelt(name, rng) for name in there] or [rng.choice(ABSENCES[:-1])]
        labels += [misspelt(rng.choice(NIH_PATHOLOGIES), rng)] if typo and at == 1 else []
        sign = rng.choice(("|", ";", ",", "/") if slashes_part(there) else ("|", ";", ","))
        rows.append([rng.choice(FOLDERS) + f"img_{at}" + rng.choice(ENDINGS), sign.join(labels), ""])
        truth[f"img_{at}"] = {name: "positive" if name in there else "negative" for name in NIH_PATHOLOGIES}
    return rows, truth


def columns(rng: random.Random, *, typo: bool) -> tuple[list[list[str]], dict[str, States]]:
    names = rng.sample(PATHOLOGIES, 3)
    heads = [spelt(name, rng).strip() for name in names]
    if typo:
        heads[1] = names[1] + rng.choice("qx")
    cells = {"positive": ("1", "1.0", "True", "Positive"), "negative": ("0", "0.0", "false", "no")}
    cells |= {"uncertain": ("-1", "-1.0", "uncertain"), "not mentioned": ("", "nan")}
    rows, truth = [["path", *heads]], {}
    for at in range(3):
        states = {name: rng.choice(tuple(cells)) for name in names}
        states[names[1]] = "positive"  # so that a misspelt column holds a state
        rows.append([f"img_{at}.png", *(rng.choice(cells[state]) for state in states.values())])
        truth[f"img_{at}"] = states
    return rows, truth


def written(rows: list[list[str]], rng: random.Random) -> str:
    text = io.StringIO(newline="")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC))
    delimiter = rng.choice((",", ",", ",", ";", "\t"))
    ending = rng.choice(("\n", "\r\n"))
    csv.writer(text, quoting=quoting, delimiter=delimiter, lineterminator=ending).writerows(rows)
    return text.getvalue()


def table(number: int) -> Table:
    rng = random.Random(number)
    fate = rng.choice(("clean", "clean", "typo", "encoding", "damage"))
    rows, truth = rng.choice((plain, plain, nih, columns))(rng, typo=fate == "typo")
    text = written(rows, rng)
    if fate == "encoding":
        return Table(text.encode(rng.choice(ENCODINGS), "replace"), truth, may_fail=True)
    data = text.encode(rng.choice(ENCODINGS[:2]))
    if fate == "damage":
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(data) + 1)
            data = data[:at] + rng.choice(PIECES) + data[at + rng.choice((0, 1, 2, 8)) :]
        return Table(data, None, may_fail=True)
    return Table(data, None if fate == "typo" else truth, must_fail=fate == "typo")


def outcome(made: Table, path: Path) -> str:
    """What became of a table; what went wrong begins with "BAD"."""
    path.write_bytes(made.data)
    try:
        standard = read_references(labels=path)
    except CxrExplainError as error:
        return "refused" if made.may_fail or made.must_fail else f"BAD: refused, {error}"
    except Exception as error:
        return f"BAD: {type(error).__name__} {error}"
    unknown = set(standard.manifest.pathologies) - set(KNOWN)
    if unknown or made.must_fail:
        return f"BAD: read with the pathologies {sorted(standard.manifest.pathologies)}"
    for image, states in (made.truth or {}).items():
        labels = standard.labels_for(f"elsewhere/{image}.png", (9, 9))
        found = None if labels is None else {name: str(state) for name, state in labels.states.items()}
        if found != states:
            return f"BAD: {image} has {found} for {states}"
    return "right" if made.truth else "known pathologies alone"


def check(count: int, path: Path) -> collections.Counter[str]:
    found = {number: outcome(table(number), path) for number in range(count)}
    bad = {number: text for number, text in found.items() if text.startswith("BAD")}
    assert not bad, dict(list(bad.items())[:5])
    return collections.Counter(found.values())


def test_tables_of_labels_are_read_right_or_refused(tmp_path: Path) -> None:
    tally = check(400, tmp_path / "labels.csv")
    assert min(tally["right"], tally["refused"]) > 100
    assert tally["known pathologies alone"] > 0


@pytest.mark.slow
def test_many_tables_of_labels_are_read_right_or_refused(tmp_path: Path) -> None:
    print(check(5_000, tmp_path / "labels.csv"))
