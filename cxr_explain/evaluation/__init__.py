"""Measures of explanations and of the classifiers they explain.

One measure a function, on plain arrays: maps and masks in the same pixels (usually the radiograph's), scores
and labels one for each image. A measure that has nothing to measure, such as an empty mask or a class that
does not occur, gives None, "not estimable", and never a number.
"""
