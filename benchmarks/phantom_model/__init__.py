"""Train the phantom model: `python -m benchmarks.phantom_model`.

TorchXRayVision's DenseNet in a small configuration, on phantoms alone. A classifier that is trained on
labels alone finds shortcuts: it can tell all phantoms apart while its class maps point elsewhere. So each
cell of the map is told where the finding is, and each phantom comes with the same one without a finding
(:mod:`~benchmarks.phantom_model.objective`).

1. Phantoms with seeds from 0 are rendered in pairs (:mod:`~benchmarks.phantom_model.examples`).
2. The network and the evidence of each cell are trained together (:mod:`~benchmarks.phantom_model.fitting`).
3. On phantoms with seeds from 900,000, at the prevalence of :func:`~cxr_explain.phantom.sample_findings`, one
   temperature and a bias for each output are fitted, and the operating points are set
   (:mod:`~benchmarks.phantom_model.calibration`).

All is drawn from one seed: on one machine with one number of threads the command makes the same file again.
On another processor sums round differently, and training amplifies that; see the model card for what to
expect of `cxr-explain evaluate --validity` then.
"""
