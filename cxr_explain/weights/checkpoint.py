"""Read checkpoints to plain state dicts, without executing anything they contain, and load them into models.

PyTorch's zip format (since 1.6), its older format, and safetensors are read; of pickled whole modules, as
TorchXRayVision publishes them, only the tensors are kept. torch is imported on first use.

What a file makes of itself is limited before it is made: by its own size where a good one grows with it, such
as the numbers, and else by what no model has, such as 65,535 tensors.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cxr_explain.errors import (
    ArchitectureError,
    UnsafeWeightsError,
    WeightsIntegrityError,
    WeightsNotFoundError,
    naming,
)
from cxr_explain.support.archives import TooManyEntriesError, open_zip
from cxr_explain.support.bounded import open_regular, quoted, read_bounded
from cxr_explain.weights.facts import CheckpointFacts, check_names, safetensors_header
from cxr_explain.weights.formats import CHECKPOINT_FORMATS, SNIFFED_BYTES, FileFormat, format_of
from cxr_explain.weights.inert_pickle import MAX_DIMENSIONS, ModuleRecord, TensorRecord, read_pickle

if TYPE_CHECKING:
    import torch

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH = 32  # of modules within modules, and of wrappers around a model
_MAX_TENSORS = 65_535  # the largest vision transformers have a few thousand
_MAX_MODULES = 4 * _MAX_TENSORS
_LONGEST_NAME = 4096  # characters, of a tensor's name
_MAX_VIEWS = 16  # times its size in bytes that the tensors of a file may have, since they may share storages
_SPARE_VIEWS = 2**26  # bytes
_MAX_NAMED = 5  # tensors named in an error message
_LONGEST_SHOWN = 80  # characters of a name in an error message
_LONGEST_REASON = 200  # characters of another library's error, which may quote the file
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_REFETCH = "Give a checkpoint file; a broken download has to be deleted and fetched again."


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        state_dict: the tensors by name, on the CPU.
        pathologies: the names of the outputs, where a pickled module or the metadata say them.
        facts: what this package understands of the text that a safetensors file carries.
    """

    state_dict: dict[str, torch.Tensor]
    pathologies: tuple[str, ...] | None = None
    facts: CheckpointFacts = field(default_factory=CheckpointFacts)


def read_checkpoint(source: str | PathLike[str] | bytes) -> Checkpoint:
    """Read a checkpoint file, or its bytes; nothing in it is executed.

    Args:
        source: the path of a file, or its content.

    Raises:
        WeightsNotFoundError: no such file.
        WeightsIntegrityError: truncated, or no checkpoint at all.
        UnsafeWeightsError: it asks for more than tensors and known layers.
        ArchitectureError: a checkpoint without a state dict.
        WeightsMetadataError: metadata that contradict themselves, or names that are none.

    >>> read_checkpoint(b"<html>404</html>")
    Traceback (most recent call last):
    ...
    cxr_explain.errors.WeightsIntegrityError: found an HTML page; expected a checkpoint. ...
    """
    if isinstance(source, bytes):
        return _read(source)
    with naming(source):
        return _read(read_bytes(Path(source)))


def read_bytes(path: Path) -> bytes:
    """Return the content of a weights file.

    Raises:
        WeightsNotFoundError: a file that cannot be read, no regular file, or one that this machine has no
            memory for.
        WeightsIntegrityError: a file that begins like no checkpoint, whatever its length.
    """
    try:
        with naming(path), open_regular(path) as stream:
            _format(stream.read(SNIFFED_BYTES))
        return read_bounded(path, _memory())
    except OSError as error:
        raise WeightsNotFoundError(
            f"no readable file ({error.strerror})", remedy="Check the path and its permissions.", source=path
        ) from error


def load_into(module: torch.nn.Module, state_dict: Mapping[str, torch.Tensor], *, name: str) -> None:
    """Copy the tensors into a module; every tensor must have its place, name and shape.

    `num_batches_tracked` may be missing, as it is from checkpoints before torch 0.4.1; it plays no part in a
    prediction. `op_threshs`, which TorchXRayVision stores among the tensors, may be left over.

    Args:
        module: the model, changed only if everything fits.
        state_dict: the tensors by name.
        name: name of the weights, for the error message.

    Raises:
        ArchitectureError: the first tensors that do not fit, and how many there are.
    """
    check_fit(module, state_dict, name=name)
    wanted = module.state_dict()
    module.load_state_dict({key: state_dict[key] for key in wanted if key in state_dict}, strict=False)


