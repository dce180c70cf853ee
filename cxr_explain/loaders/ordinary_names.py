"""What radiographs are usually called: words of a file's name that say nothing of a patient."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WORDS_OF_FILES: Final = """
pa ap ll rl ml lm lat latl lao rao lpo rpo obl lld rld llo rlo front frontal lateral oblique view views
lordotic axial supine erect upright portable standing sitting decubitus bedside mobile left right
posteroanterior anteroposterior postero antero anterior posterior inspiration expiration axl swimmers cr dx
dr ct xr rx rg mr us ot sc px io cxr xray xrays radiograph radiographs radiography radiology rontgen
roentgen radiographie radiografia radiologie rtg chest thorax torax thoracic thorakale brust poumon pulmon
pulmones lung lungs lunge heart rib ribs rippen clavicle ribcage sternum spine shoulder abdomen skull head
neck elbow hand knee body part exam examination bit bits lossless lossy compressed compression rle jpegls
rgb ybr full study studies series serie ser stu image images img imgs im instance inst scan scans slice
frame frames file files pic picture photo export exported dicom dcm dicomdir jpeg jpg png tiff tif bmp webp
dose data dataset set sets original primary secondary derived processed post processing presentation for raw
unprocessed window copy new final test train training valid validation val example sample demo phantom
phantoms computed counterfactual model patient patients pat pid case cases subject anon anonymous anonymized
anonymised deidentified no yes nr num number none unknown other not and the with without von und der die das
del des les con sin per mit ohne of in to on at by id ids uid acc mrn name date time st se si vw pos all one
two mono monochrome inverse identity standard normal abnormal default routine quality control medical
systems system digital detector imaging diagnostic siemens philips agfa fuji fujifilm canon general electric
gehc gems kodak carestream konica minolta samsung shimadzu toshiba hologic swissray varian healthcare
healthineers medcom header fluorospot ysio axiom aristos digitaldiagnost fdr definium discovery optima nih
chexpert mimic padchest openi vindr rsna siim 胸部 胸片 正位 側面 正面 侧位 側位 후전 흉부
"""
"""Views, parts of the body, formats, what an export is called, makers, and data sets; folded."""

ORDINARY: Final = frozenset(_WORDS_OF_FILES.split())

_RUNS = re.compile(r"[^\W\d_]+|\d+")
_RUNNING_NUMBER = 3


@lru_cache(maxsize=4096)
def is_ordinary(word: str) -> bool:
    """Whether radiographs are usually called by a folded word, perhaps with a running number.

    >>> is_ordinary("view1"), is_ordinary("muller"), is_ordinary("20211109")
    (True, False, False)
    """
    return word in ORDINARY or all(
        run in ORDINARY or (run.isdecimal() and len(run.lstrip("0")) <= _RUNNING_NUMBER)
        for run in _RUNS.findall(word)
    )
