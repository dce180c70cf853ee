"""Measures of explanations and of the classifiers they explain.

- Where maps lie: `ruler` measures the maps of a radiograph, as studies and audits do, and says what each
  measure is. It is made of `localisation`, `overlap`, `segmentation`, `boxes` and `fused`: one measure a
  function, on plain arrays, maps and masks in the same pixels. `chexlocalize_scores` has CheXlocalize's two
  measures, `chexlocalize_eval` the numbers of the authors' `eval.py`, and `chexlocalize_writing`
  writes its files.
- Whether the score depends on what a map marks: `faithfulness`, `adcc`, `road`.
- Whether the map depends on the weights, and on nothing else: `randomisation`, `robustness`, `similarity`.
- What the classifier is worth: `statistics.discrimination`, `statistics.calibration`.
- Intervals and comparisons of any of them: `statistics.bootstrap`.

What is not estimable, such as an overlap with an empty mask or a class that does not occur, is never a
number: it is None where one value is returned, and NaN in arrays of one value for each image and class.
"""
