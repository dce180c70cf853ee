"""Colours of pathologies: stable, far apart, and told apart by a second sign where they are not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.colour_distances import PAIRS, co_occurrence, pair_weights
from cxr_explain.errors import OptionError
from cxr_explain.figures.colour_vision import least_distances
from cxr_explain.figures.palette import NEAR, OKABE_ITO, PREFERRED, UNKNOWN_BOX, class_styles, rgb_of
from cxr_explain.figures.style import LIGHT, STYLES
from cxr_explain.pathologies import DATA_SET_PATHOLOGIES, PATHOLOGIES

SUBSETS = st.lists(st.sampled_from(PATHOLOGIES), unique=True)
NAMES = st.lists(st.sampled_from((*PATHOLOGIES, *DATA_SET_PATHOLOGIES, "flu", "Ünlü", "肺炎")), unique=True)
HEXES = st.integers(0, 0xFFFFFF).map("#{:06X}".format)


def apart(styles):
    values = [style.rgb for style in styles]
    return least_distances(values, values)


def looks(styles):
    return {style.pathology: (style.colour, style.sign) for style in styles}


def assert_told_apart(styles):
    distance = apart(styles) if styles else ()
    for (i, one), (j, other) in itertools.combinations(enumerate(styles), 2):
        assert distance[i, j] >= NEAR or one.sign != other.sign, (one, other)


@given(names=SUBSETS)
def test_each_of_the_18_keeps_its_colour_in_any_company(names):
    styles = class_styles(names)
    assert [style.rank for style in styles] == list(range(1, len(names) + 1))
    assert looks(styles) == {name: (PREFERRED[name], 0) for name in names}
    assert {style.line for style in styles} <= {"solid"}


def test_the_18_are_told_apart_by_colour_alone():
    styles = class_styles(PATHOLOGIES)
    distance = apart(styles)
    assert min(distance[i, j] for i, j in PAIRS) >= NEAR
    assert_told_apart(styles)


@pytest.mark.long
def test_what_often_occurs_together_is_farther_apart_than_any_two_ranks_were():
    ranks = least_distances(
        [rgb_of(colour) for colour in OKABE_ITO], [rgb_of(colour) for colour in OKABE_ITO]
    )
    before = min(ranks[i, j] for i, j in itertools.combinations(range(len(OKABE_ITO)), 2))
    tables = (co_occurrence(f"{name}.csv.gz") for name in ("Data_Entry_2017_v2020", "chexpert_train"))
    weights, _ = pair_weights(*tables)
    distance = apart(class_styles(PATHOLOGIES))
    frequent = [pair for pair in PAIRS if weights[pair] >= 0.005]
    assert len(frequent) > 30
    assert min(distance[pair] for pair in frequent) > before


@pytest.mark.parametrize("colour", [LIGHT.alert, UNKNOWN_BOX, *(style.paper for style in STYLES.values())])
def test_no_colour_is_taken_for_an_alert_a_box_or_paper(colour):
    assert least_distances([rgb_of(each) for each in PREFERRED.values()], [rgb_of(colour)]).min() > 12


@given(names=NAMES, seed=st.randoms(use_true_random=False))
def test_the_rank_does_not_count(names, seed):
    shuffled = seed.sample(names, len(names))
    assert looks(class_styles(names)) == looks(class_styles(shuffled))


@given(names=NAMES)
def test_any_names_are_told_apart(names):
    styles = class_styles(names)
    assert_told_apart(styles)
    assert all(style.sign == 0 for style in styles if style.pathology in PATHOLOGIES)


@given(names=NAMES.filter(bool), own=st.lists(HEXES, max_size=4))
def test_colours_of_the_user_win_and_the_others_keep_away(names, own):
    chosen = dict(zip(names, own, strict=False))
    styles = class_styles(names, chosen)
    assert all(looks(styles)[name][0] == colour for name, colour in chosen.items())
    assert_told_apart(styles)


def test_one_that_moves_is_hatched_and_the_others_stay():
    effusion, edema, mass = class_styles(("Effusion", "Edema", "Mass"), {"Mass": PREFERRED["Effusion"]})
    assert (mass.colour, mass.sign) == (PREFERRED["Effusion"], 0)
    assert (edema.colour, edema.sign) == (PREFERRED["Edema"], 0)
    assert (effusion.sign, effusion.line) == (1, "dashed")
    free = [PREFERRED[name] for name in PATHOLOGIES if name not in ("Effusion", "Edema")]
    distance = least_distances([rgb_of(PREFERRED["Effusion"])], [rgb_of(colour) for colour in free])[
        0
    ].tolist()
    assert effusion.colour == free[distance.index(min(distance))]


def test_two_names_for_one_pathology_are_told_apart():
    effusion, other = class_styles(["Effusion", "Pleural effusion"])
    assert (effusion.colour, effusion.sign) == (PREFERRED["Effusion"], 0)
    assert other.sign == 1


def test_a_model_with_many_names_uses_all_signs():
    styles = class_styles([f"finding {number}" for number in range(60)])
    assert {style.line for style in styles} == {"solid", "dashed", "dotted", "dash-dotted"}
    assert {style.sign for style in styles} == {0, 1, 2, 3}
    assert_told_apart(styles)


@pytest.mark.parametrize("name", ["pleural_effusion", "effusion", " Effusion "])
def test_spellings_have_one_colour(name):
    assert class_styles([name])[0].colour == PREFERRED["Effusion"]
    assert class_styles(["Effusion"], {name: "#123456"})[0].colour == "#123456"


def test_colours_by_name():
    assert class_styles(["Mass"], {"Mass": "orange"})[0].colour == "#FFA500"
    assert class_styles(["Mass"], {"Mass": "#a1b2c3"})[0].colour == "#A1B2C3"


@pytest.mark.parametrize(
    "colour", ["", "#12345", "#1234567", "#12345678", "oranje", "0.5", "C0", None, (1, 0, 0)]
)
def test_what_is_no_colour_is_refused(colour):
    with pytest.raises(OptionError, match=r"colours\['Mass'\]"):
        class_styles(["Mass"], {"Mass": colour})


def test_a_misspelt_pathology_is_refused_and_one_that_is_not_there_is_not():
    with pytest.raises(OptionError, match=r"'Efusion'.*'Effusion'"):
        class_styles(["Mass"], {"Efusion": "red"})
    with pytest.raises(OptionError, match="two colours for 'Effusion'"):
        class_styles(["Mass"], {"Effusion": "red", "pleural effusion": "blue"})
    assert class_styles(["Mass"], {"Hernia": PREFERRED["Mass"]}) == class_styles(["Mass"])
