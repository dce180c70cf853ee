from __future__ import annotations

from cxr_explain.support.plain_table import PlainTable

AGES = PlainTable(
    "Ages", ("name", "years", "town"), [["Ann", "7", "Ely"], ["Bartholomew", "112", "York"]], "In 1890."
)


def test_words_are_flush_left_and_numbers_right() -> None:
    assert AGES.to_text().splitlines() == [
        "Ages",
        "name         years  town",
        "------------------------",
        "Ann              7  Ely",
        "Bartholomew    112  York",
        "In 1890.",
    ]


def test_markdown_says_the_same_with_its_alignment() -> None:
    assert AGES.to_markdown().splitlines() == [
        "### Ages",
        "",
        "| name        | years | town |",
        "|:------------|------:|:-----|",
        "| Ann         |     7 | Ely  |",
        "| Bartholomew |   112 | York |",
        "",
        "In 1890.",
    ]


def test_a_table_without_rows_has_its_header() -> None:
    assert PlainTable("None", ("name", "years"), []).to_text().splitlines()[1] == "name  years"


def test_names_in_a_table_are_no_markdown() -> None:
    """A picture would be fetched by whoever reads the table."""
    name = "Mass ![x](http://a.example/x.png) <img src=x>|b"
    written = PlainTable(name, ["name"], [[name]], name).to_markdown()
    assert written.count("Mass ![x\\](http://a.example/x.png) \\<img src=x>\\|b") == 3
    assert name in PlainTable("a", ["b"], [[name]]).to_text()
