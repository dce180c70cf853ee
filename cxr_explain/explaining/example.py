"""An explanation for the examples in the documentation."""

from __future__ import annotations

from functools import cache

import numpy as np

from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.radiograph import Radiograph


@cache
def example_explanation() -> Explanation:
    """Two pathologies in a picture of 64 rows and 80 columns that is no radiograph.

    >>> example_explanation().ranking.k
    2
    """
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    slope = np.linspace(-1024, 1024, 64 * 80, dtype=np.float32).reshape(64, 80)
    return explainer.explain(Radiograph.from_array(slope, id="example"), top_k=2)
