"""Train a phantom model: `python -m benchmarks.phantom_model OUT --model fine`.

TorchXRayVision's DenseNet in small configurations, on phantoms alone; which ones, and for what, says
:data:`~benchmarks.phantom_model.settings.MODELS`. A classifier that is trained on labels alone finds
shortcuts: it can tell all phantoms apart while its class maps point elsewhere. So an instrument is told, cell
by cell of its map, where the finding is, and sees each phantom also without one of its findings
(:mod:`~benchmarks.phantom_model.objective`). What such a model's maps show is what it was trained to show:
rules are compared on those that were not.

1. Phantoms with seeds from 0 are rendered in pairs (:mod:`~benchmarks.phantom_model.examples`), once for all
   models, into a folder (:mod:`~benchmarks.phantom_model.store`).
2. The network and the evidence of each cell are trained together (:mod:`~benchmarks.phantom_model.fitting`).
3. On phantoms with seeds from 900,000, at the prevalence of :func:`~cxr_explain.phantom.sample_findings`, one
   temperature and a bias for each output are fitted, and the operating points are set
   (:mod:`~benchmarks.phantom_model.calibration`).
4. :mod:`~benchmarks.phantom_model.card` writes the model card.

All is drawn from one seed: on one machine with one number of threads the command makes the same file again,
stopped in between or not. On another processor sums round differently, and training amplifies that; see the
model card for what to expect of `cxr-explain evaluate --validity` then.
"""
