"""The data sets that manifests can be made of, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from types import MappingProxyType

from cxr_explain.errors import OptionError
from cxr_explain.reference.data_sets.chexlocalize import manifest_of_chexlocalize
from cxr_explain.reference.data_sets.chexpert import manifest_of_chexpert
from cxr_explain.reference.data_sets.dicom_folder import manifest_of_dicom
from cxr_explain.reference.data_sets.mimic import manifest_of_mimic
from cxr_explain.reference.data_sets.nih import manifest_of_nih
from cxr_explain.reference.data_sets.plain import manifest_of_csv
from cxr_explain.reference.data_sets.rsna import manifest_of_rsna
from cxr_explain.reference.data_sets.vindr import manifest_of_vindr
from cxr_explain.reference.manifest import Manifest

MANIFEST_READERS: Mapping[str, Callable[..., Manifest]] = MappingProxyType(
    {
        "nih": manifest_of_nih,
        "chexpert": manifest_of_chexpert,
        "chexlocalize": manifest_of_chexlocalize,
        "rsna": manifest_of_rsna,
        "vindr": manifest_of_vindr,
        "mimic": manifest_of_mimic,
        "csv": manifest_of_csv,
        "dicom": manifest_of_dicom,
    }
)
"""A function for each data set: `source`, then options by name."""


def manifest_options(data_set: str) -> tuple[str, ...]:
    """Names of the options that a data set's reader takes.

    Raises:
        OptionError: an unknown data set.

    >>> manifest_options("nih")
    ('split', 'images')
    """
    if data_set not in MANIFEST_READERS:
        raise OptionError(f"the data set {data_set!r}", expected=f"one of {', '.join(MANIFEST_READERS)}")
    parameters = inspect.signature(MANIFEST_READERS[data_set]).parameters.values()
    return tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def make_manifest(data_set: str, source: str | PathLike[str], **options: object) -> Manifest:
    r"""Make the manifest of a data set.

    Args:
        data_set: one of `MANIFEST_READERS`.
        source: its folder, or a table where the reader takes one.
        **options: of the reader; None is as if it was not given.

    Raises:
        OptionError: an unknown data set, or an option or a value that it does not have.
        ManifestError: tables that are not there, or bad rows.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder, "mine.csv")
    ...     _ = table.write_text("path,labels,ward\na.png,Effusion|Mass=uncertain,3\n")
    ...     manifest = make_manifest("csv", table)
    >>> manifest[0].labels["Mass"].value, manifest[0].extra
    ('uncertain', {'ward': '3'})
    """
    known = manifest_options(data_set)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            raise OptionError(
                f"{name} for {data_set}", expected=f"one of {', '.join(known)}" if known else "no option"
            )
    return MANIFEST_READERS[data_set](source, **given)