def check_fit(module: torch.nn.Module, state_dict: Mapping[str, torch.Tensor], *, name: str) -> None:
    """Raise what `load_into` raises, without loading; the module may be on the meta device."""
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state_dict and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state_dict if key not in wanted and key != "op_threshs"]
    differing = [
        f"{key} {_shape(tensor)} for {_shape(wanted[key])}"
        for key, tensor in state_dict.items()
        if key in wanted and tensor.shape != wanted[key].shape
    ]
    problems = [
        _enumerate("the model wants", missing),
        _enumerate("the checkpoint has in excess", unexpected),
        _enumerate("of another shape are", differing),
    ]
    if any(problems):
        raise ArchitectureError(
            f"tensors that do not fit {type(module).__name__}: " + "; ".join(filter(None, problems)),
            remedy="Choose the architecture that these weights were trained with.",
            source=name,
        )


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _enumerate(words: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    shown = (name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..." for name in names)
    return f"{words} {', '.join(islice(shown, _MAX_NAMED))}{more}"


def _memory() -> int:
    """The machine's memory in bytes, where the system says it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return sys.maxsize - 1


def _read(content: bytes) -> Checkpoint:
    file_format = _format(content[:SNIFFED_BYTES])
    if file_format is FileFormat.SAFETENSORS:
        return _read_safetensors(content)
    if file_format is FileFormat.TORCH_ZIP:
        root, storage_bytes = _open_zip(content)
    else:
        root, storage_bytes = open_legacy(content)
    return _from_root(root, Tensors(storage_bytes, len(content)))


def _format(head: bytes) -> FileFormat:
    found = format_of(head)
    if found not in CHECKPOINT_FORMATS:
        raise WeightsIntegrityError(str(found), expected="a checkpoint", remedy=_REFETCH)
    return found


def _read_safetensors(content: bytes) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        header = safetensors_header(content)
        metadata = header.pop("__metadata__", None)
        for name, described in header.items():
            _check_name(name, len(described["shape"]))
        _check_count(len(header))
        state_dict = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error)[:_LONGEST_REASON]
        raise WeightsIntegrityError(f"a broken safetensors file ({reason})", remedy=_REFETCH) from error
    facts = CheckpointFacts.from_metadata(metadata)
    return Checkpoint(_without_prefix(state_dict), facts.pathologies, facts)


def _check_name(name: str, dimensions: int) -> None:
    if len(name) > _LONGEST_NAME or dimensions > MAX_DIMENSIONS:
        raise WeightsIntegrityError(
            f"a tensor of {dimensions} dimensions with a name of {len(name)} characters",
            expected=f"at most {MAX_DIMENSIONS} and {_LONGEST_NAME}",
        )


def _check_count(tensors: int) -> None:
    if tensors > _MAX_TENSORS:
        raise WeightsIntegrityError(f"{tensors:,} tensors", expected=f"at most {_MAX_TENSORS:,}")


# --- containers: where the pickle is, and where the bytes of each storage are ---


def _open_zip(content: bytes) -> tuple[Any, Callable[[str], bytes]]:
    try:
        archive = open_zip(content, _MAX_TENSORS)
    except TooManyEntriesError as error:
        raise WeightsIntegrityError(str(error), expected=f"at most {_MAX_TENSORS:,}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise WeightsIntegrityError("a truncated zip archive", remedy=_REFETCH) from error
    records = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in records if name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") for name in records):
        raise UnsafeWeightsError(
            "a TorchScript archive, which holds code", remedy="Save the model's state dict instead."
        )
    if len(pickles) != 1:
        raise WeightsIntegrityError(
            "a zip archive without a data.pkl", expected="a PyTorch checkpoint", remedy=_REFETCH
        )
    prefix = pickles[0].removesuffix("data.pkl")

    def read(name: str) -> bytes:
        info = records.get(prefix + name)
        # torch stores its records as they are; a compressed one may be a decompression bomb.
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
            raise WeightsIntegrityError(f"no plain record {name} in the archive", remedy=_REFETCH)
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, OSError, struct.error) as error:
            raise WeightsIntegrityError(f"a broken record {name} in the archive", remedy=_REFETCH) from error

    if prefix + "byteorder" in records and read("byteorder") != b"little":
        raise _big_endian()
    return read_pickle(io.BytesIO(read("data.pkl"))), lambda key: read(f"data/{key}")


def open_legacy(content: bytes) -> tuple[Any, Callable[[str], bytes]]:
    """Read the format before torch 1.6: the object, and what gives the bytes of each storage by its key.

    Five pickles (a magic number, the format's version, facts on the machine, the object, the keys of the
    storages) are followed by each storage: its number of elements as 8 bytes, and its elements.
    """
    stream = io.BytesIO(content)
    if read_pickle(stream) != _LEGACY_MAGIC or read_pickle(stream) != _LEGACY_PROTOCOL:
        raise WeightsIntegrityError("a pickle that torch.save did not write", expected="a checkpoint")
    machine = read_pickle(stream)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise _big_endian()
    dtypes: dict[str, str] = {}
    root = read_pickle(stream, dtypes)
    keys = read_pickle(stream)
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise WeightsIntegrityError("a broken list of storages", remedy=_REFETCH)
    places = _legacy_places(dtypes, keys, content, stream.tell())

    def read(key: str) -> bytes:
        if key not in places:
            raise WeightsIntegrityError(f"no storage {key[:40]} in the file", remedy=_REFETCH)
        return content[places[key]]

    return root, read


def _legacy_places(
    dtypes: Mapping[str, str], keys: list[str], content: bytes, position: int
) -> dict[str, slice]:
    """Return where the elements of each storage lie; one must pass them one after the other."""
    sizes = {key: _dtype(dtype).itemsize for key, dtype in dtypes.items()}
    places: dict[str, slice] = {}
    for key in keys:
        if key not in sizes:
            raise WeightsIntegrityError(f"a storage {key[:40]} that no tensor uses", remedy=_REFETCH)
        count = int.from_bytes(content[position : position + 8], "little")
        start = position + 8
        position = start + count * sizes[key]
        if position > len(content):
            raise WeightsIntegrityError(
                f"{len(content):,} bytes", expected=f"at least {position:,}", remedy=_REFETCH
            )
        places[key] = slice(start, position)
    return places


def _big_endian() -> WeightsIntegrityError:
    return WeightsIntegrityError(
        "big-endian numbers", expected="little-endian ones", remedy="Save the weights as safetensors."
    )


# --- from records to tensors ---


def _dtype(name: str) -> torch.dtype:
    import torch

    return cast(torch.dtype, getattr(torch, name))  # a closed set, see `inert_pickle`


class Tensors:
    """Builds tensors from records; tensors on one storage share its memory, as they did when saved.

    Args:
        storage_bytes: gives the bytes of a storage by its key.
        file_size: bytes of the file, which what is built of it may not exceed beyond measure.
    """

    def __init__(self, storage_bytes: Callable[[str], bytes], file_size: int) -> None:
        self._storage_bytes = storage_bytes
        self._unread = file_size  # storages may overlap in the file, and be read as several types
        self._views = _MAX_VIEWS * file_size + _SPARE_VIEWS
        self._storages: dict[tuple[str, str], torch.Tensor] = {}

    def build(self, record: TensorRecord) -> torch.Tensor:
        """The tensor that a record describes.

        Raises:
            WeightsIntegrityError: it does not fit the storages that are there.
        """
        storage = record.storage
        flat = self._flat(record)[storage.start : storage.start + storage.count]
        last = sum((side - 1) * step for side, step in zip(record.size, record.stride, strict=True))
        elements = prod(record.size)
        if elements == 0:
            return flat.new_empty(record.size)
        # More elements than the storage has would be a tensor that repeats itself, without bounds.
        if elements > len(flat) or record.offset + last >= len(flat):
            raise WeightsIntegrityError("a tensor larger than its storage", remedy=_REFETCH)
        self._views -= elements * flat.itemsize
        if self._views < 0:
            raise WeightsIntegrityError(
                f"tensors of more than {_MAX_VIEWS} times the file's size, which share their numbers",
                remedy="Save the model's state dict as safetensors, which keeps each number once.",
            )
        return flat.as_strided(record.size, record.stride, flat.storage_offset() + record.offset)

    def _flat(self, record: TensorRecord) -> torch.Tensor:
        import torch

        key = (record.storage.key, record.storage.dtype)
        if key not in self._storages:
            dtype = _dtype(record.storage.dtype)
            raw = bytearray(self._storage_bytes(record.storage.key))
            self._unread -= len(raw)
            if self._unread < 0:
                raise WeightsIntegrityError("storages that overlap in the file", remedy=_REFETCH)
            if len(raw) % dtype.itemsize:
                raise WeightsIntegrityError("a storage of broken length", remedy=_REFETCH)
            self._storages[key] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _from_root(root: Any, tensors: Tensors) -> Checkpoint:
    root = _unwrap(root)
    pathologies, facts = None, CheckpointFacts()
    if isinstance(root, ModuleRecord):
        facts = CheckpointFacts.of_attributes(root.state)
        named = _names(root.state.get("targets", root.state.get("pathologies")))
        pathologies = facts.pathologies or named
        records = dict(_module_tensors(root, _Walk()))
    else:
        records = _state_dict_tensors(root)
    _check_count(len(records))
    for name, record in records.items():
        _check_name(name, len(record.size))
    try:
        built = {key: tensors.build(record) for key, record in records.items()}
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise WeightsIntegrityError("a malformed tensor", remedy=_REFETCH) from error
    return Checkpoint(_without_prefix(built), pathologies, facts)


def _unwrap(root: Any) -> Any:
    """The state dict or module inside a larger checkpoint."""
    entries = [root[key] for key in _WRAPPERS if key in root] if isinstance(root, dict) else []
    return next((entry for entry in entries if isinstance(entry, (dict, ModuleRecord))), root)


def _names(value: Any) -> tuple[str, ...] | None:
    """The names of a pickled module's outputs; None where it has none.

    Raises:
        WeightsMetadataError: names that break `cxr_explain.support.names.NAME_RULE`.
    """
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) for name in value):
        check_names(value, "of an output of the pickled module")
        return tuple(value)
    return None


def _state_dict_tensors(root: Any) -> dict[str, TensorRecord]:
    if not isinstance(root, dict):
        raise ArchitectureError(f"a pickled {type(root).__name__}", expected="a module or a state dict")
    records = {key: value for key, value in root.items() if isinstance(value, TensorRecord)}
    if not records or not all(isinstance(key, str) for key in records):
        entries = ", ".join(quoted(key) for key in islice(root, _MAX_NAMED)) or "nothing"
        raise ArchitectureError(
            f"a dictionary without named tensors (it holds {entries})",
            expected=f"a state dict, or one under {', '.join(map(repr, _WRAPPERS))}",
            remedy="Save the state dict by itself: torch.save(model.state_dict(), path).",
        )
    return records


class _Walk:
    """Counts what is met on the way through a module; modules that hold each other have no end."""

    def __init__(self) -> None:
        self._modules = self._tensors = 0

    def enter(self, depth: int) -> None:
        self._modules += 1
        if depth > _MAX_DEPTH or self._modules > _MAX_MODULES:
            raise WeightsIntegrityError("modules nested without end")

    def meet(self, name: str, tensor: TensorRecord) -> tuple[str, TensorRecord]:
        self._tensors += 1
        _check_count(self._tensors)
        _check_name(name, len(tensor.size))
        return name, tensor


def _module_tensors(
    module: ModuleRecord, walk: _Walk, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, TensorRecord]]:
    """Do what `Module.state_dict` does, on a record: parameters, persistent buffers, then submodules."""
    walk.enter(depth)
    said = module.state.get("_non_persistent_buffers_set")
    fleeting = said if isinstance(said, set) else ()
    for part in ("_parameters", "_buffers"):
        for name, value in _part(module, part).items():
            if isinstance(value, TensorRecord) and not (part == "_buffers" and name in fleeting):
                yield walk.meet(f"{prefix}{name}", value)
    for name, child in _part(module, "_modules").items():
        if isinstance(child, ModuleRecord):
            yield from _module_tensors(child, walk, f"{prefix}{name}.", depth + 1)


def _part(module: ModuleRecord, part: str) -> dict[Any, Any]:
    value = module.state.get(part)
    return value if isinstance(value, dict) else {}


def _without_prefix(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take off what wrappers put before each name, such as "module.", "_orig_mod." or "model.".

    Names without a dot are the wrapper's own, such as `op_threshs` of TorchXRayVision's ResNet.
    """
    for _ in range(_MAX_DEPTH):
        prefixes = {key.partition(".")[0] for key in state_dict if "." in key}
        if len(prefixes) != 1:
            break
        prefix = f"{prefixes.pop()}."
        shorter = {key.removeprefix(prefix): tensor for key, tensor in state_dict.items()}
        if len(shorter) < len(state_dict) or not any("." in key for key in shorter):
            break
        state_dict = shorter
    return state_dict
