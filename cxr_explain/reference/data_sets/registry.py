"""The data sets that manifests can be made of, by name.

A further data set is one file beside this one, with a function that takes `source` and then options
by name, and one line in `DATA_SETS`. What options there are, and what each may be, is read off the function.
The file is imported when the data set is first read, so that a help text can list the names for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from cxr_explain.errors import OptionError

if TYPE_CHECKING:
    from cxr_explain.reference.manifest import Manifest


@dataclass(frozen=True)
class DataSetOption:
    """An option of a data set's reader.

    Args:
        choices: the texts that it may be; none for a path, or what is searched for.
        default: value where none is given; None where the data set itself decides.

    >>> DATA_SETS["mimic"].options["labeler"]
    DataSetOption(choices=('chexpert', 'negbio'), default='chexpert')
    """

    choices: tuple[str, ...]
    default: str | None


@dataclass(frozen=True)
class DataSet:
    """A data set that manifests can be made of.

    Args:
        title: what it is, in a few words.
        home: module beside this one and function in it, "module:function"; the function takes `source`, then
            the options by name.
        given_as: what `source` is: a path, the URL of a server, or an object, which only Python can give.

    >>> DATA_SETS["mimic"].title, list(DATA_SETS["mimic"].options)
    ('MIMIC-CXR-JPG', ['split', 'labeler'])
    """

    title: str
    home: str
    given_as: Literal["path", "url", "object"] = "path"

    @property
    def is_on_disk(self) -> bool:
        """Whether `source` is a path."""
        return self.given_as == "path"

    @cached_property
    def read(self) -> Callable[..., Manifest]:
        """The function that makes the manifest of `source`."""
        found: Callable[..., Manifest] = resolve_name(f"cxr_explain.reference.data_sets.{self.home}")
        return found

    @cached_property
    def options(self) -> Mapping[str, DataSetOption]:
        """The options of `read` by name."""
        types = get_type_hints(self.read)
        return {
            each.name: DataSetOption(_choices(types.get(each.name)), each.default)
            for each in inspect.signature(self.read).parameters.values()
            if each.kind is each.KEYWORD_ONLY
        }


DATA_SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "nih": DataSet("NIH ChestX-ray14", "nih:manifest_of_nih"),
        "chexpert": DataSet("CheXpert", "chexpert:manifest_of_chexpert"),
        "chexlocalize": DataSet("CheXlocalize", "chexlocalize:manifest_of_chexlocalize"),
        "rsna": DataSet("RSNA Pneumonia Detection Challenge", "rsna:manifest_of_rsna"),
        "vindr": DataSet("VinDr-CXR", "vindr:manifest_of_vindr"),
        "mimic": DataSet("MIMIC-CXR-JPG", "mimic:manifest_of_mimic"),
        "padchest": DataSet("PadChest", "padchest:manifest_of_padchest"),
        "xrv": DataSet("a data set of TorchXRayVision", "xrv:manifest_of_xrv", given_as="object"),
        "csv": DataSet("a table of your own", "plain:manifest_of_csv"),
        "dicom": DataSet("a folder of DICOM files", "dicom_folder:manifest_of_dicom"),
        "dicomweb": DataSet(
            "frontal chest radiographs of a PACS", "dicomweb:manifest_of_dicomweb", given_as="url"
        ),
    }
)
"""The data sets that `make_manifest` and `cxr-explain manifest` take, by name."""


def make_manifest(data_set: str, source: Any, **options: object) -> Manifest:
    r"""Make the manifest of a data set.

    Args:
        data_set: one of `DATA_SETS`.
        source: the data set's folder, or a table where its reader takes one; for "xrv", the data set itself;
            for "dicomweb", the server's address.
        **options: options of the data set by name; None is as if the option was not given.

    Raises:
        OptionError: an unknown data set, or an option or a value that the data set does not have.
        ManifestError: tables that are not there, or bad rows.
        DicomWebError: a server that does not answer, or not as it should.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder, "mine.csv")
    ...     _ = table.write_text("path,labels,ward\na.png,Effusion|Mass=uncertain,3\n")
    ...     manifest = make_manifest("csv", table)
    >>> manifest[0].labels["Mass"].value, manifest[0].extra
    ('uncertain', {'ward': '3'})
    """
    if data_set not in DATA_SETS:
        raise OptionError(f"the data set {data_set!r}", expected=f"one of {', '.join(DATA_SETS)}")
    known = DATA_SETS[data_set].options
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in known:
            raise OptionError(
                f"{name} for {data_set}", expected=f"one of {', '.join(known)}" if known else "no option"
            )
        if known[name].choices and value not in known[name].choices:
            raise OptionError(f"{name}={value!r}", expected=f"one of {', '.join(known[name].choices)}")
    return DATA_SETS[data_set].read(source, **given)


def _choices(hint: object) -> tuple[str, ...]:
    """The texts of a `Literal`, also where None may stand instead."""
    return tuple(
        text for part in (hint, *get_args(hint)) if get_origin(part) is Literal for text in get_args(part)
    )
