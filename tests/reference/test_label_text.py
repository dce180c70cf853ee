"""Labels as people write them: separators, lists, spellings, "No Finding", and names that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import written

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.pathologies import (
    DATA_SET_PATHOLOGIES,
    PATHOLOGIES,
    LabelState,
    ReferenceLabels,
    canonical_pathology,
    known_pathology,
)
from cxr_explain.reference import Manifest, make_manifest, read_references

BOTH = {"Effusion": LabelState.POSITIVE, "Mass": LabelState.POSITIVE}


def plain(folder: Path, *lines: str, **options: str) -> Manifest:
    return make_manifest("csv", written(folder / "t.csv", *lines), **options)


@pytest.mark.parametrize(
    "text",
    [
        "Effusion|Mass",
        "Effusion;Mass",
        "Effusion, Mass",
        "Effusion/Mass",
        "Effusion / Mass ",
        "Effusion\nMass",
        "Effusion;;Mass;",
        "['Effusion', 'Mass']",
        '["Effusion","Mass"]',
        "['Effusion' 'Mass']",  # as NumPy prints it
        "('Effusion', 'Mass')",
        "{'Effusion', 'Mass'}",
        "[Effusion, Mass]",
        "'Effusion';'Mass'",
        "pleural effusion|MASS",
        "Pleural_Effusion,mass",
        "pleuraleffusion|Mass=positive",
        "Effusion=1|Mass=1.0",
    ],
)
def test_two_labels(text: str, tmp_path: Path) -> None:
    assert ReferenceLabels.from_text(text).states == BOTH
    quoted = text.replace('"', '""')
    (entry,) = plain(tmp_path, "image,labels", f'a.png,"{quoted}"')
    assert entry.labels.states == BOTH


@pytest.mark.parametrize("name", [*PATHOLOGIES, *DATA_SET_PATHOLOGIES])
def test_every_known_name_is_one_label_in_any_spelling(name: str) -> None:
    for spelt in (name, name.upper(), name.lower(), name.replace(" ", "_"), name.replace("_", " ")):
        assert ReferenceLabels.from_text(spelt).states == {canonical_pathology(name): LabelState.POSITIVE}


def test_a_slash_in_a_name_is_no_separator(tmp_path: Path) -> None:
    """VinDr's "Nodule/Mass" says neither Nodule nor Mass."""
    assert list(ReferenceLabels.from_text("nodule / mass|Edema").states) == ["Nodule/Mass", "Edema"]
    with pytest.raises(ReferenceLabelError, match=r"'Effusion/Nodule/Mass', in which a slash may separate"):
        ReferenceLabels.from_text("Effusion/Nodule/Mass")
    with pytest.raises(ManifestError, match=r"line 3: the labels 'Nodule/Mass', while slashes .* in line 2"):
        plain(tmp_path, "image,labels", "a.png,Effusion/Edema", "b.png,Nodule/Mass")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("Efusion", "line 2: the unknown pathology 'Efusion'; the nearest known is 'Effusion'"),
        ("Mass|Pnuemonia=0", "line 2: the unknown pathology 'Pnuemonia'; the nearest known is 'Pneumonia'"),
        ("['Cardiomegalie']", "the unknown pathology 'Cardiomegalie'; the nearest known is 'Cardiomegaly'"),
        ("Effusion Mass", "line 2: the unknown pathology 'Effusion Mass'"),
        ("{'Mass': 1}", "line 2: the unknown pathology \"'Mass': 1\""),
        ("[['Mass']]", "line 2: the unknown pathology"),
        ("No Finding|Mass", "line 2: 'No Finding' beside 'Mass'"),
        ("normal;Mass=uncertain", "line 2: 'No Finding' beside 'Mass'"),
        ("Mass=", "line 2: the label 'Mass=' without a state"),
        ("=1", "line 2: the label '=1' without a name"),
        ("Mass=2", "line 2: the label state '2'"),
        ("Mass,mass=0", "line 2: two states for 'Mass'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_row(cell: str, message: str, tmp_path: Path) -> None:
    lines = ("image,labels", f'a.png,"{cell}"', "b.png,Mass")
    with pytest.raises(ManifestError) as caught:
        plain(tmp_path, *lines)
    assert message in str(caught.value)
    with pytest.raises(ManifestError):
        read_references(labels=tmp_path / "t.csv")


@pytest.mark.parametrize(
    "cell", ["No Finding", "no findings", "NO_FINDING", "Normal", "['normal']", "No Finding=1", "Healthy"]
)
def test_no_finding_is_an_absence(cell: str, tmp_path: Path) -> None:
    first, second = plain(tmp_path, "image,labels", f"a.png,{cell}", "b.png,Mass|Granuloma|Support Devices")
    assert first.labels.states == dict.fromkeys((*PATHOLOGIES, "Granuloma"), LabelState.NEGATIVE)
    assert second.labels.states == dict.fromkeys(
        ("Mass", "Granuloma", "Support Devices"), LabelState.POSITIVE
    )
    assert set(ReferenceLabels.from_text(cell).states) == set(PATHOLOGIES)


def test_devices_are_no_finding(tmp_path: Path) -> None:
    """CheXpert has images of No Finding with support devices."""
    labels = ReferenceLabels.from_text("No Finding|Support Devices")
    assert (labels["Support Devices"], labels["Mass"]) == (LabelState.POSITIVE, LabelState.NEGATIVE)
    assert ReferenceLabels.from_text("No Finding=0").states == {}


def test_a_models_own_names_are_known(tmp_path: Path) -> None:
    assert known_pathology("my_flu", ["My Flu"]) == "My Flu"
    table = written(tmp_path / "t.csv", "image,labels", "a.png,my_flu|Mass")
    with pytest.raises(ManifestError, match="the unknown pathology 'my_flu'"):
        read_references(labels=table)
    labels = read_references(labels=table, pathologies=["My Flu"]).labels_for("a.png", (5, 5))
    assert labels is not None
    assert labels.states == {"My Flu": LabelState.POSITIVE, "Mass": LabelState.POSITIVE}
    (entry,) = make_manifest("csv", table, further_pathologies="My Flu, Other")
    assert entry.labels["My Flu"] is LabelState.POSITIVE
    normal = ReferenceLabels.from_text("Normal", further=["Normal", "Pneumonia"])  # an output of the model
    assert normal.states == {"Normal": LabelState.POSITIVE}


def test_lists_and_mappings_of_python_are_read_alike() -> None:
    assert ReferenceLabels.coerce(["pleural_effusion", "Mass"]).states == BOTH
    assert ReferenceLabels.coerce(["No Finding"])["Hernia"] is LabelState.NEGATIVE
    for labels in (["Efusion"], {"Efusion": 1}, "Efusion"):
        with pytest.raises(ReferenceLabelError, match="the nearest known is 'Effusion'"):
            ReferenceLabels.coerce(labels)
    assert ReferenceLabels.coerce({"Flu": 1}, further=["Flu"]).states == {"Flu": LabelState.POSITIVE}
    for name in ("No Finding", "normal"):
        assert ReferenceLabels.coerce({name: 1, "Support Devices": 1})["Hernia"] is LabelState.NEGATIVE
        assert ReferenceLabels.coerce({name: 0, "Mass": 1})["Hernia"] is LabelState.NOT_LABELLED


def test_the_keys_of_a_mapping_are_names_for_sure() -> None:
    assert ReferenceLabels.coerce({"Rib notching": 1}).states == {"Rib notching": LabelState.POSITIVE}
    with pytest.raises(ReferenceLabelError, match="the unknown pathology 'Rib notching'"):
        ReferenceLabels.coerce("Rib notching")
    with pytest.raises(ReferenceLabelError, match="the unknown pathology ''"):
        ReferenceLabels.coerce({"": 1})


def test_columns_of_labels(tmp_path: Path) -> None:
    header = "path,pleural_effusion,Support Devices,Mass,site"
    (entry,) = plain(tmp_path, header, "a.png,True,0,nan,1")
    assert entry.labels.states == {
        "Effusion": LabelState.POSITIVE,
        "Support Devices": LabelState.NEGATIVE,
        "Mass": LabelState.NOT_MENTIONED,
    }
    assert entry.extra == {"site": "1"}
    with pytest.raises(
        ManifestError, match="the column 'Efusion'; the nearest known pathology is 'Effusion'"
    ):
        plain(tmp_path, "path,Efusion,Mass", "a.png,1,0")
    (entry,) = plain(tmp_path, "path,Tube,Mass", "a.png,of glass,1")  # a data set's name, but no states
    assert entry.extra == {"Tube": "of glass"}


def test_the_index_that_pandas_writes_is_no_column(tmp_path: Path) -> None:
    (first, second) = plain(tmp_path, ",path,Mass", "0,a.png,1.0", "7,b.png,")
    assert (first.labels["Mass"], second.extra) == (LabelState.POSITIVE, {})
    with pytest.raises(ManifestError, match="cells in column 1, which has no name"):
        plain(tmp_path, ",path,Mass", "x,a.png,1.0")


@pytest.mark.parametrize("rows", [["a.png,Flu,1,2,3,4"], ["a.png,,1,2,3,4"]])
def test_boxes_of_unknown_pathologies(rows: list[str], tmp_path: Path) -> None:
    table = written(tmp_path / "b.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,", *rows)
    with pytest.raises(ManifestError, match=r"line 2: (the unknown pathology 'Flu'|no pathology)"):
        read_references(boxes=table)


def test_manifests_of_unknown_pathologies(tmp_path: Path) -> None:
    table = written(tmp_path / "m.csv", "image_id,path,label:Flu", "a,a.png,1")
    with pytest.raises(ManifestError, match="the unknown pathology 'Flu'"):
        read_references(labels=table)
    assert read_references(labels=table, pathologies=["Flu"]).manifest.pathologies == ("Flu",)


@pytest.mark.parametrize("cell", ["-Mass", "Mass -", "- Mass", "Edema|Mass-"])
def test_a_hyphen_that_may_deny_a_finding_is_no_part_of_its_name(cell: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="the nearest known is 'Mass'"):
        plain(tmp_path, "image,labels", f"a.png,{cell}")


def test_columns_that_may_be_meant_as_labels_are_named(tmp_path: Path) -> None:
    table = plain(tmp_path, "image,Mass,PTX,PE,Tube,No Finding,age_group", "a.png,1,1,0,big,0,old")
    assert table.pathologies == ("Mass",)
    assert table.notes == ("taken for columns to group by, and not for labels: 'PTX', 'PE', 'Tube'",)
    assert plain(tmp_path, "image", "a.png").notes == ()
    (note,) = plain(tmp_path, "image,label", "a.png,Mass").notes
    assert note == "no labels: none of the columns 'image', 'label' is 'labels' or names a known pathology"


def test_no_finding_beside_a_finding_in_columns_is_named(tmp_path: Path) -> None:
    rows = ("a.png,0,1,0", "b.png,1,0,1", "c.png,1,1,0")
    table = plain(tmp_path, "image,No Finding,Mass,Support Devices", *rows)
    assert table.notes == ("1 rows say 'No Finding' beside a finding, the first in line 4",)
    assert table.states_of(["Mass"]).ravel().tolist() == [1, 0, 1]


@pytest.mark.parametrize("header", ["image,Image,labels", "image,labels,Labels", "path,Path,labels"])
def test_a_column_in_two_spellings(header: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="expected one of the two"):
        plain(tmp_path, header, "a.png,b.png,Mass")


def test_what_pandas_and_r_write_for_nothing_is_blank(tmp_path: Path) -> None:
    rows = ("a.png,nan,nan,NA,NaN,NA", "b.png,<NA>,NA,nan,NA,1")
    first, second = plain(tmp_path, "image,patient,age,sex,view,Mass", *rows)
    assert (first.patient, first.age, first.sex, first.view) == (None,) * 4
    assert (second.patient, second.age, second.sex, second.view) == (None,) * 4
    assert (first.labels["Mass"], second.labels["Mass"]) == (LabelState.NOT_MENTIONED, LabelState.POSITIVE)
    (entry,) = plain(tmp_path, "image,labels", "a.png,nan")
    assert entry.labels.states == {}


def test_names_that_are_uids_are_whole(tmp_path: Path) -> None:
    table = plain(
        tmp_path, "image,labels", "1.2.840.1,Mass", "1.2.840.2,Edema", "123.0,Mass", "c.v2.png,Mass"
    )
    assert table.ids == ("1.2.840.1", "1.2.840.2", "123.0", "c.v2")
    nih = written(tmp_path / "n.csv", "Image Index,Finding Labels", "1.2.840.1,Mass", "1.2.840.2,Edema")
    assert read_references(labels=nih).labels_for("x/1.2.840.2.dcm", (4, 4))["Edema"] is LabelState.POSITIVE


def test_the_line_by_which_excel_is_told_the_separator(tmp_path: Path) -> None:
    table = plain(tmp_path, "sep=;", "image;labels", "a.png;Mass")
    assert table[0].labels.states == {"Mass": LabelState.POSITIVE}
    with pytest.raises(ManifestError, match="line 3: the unknown pathology 'Mas'"):
        plain(tmp_path, "sep=;", "image;labels", "a.png;Mas")


def test_the_index_that_pandas_read_as_a_column_is_none(tmp_path: Path) -> None:
    table = plain(tmp_path, "Unnamed: 0,image,Mass", "0,a.png,1", "1,b.png,0")
    assert (table.extra, table.notes) == ({}, ())


def test_a_manifest_that_pandas_wrote_again(tmp_path: Path) -> None:
    table = written(
        tmp_path / "m.csv", ",image_id,path,label:Mass,label:Edema", "0,a,a.png,1.0,", "1,b,b.png,,-1.0"
    )
    assert read_references(labels=table).manifest.states.tolist() == [[1, -2], [-2, -1]]
    with pytest.raises(ManifestError, match="found a manifest"):
        make_manifest("csv", table)
