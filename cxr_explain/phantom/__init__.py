"""Chest phantoms with known findings and exact counterfactuals.

A phantom is rendered by physics. Solids of the chest (:mod:`~cxr_explain.phantom.anatomy`), its bones
(:mod:`~cxr_explain.phantom.skeleton`), vessels and devices give path lengths in closed form or by quadrature;
path lengths times attenuation give line integrals; Beer-Lambert, blur, scatter, quantum noise and a
display curve (:mod:`~cxr_explain.phantom.beam`) give pixels. A finding
(:mod:`~cxr_explain.phantom.lesions`) is a change of the solids: lung filled, lung emptied, or other tissue
changed. Its mask is where it changed the line integral, and the same phantom without it has the same anatomy
and the same noise.

>>> patient = sample_patient(7)
>>> phantom = render(patient, (Finding("Effusion", seed=1, side=Side.LEFT),), size=64)
>>> without = render(patient, phantom.findings, size=64, without="Effusion")
>>> phantom.pixels.dtype, phantom.bits, bool((phantom.pixels != without.pixels).any())
(dtype('uint16'), 12, True)

What is still unlike a real radiograph:

- One energy and a parallel beam: no beam hardening, no heel effect, and only the AP heart is magnified.
- Scatter, display window and large-area equalisation follow the chest *without* findings, so that a
  counterfactual differs nowhere but at the finding. In a real pair a large effusion changes the exposure.
- Mediastinum and lungs are brighter than on average in NIH ChestX-ray14, by about 15 of 255 grey levels
  each. Structures of a few pixels are slightly too strong, and there are no junction lines, no azygos vein,
  no bronchial walls.
- Vessels have no walls, arteries and veins are one tree, and end-on vessels are rare.
- Spines, ribs and shoulder blades are regular: no fractures, no calcified cartilage, no degenerative change.
- Everybody stands or lies straight, with both arms down and the chin out of the image: no children, no
  lateral views, no tubes, no surgery, no earlier disease.
- A finding does not move its surroundings: a tension pneumothorax shifts nothing, and atelectasis draws up
  only the diaphragm.
"""

from cxr_explain.phantom.findings import FINDINGS, PREVALENCE, Finding, Side, sample_findings
from cxr_explain.phantom.patient import AgeBand, Device, Patient, Projection, Sex, sample_patient
from cxr_explain.phantom.render import Phantom, render, to_radiograph

__all__ = [
    "FINDINGS",
    "PREVALENCE",
    "AgeBand",
    "Device",
    "Finding",
    "Patient",
    "Phantom",
    "Projection",
    "Sex",
    "Side",
    "render",
    "sample_findings",
    "sample_patient",
    "to_radiograph",
]
