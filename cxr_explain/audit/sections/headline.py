"""What an audit found, in words: the first thing that a terminal, Markdown, a page or a PDF shows of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from cxr_explain.audit.sections.tables import ShownEstimate, list_address
from cxr_explain.errors import legible
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import format_probability
from cxr_explain.support.markdown import as_text
from cxr_explain.support.prose import counted, listed, p_text

TITLE = "What this audit found"

QUESTIONS = {
    "pathology": "Which pathologies fail?",
    "subgroup": "In whom does it do worse?",
    "operating point": "Which operating points do not suit this set?",
    "localisation": "Which maps point no better than chance?",
    "place": "Where do the maps pile up?",
    "region": "Does it look beside the anatomy?",
    "calibration": "Which probabilities are off?",
    "labels": "Which labels should be checked?",
    "failures": "What could not be explained?",
}
"""Kinds of findings, as questions."""

MOST_SHOWN = 3
"""Findings of one kind that are shown at once; the document keeps all of them."""

_NAMED = 6
_WIDTH = 100


@dataclass(frozen=True)
class ShownFinding:
    """A finding in words.

    Args:
        text: one sentence with its number.
        basis: the interval, what it rests on, and p.
        address: address of the list of cases within the report; '' without.
        images: the images that it is about, where they are few, in words; '' without.
    """

    text: str
    basis: str
    address: str = ""
    images: str = ""

    @property
    def named(self) -> str:
        """The sentence, and the images that it is about."""
        return f"{self.text} {self.images}".rstrip()

    @classmethod
    def of(cls, found: Mapping[str, Any], level: float) -> Self:
        """Read a finding of the statistics.

        Args:
            found: as the statistics keep it.
            level: confidence level of its interval.
        """
        spread = ShownEstimate.of(found["estimate"]).spread.replace("–", " to ")
        interval = f"{100 * level:g} % interval {spread}" if spread else "no interval"
        parts = [" ".join([*filter(None, [found["estimate"].get("of")]), interval])]
        parts += [counted(n, noun.removesuffix("s"), noun) for noun, n in found["counts"].items()]
        if found["p_adjusted"] is not None:
            parts.append(f"adjusted p {p_text(found['p_adjusted'])}")
        return cls(
            text=found["text"],
            basis="; ".join(parts),
            address=list_address(found["cases"]) if found["cases"] else "",
            images=f"Images: {_some(found['images'], 'other')}." if found["images"] else "",
        )


@dataclass(frozen=True)
class FindingGroup:
    """The findings of one kind.

    Args:
        question: what they answer.
        findings: those that are shown, the largest first.
        further: those that are not.
    """

    question: str
    findings: Sequence[ShownFinding]
    further: Sequence[ShownFinding] = ()


@dataclass(frozen=True)
class Headline:
    """What an audit found.

    Args:
        groups: the findings by kind.
        cases: those to open first; without findings where there are none.
        summary: a sentence that says how many there are, or that there are none.
        few: what has too few cases to say anything of, in a line; '' where nothing has.
        basis: how findings are chosen.
    """

    groups: Sequence[FindingGroup]
    cases: FindingGroup
    summary: str
    few: str
    basis: str

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> Self:
        """Read the findings of the statistics.

        Args:
            statistics: the statistics of the audit, as `statistics.json` has them.
        """
        found, level = statistics["findings"], statistics["level"]
        groups = []
        for kind, members in groupby(found["found"], key=lambda each: each["kind"]):
            shown = [ShownFinding.of(each, level) for each in members]
            groups.append(FindingGroup(QUESTIONS[kind], shown[:MOST_SHOWN], shown[MOST_SHOWN:]))
        number, comparisons = len(found["found"]), sum(found["compared"].values())
        return cls(
            groups=groups,
            cases=_first_cases(statistics["compared"]["cases"]),
            summary=f"{counted(number, 'finding') if number else 'No finding'} in "
            f"{counted(comparisons, 'comparison')}.",
            few=_few(found["few"]),
            basis="A finding is a question to look at. p is adjusted for the comparisons of its kind (Holm) "
            f"and for {counted(found['kinds'], 'kind')} (Bonferroni), and is at most {found['alpha']:g}; of "
            "200 simulated audits without a fault 17 had a finding.",
        )

    @property
    def shown(self) -> Sequence[FindingGroup]:
        """All groups, the cases to open first at the end."""
        return [*self.groups, *([self.cases] if self.cases.findings else [])]

    def to_text(self) -> str:
        """For a terminal."""
        lines = [TITLE, self.summary, ""]
        for group in self.shown:
            lines.append(group.question)
            for each in group.findings:
                lines += _wrapped(each.named, "- ")
                lines += _wrapped(f"({each.basis})", "  ")
            if group.further:
                lines.append(f"  and {len(group.further):,} more")
            lines.append("")
        return "\n".join([*lines, *(line for text in self._closing for line in _wrapped(text, ""))])

    def to_markdown(self) -> str:
        """As GitHub renders it."""
        lines = [f"## {TITLE}\n", f"{self.summary}\n"]
        for group in self.shown:
            lines.append(f"### {group.question}\n")
            lines += [f"- {as_text(each.named)} ({as_text(each.basis)})" for each in group.findings]
            lines += [f"- and {len(group.further):,} more"] if group.further else []
            lines.append("")
        return "\n".join([*lines, "\n\n".join(map(as_text, self._closing))])

    @property
    def _closing(self) -> Iterator[str]:
        yield from (text for text in (self.few, self.basis) if text)


def _first_cases(cases: Sequence[Mapping[str, Any]]) -> FindingGroup:
    shown = [
        ShownFinding(
            f"{each['image']}: labelled {'with' if each['positive'] else 'without'} "
            f"{display_name(each['pathology'])}, probability {format_probability(each['probability'])}.",
            f"{100 * each['chance']:.0f} % of the labels of others at such a probability say so",
            list_address({"subject": each["pathology"], "search": each["image"]}),
        )
        for each in cases
    ]
    return FindingGroup("Which cases should be opened first?", shown)


def _wrapped(text: str, mark: str) -> list[str]:
    indented = " " * len(mark)
    return textwrap.wrap(
        legible(text), _WIDTH, initial_indent=mark, subsequent_indent=indented, break_long_words=False
    )


def _few(by_kind: Mapping[str, Sequence[str]]) -> str:
    """What was not compared, by kind."""
    told = [f"{kind}: {_some(names, 'other')}" for kind, names in by_kind.items()]
    return f"Not enough cases: {'. '.join(told)}." if told else ""


def _some(names: Sequence[str], noun: str) -> str:
    """The first six, and how many others there are."""
    rest = len(names) - _NAMED
    return listed([*names[:_NAMED], *([counted(rest, noun)] if rest > 0 else [])])
