"""What a name may be: every one that data sets and models have, and none that another program would run."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxr_explain.pathologies import DATA_SET_PATHOLOGIES, NO_FINDING, PATHOLOGIES
from cxr_explain.support.names import LONGEST_NAME, first_flaw, is_name, visible
from cxr_explain.weights.registry import ALL

OF_DATA_SETS = """
COPD signs|tuberculosis sequelae|non axial articular degenerative changes|air fluid level
double J stent|NSG tube
central venous catheter via jugular vein|Chilaiditi sign|Kerley lines|end on vessel
loc right upper lobe
Nodule/Mass|Enlarged PA|Other disease|Pleuro-pneumonia|Broncho-pneumonia
Egg on string sign|CPAM|No finding
ETT - Abnormal|NGT - Incompletely Imaged|CVC - Borderline|Swan Ganz Catheter Present
Calcification of the Aorta
Cardiomegaly/mild|Calcified Granuloma/lung/upper lobe/right|Catheters, Indwelling|E.Coli
H1N1|MERS-CoV|Herpes
MIMIC-CXR|NIH ChestX-ray14|CheXpert (U-ones)|MIMIC-CXR-JPG 2.0.0
https://physionet.org/content/mimic-cxr/2.0.0/
LABEL_0|tench, Tinca tinca|carpenter's kit, tool kit|jack-o'-lantern|Tube'|AP/PA
18F-FDG uptake|3 nodules or more
"""
OF_USERS = """
Mass (> 3 cm)|Nodule <= 3 cm|CTR ≥ 0.5|Pneumothorax > 20 %|Effusion; loculated
Nodule: solid|Pneumonia?|CD4+ T
Mass & nodule|Nodule [solid]|Our hospital, 2015 to 2019|n = 112,120|Ours "v2"|a|b*|ET tube ± cuff
<5 mm nodule|> 3 cm mass|≥ 2 ribs|±2 cm|~5 mm|(probable) TB|COVID-19+|ILD (UIP)|Rib fx #3|Device #12, tip
Pleuraerguß|Épanchement pleural droit|L’épanchement|Röntgen|Пневмония|Больница № 5
Πνευμονία|폐렴|肺炎|水腫（肺）
無気肺・胸水|左肺、上葉|ذات‌الریه|التهاب رئوي|اِنصِباب|דלקת ריאות|निमोनिया|নিউমোনিয়া|நுரையீரல்
ปอดอักเสบ|Viêm phổi|Şişme|e\u0301panchement
"""


def names_in(text: str) -> list[str]:
    return [name for line in text.strip().splitlines() for name in line.split("|")]


KNOWN = (*PATHOLOGIES, *DATA_SET_PATHOLOGIES, NO_FINDING)
ATTACKS = [
    *("$exit()", "$@device", "$import os", "@run", "@_meta_::model", "%run", "%/etc/x.json#a", "#a"),
    *("__local_refs['run']", "_target_", "+x", "=1+1", "-1", "{0.__class__}", "{{ x }}", "<b>", "`id`"),
    *("\\input{x}", "a\\b", "Mass $x^2$", "a @##### b", "x %#y", "Mass\n", "a\tb", "\x1b[2J", "a\x00"),
    *("a\u202eb", "a\u200bb", "a\u200cb", "\ufeffMass", "\uff04exit()", "\ufe69exit()", "a\uff20b"),
    *("a\uff03b", "€", "\ud800", "a\udcff", "\u3164", "a\ufe0f", "\U000e0041", "", " ", " Mass"),
    *("<script>", "< b", "(", "()x", "(=1+1)", "~/x", "~ x", "Mass #a", "Mass%#3", "% #3", "a @#3", "x#3"),
    *("\u00a0Mass", "\u0301a", "a\u2028b", "a" * (LONGEST_NAME + 1), "a\ue000", "a\u2800"),
]


@pytest.mark.parametrize("name", [*KNOWN, *names_in(OF_DATA_SETS)])
def test_names_of_data_sets_are_names(name: str) -> None:
    assert is_name(name)


def test_names_of_users_and_of_the_registry_are_names() -> None:
    registry = [name for entry in ALL for name in (*filter(None, entry.pathologies), *entry.training_sets)]
    assert first_flaw([*names_in(OF_USERS), *registry]) is None


@pytest.mark.parametrize("name", ATTACKS)
def test_what_another_program_could_act_on_is_no_name(name: str) -> None:
    assert not is_name(name)
    flaw = first_flaw(["Mass", name])
    assert flaw is not None
    assert flaw.isprintable()
    assert len(flaw) < 700  # sixty signs, each escaped


@given(st.text(max_size=30))
@example("<5 mm")
@example("(probable) rib fx #3")
def test_a_name_begins_with_a_letter_and_is_seen(text: str) -> None:
    if is_name(text):
        assert unicodedata.normalize("NFKC", text.lstrip("<>≤≥±~( "))[0].isalnum()
        assert not set("$@\\`{}") & set(unicodedata.normalize("NFKC", text))
        assert all(each.isprintable() or each.isspace() or each in "\u200c\u200d" for each in text)


@given(st.text(max_size=30))
def test_what_is_shown_of_a_name_can_be_seen_and_written(text: str) -> None:
    assert visible(text).encode("utf-8").decode("utf-8") == visible(text)
    assert visible(visible(text)) == visible(text)
    assert not any(ord(each) < 32 for each in visible(text))
