"""Measures of explanations and of the classifiers they explain.

- Where maps lie: `localisation`, `overlap`, `segmentation`, `boxes`, and CheXlocalize's protocol in
  `chexlocalize` and `chexlocalize_scores`. One measure a function, on plain arrays: maps and masks in the
  same pixels, usually the radiograph's.
- What only a fused map has: `fused`.
- Whether the score depends on what a map marks: `faithfulness`, `adcc`, `road`.
- Whether the map depends on the weights, and on nothing else: `randomisation`, `robustness`, `similarity`.
- Where the model looks, of thorax, lungs, border and markers, without a trained model: `regions`.
- What the classifier is worth: `discrimination`, `calibration`.
- Intervals and comparisons of any of them: `bootstrap`.

What is not estimable, such as an overlap with an empty mask or a class that does not occur, is never a
number: it is None where one value is returned, and NaN in arrays of one value for each image and class.
"""
