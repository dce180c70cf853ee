"""Tables that the tests write."""

from __future__ import annotations

from pathlib import Path

from cxr_explain.reference import DATA_SETS

ON_DISK = tuple(name for name, each in DATA_SETS.items() if each.is_on_disk)
EXAMPLES = Path(__file__).parents[2] / "data_manifests" / "examples"

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
LABELS = "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,"
LABELS += "Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
CHEXPERT_HEADER = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{LABELS}"


def written(path: Path, *lines: str, newline: str = "\n") -> Path:
    """A text file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + newline for line in lines).encode())
    return path


def nih_row(name: str = "00000001_000.png", labels: str = "Mass", age: str = "58", sex: str = "M") -> str:
    """A row of NIH's label table; its patient is the name's."""
    return f"{name},{labels},0,{int(name[:8])},{age},{sex},PA,2682,2749,0.143,0.143"
