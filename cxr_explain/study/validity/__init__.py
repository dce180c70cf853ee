"""How valid the instrument is: a classifier and its maps, measured on phantoms that it has never seen.

Of a phantom all is known: which findings it has, where each changed the image, and the same chest without
each. So that what a classifier trained on phantoms says, and what FM-G-CAM shows of it, can be compared with
what is there, before the maps are trusted with anything else. `python -m cxr_explain.study.validity` prints
the tables.

- A finding counts as present where its mask is not empty. One that another finding hides changed no pixel; it
  counts neither as present nor as absent.
- Everything goes through the package's one path, `Explainer.explain_batch`, and maps come to the radiograph's
  pixels as in the figures.
- Seeds from 10,000,000 on are for measuring. Training uses patients below 1,000,000, and the streams of their
  findings lie below 10,000,000.
"""
