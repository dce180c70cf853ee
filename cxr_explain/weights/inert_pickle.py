"""Read the pickles inside PyTorch checkpoints without ever executing what they ask for.

A pickle is a program: it names Python objects and has them called. This module interprets its instructions
on data alone. A name is looked up in a closed table, nothing is imported; a "call" builds a record of what
was called with what; modules become :class:`ModuleRecord` and tensors :class:`TensorRecord`, which know where
their numbers lie in the file. Any other name ends the reading with
:class:`~cxr_explain.errors.UnsafeWeightsError`.

`torch.load(weights_only=True)` would do for plain state dicts, but it refuses the whole modules that
TorchXRayVision publishes in the format before torch 1.6. A restricted `pickle.Unpickler` would still let a
pickle set attributes on the objects it gets, and reserve memory at will.

Instructions are cheap to write and may be dear to follow: one of three bytes copies a list of a million
entries. So each is charged for the memory that its values take, before they are made, and a pickle may take
a multiple of the bytes that were read of it. What it takes it never gets back, so that the same limit holds
for time.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cxr_explain.errors import UnsafeWeightsError, WeightsIntegrityError

MAX_INSTRUCTIONS = 4_000_000
"""A DenseNet-121 needs 70,000; beyond this limit a pickle is taken for an attack on time or memory."""

MAX_DIMENSIONS = 16
"""Of a tensor; PyTorch itself has few operations for more."""

_MEMORY_PER_BYTE = 32  # of what is read of the pickle
_SPARE_MEMORY = 2**28  # bytes, that any pickle may take besides; a whole DenseNet-121 takes 2**23.4 in all

_SLOT = 8  # bytes, of a reference to a value
_ENTRY = 104  # bytes, of a dictionary's or a set's entry while it grows
_RECORD = 400  # bytes, of an object of this module with its attributes
_LONGEST_KEY = 4096  # characters
_LARGEST_KEY = 2**63


@dataclass(frozen=True)
class StorageRecord:
    """Numbers in the file.

    Args:
        dtype: type of the numbers, by its name in torch.
        key: name of the storage in the file.
        start: index of the first element.
        count: number of elements at most.
    """

    dtype: str
    key: str
    start: int
    count: int


@dataclass(frozen=True)
class TensorRecord:
    """A strided view of a storage.

    Args:
        storage: the numbers.
        offset: index of the first element in the storage.
        size: number of elements along each dimension.
        stride: distance between neighbours along each dimension, in elements.
    """

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class ModuleRecord:
    """What a pickled `torch.nn.Module` held, without its class.

    Args:
        type_name: name of the class, which is not imported.
        state: the attributes by name.
    """

    type_name: str
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass
class NumberType:
    """What a pickled `numpy.dtype` says of numbers; a pickle tells the order of their bytes behind it.

    Args:
        code: kind and size of a number, such as "f8".
        order: order of a number's bytes; little-endian unless it is told otherwise.
    """

    code: str
    order: str = "<"


@dataclass(frozen=True)
class Name:
    """A name that a pickle asked for and that the table knows.

    Args:
        module: the module's name.
        attribute: the name in it.
    """

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


_STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

_MODULE_CLASSES = {
    "torchxrayvision.models": {"DenseNet", "_DenseBlock", "_DenseLayer", "_Transition", "ResNet"},
    "torchvision.models.densenet": {"DenseNet", "_DenseBlock", "_DenseLayer", "_Transition"},
    "torchvision.models.resnet": {"ResNet", "Bottleneck", "BasicBlock"},
    "torch.nn.parallel.data_parallel": {"DataParallel"},
    "torch.nn.modules.activation": {"ReLU", "Sigmoid"},
    "torch.nn.modules.batchnorm": {"BatchNorm2d"},
    "torch.nn.modules.container": {"Sequential", "ModuleList", "ModuleDict"},
    "torch.nn.modules.conv": {"Conv2d"},
    "torch.nn.modules.dropout": {"Dropout", "Dropout2d"},
    "torch.nn.modules.flatten": {"Flatten"},
    "torch.nn.modules.linear": {"Linear", "Identity"},
    "torch.nn.modules.pooling": {"AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"},
}


def _rebuild_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> TensorRecord:
    # What follows in version 2 (requires_grad, hooks, metadata) does not change the numbers.
    if not (isinstance(storage, StorageRecord) and _is_count(offset) and _are_dimensions(size, stride)):
        raise _malformed("a tensor that is not described by a storage, an offset, a size and a stride")
    return TensorRecord(storage, offset, tuple(size), tuple(stride))  # type: ignore[arg-type]  # `_are_dimensions`


def _rebuild_parameter(tensor: object, *_: object) -> TensorRecord:
    if not isinstance(tensor, TensorRecord):
        raise _malformed("a parameter that is no tensor")
    return tensor


def _container(kind: type, keys: Callable[[Any], Iterable[Any]]) -> Callable[..., Any]:
    """A call that makes a container of one list.

    Args:
        kind: the container's class.
        keys: what of the list's items is going to be hashed.
    """

    def build(*items: Any) -> Any:
        if len(items) > 1 or (items and not isinstance(items[0], (list, tuple))):
            raise _malformed(f"a {kind.__name__} of something else than a list")
        for key in keys(items[0]) if items else ():
            _key(key)
        return kind(*items)

    return build


def _firsts(pairs: Iterable[Any]) -> Iterable[Any]:
    return (_expect(pair, (list, tuple))[0] for pair in pairs)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _container(dict, _firsts),
    "__builtin__.set": _container(set, iter),  # as protocol 2 calls it
    "builtins.set": _container(set, iter),
    "torch.Size": _container(tuple, lambda _: ()),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    # Modules saved before torch 1.3 hold a `_backend`, which this function used to return.
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda: None,
}


def read_pickle(
    stream: BinaryIO,
    dtypes: dict[str, str] | None = None,
    further: Mapping[str, Callable[..., Any]] | None = None,
) -> Any:
    """Interpret one pickle, from the stream's position to just behind it.

    Args:
        stream: the pickle, and anything behind it.
        dtypes: receives the dtype of each storage that the pickle mentions, by its key.
        further: functions that stand for names beside the table, by the whole dotted name.

    Returns:
        Plain values, containers and the records of this module.

    Raises:
        UnsafeWeightsError: the pickle asks for something outside of the table.
        WeightsIntegrityError: the pickle is truncated or contradicts itself.
    """
    machine = _Machine({} if dtypes is None else dtypes, stream, {**_FUNCTIONS, **(further or {})})
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_INSTRUCTIONS:
                raise _malformed(f"a pickle of more than {MAX_INSTRUCTIONS:,} instructions")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (UnsafeWeightsError, WeightsIntegrityError):
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, AttributeError) as error:
        raise _malformed("a truncated or malformed pickle") from error
    raise _malformed("a pickle without an end")


class _Machine:
    """The stack and the memo of the pickle language, over inert values."""

    def __init__(
        self, dtypes: dict[str, str], stream: BinaryIO, functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._dtypes = dtypes
        self._stream = stream
        self._functions = functions
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each open mark
        self._memo: dict[int, Any] = {}
        self._taken = 0

    def _take(self, memory: int) -> None:
        """Charge for values that are about to be made."""
        self._taken += memory
        if self._taken > _SPARE_MEMORY:
            self._check()

    def _check(self) -> None:
        """Refuse what takes more memory than the bytes allow that were read so far."""
        allowed = _SPARE_MEMORY + _MEMORY_PER_BYTE * self._stream.tell()
        if self._taken > allowed:
            raise _malformed(
                f"a pickle whose values take more than {allowed:,} bytes",
                expected=f"{_SPARE_MEMORY:,} and {_MEMORY_PER_BYTE} for each byte of it at most",
            )

    def step(self, opcode: str, argument: Any) -> None:
        self._taken += _SLOT
        if self._taken > _SPARE_MEMORY:
            self._check()
        if opcode in _LITERALS:
            self._taken += sys.getsizeof(argument)  # small or read already: what is next looks at the sum
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            value = _CONSTANTS[opcode]()
            self._taken += sys.getsizeof(value)
            self._stack.append(value)
        elif opcode in _GETS:
            self._stack.append(self._memo[argument])
        elif opcode in _PUTS:
            self._taken += _ENTRY
            self._memo[argument] = self._stack[-1]
        else:
            action = _ACTIONS.get(opcode)
            if action is None:
                raise UnsafeWeightsError(f"a pickle that uses the instruction {opcode}", remedy=_REMEDY)
            action(self, argument)

    def pop(self) -> Any:
        return self._stack.pop()

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def _nothing(self, _: Any) -> None:
        pass

    def _mark(self, _: Any) -> None:
        self._take(_RECORD)
        self._below.append(self._stack)
        self._stack = []

    def _discard(self, _: Any) -> None:
        self.pop()

    def _discard_mark(self, _: Any) -> None:
        self._pop_mark()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self, _: Any) -> None:
        self._take(_ENTRY)
        self._memo[len(self._memo)] = self._stack[-1]

    def _tuple_of_mark(self, _: Any) -> None:
        items = self._pop_mark()  # first: it changes the stack
        self._take(sys.getsizeof(items))
        self._stack.append(tuple(items))

    def _list_of_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def _dict_of_mark(self, _: Any) -> None:
        items = self._pop_mark()
        self._take(_RECORD)
        self._stack.append({})
        self._set_pairs(items)

    def _tuple_1(self, _: Any) -> None:
        self._push_tuple(1)

    def _tuple_2(self, _: Any) -> None:
        self._push_tuple(2)

    def _tuple_3(self, _: Any) -> None:
        self._push_tuple(3)

    def _push_tuple(self, count: int) -> None:
        self._take(_ENTRY)
        self._stack.append(self._pop_many(count))

    def _append(self, _: Any) -> None:
        self._extend([self.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        self._take(2 * _SLOT * len(items))
        _expect(self._stack[-1], list).extend(items)

    def _set_item(self, _: Any) -> None:
        self._set_pairs(list(self._pop_many(2)))

    def _set_items(self, _: Any) -> None:
        self._set_pairs(self._pop_mark())

    def _set_pairs(self, items: list[Any]) -> None:
        self._take(_ENTRY * len(items))
        target = _expect(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _add_items(self, _: Any) -> None:
        items = self._pop_mark()
        self._take(_ENTRY * len(items))
        _expect(self._stack[-1], set).update(map(_key, items))

    def _global(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self._push_name(module, attribute)

    def _stack_global(self, _: Any) -> None:
        self._push_name(*self._pop_many(2))

    def _push_name(self, module: object, attribute: object) -> None:
        self._take(_RECORD)
        self._stack.append(_look_up(module, attribute, self._functions))

    def _reduce(self, _: Any) -> None:
        called, arguments = self._pop_many(2)
        given = _expect(arguments, tuple)
        items = len(given[0]) if given and isinstance(given[0], (list, tuple)) else 0
        self._take(_RECORD + _SLOT * len(given) + _ENTRY * items)  # most of which copy what they are given
        self._stack.append(_call(called, given, self._functions))

    def _new_object(self, _: Any) -> None:
        self._reduce(None)

    def _new_object_ex(self, _: Any) -> None:
        self.pop()  # keyword arguments: no class of the table needs them
        self._reduce(None)

    def _build(self, _: Any) -> None:
        state = self.pop()
        target = self._stack[-1]
        if isinstance(target, ModuleRecord):
            self._take(_ENTRY * len(_expect(state, dict)))
            target.state.update(state)
        elif isinstance(target, NumberType):
            target.order = str(_expect(_expect(state, tuple)[1], str))
        elif not isinstance(target, (dict, TensorRecord)):  # their attributes carry no numbers
            raise _malformed("a state for something that is no module")

    def _persistent_id(self, _: Any) -> None:
        saved_id = self.pop()
        self._take(_RECORD + (_SLOT * len(saved_id) if isinstance(saved_id, (list, tuple)) else 0))
        value = _persistent(saved_id)
        if isinstance(value, StorageRecord):
            self._dtypes[value.key] = value.dtype
        self._stack.append(value)


_REMEDY = (
    "A checkpoint needs tensors and known layers only. If you trust its origin, save its state dict as "
    "safetensors in the environment it came from, and give the path of that file."
)

_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._nothing,
    "FRAME": _Machine._nothing,
    "MARK": _Machine._mark,
    "POP": _Machine._discard,
    "POP_MARK": _Machine._discard_mark,
    "DUP": _Machine._duplicate,
    "MEMOIZE": _Machine._memoize,
    "TUPLE": _Machine._tuple_of_mark,
    "LIST": _Machine._list_of_mark,
    "DICT": _Machine._dict_of_mark,
    "TUPLE1": _Machine._tuple_1,
    "TUPLE2": _Machine._tuple_2,
    "TUPLE3": _Machine._tuple_3,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "ADDITEMS": _Machine._add_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new_object,
    "NEWOBJ_EX": _Machine._new_object_ex,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent_id,
}


def _look_up(module: object, attribute: object, functions: Mapping[str, Callable[..., Any]]) -> Name:
    name = Name(_expect(module, str), _expect(attribute, str))
    is_storage = name.module in ("torch", "torch.cuda") and name.attribute in _STORAGE_DTYPES
    is_module = name.attribute in _MODULE_CLASSES.get(name.module, ())
    # The whole dotted name must match: "torch" with "_utils._rebuild_tensor" is no entry of the table.
    is_function = str(name) in functions and "." not in name.attribute
    if not (is_storage or is_module or is_function):
        raise UnsafeWeightsError(f"a pickle that asks for {name}"[:200], remedy=_REMEDY)
    return name


def _call(called: object, arguments: tuple[Any, ...], functions: Mapping[str, Callable[..., Any]]) -> Any:
    if not isinstance(called, Name):
        raise _malformed("a call of something that is no name")
    if called.attribute in _MODULE_CLASSES.get(called.module, ()):
        return ModuleRecord(str(called))
    function = functions.get(str(called))
    if function is None:
        raise _malformed(f"a call of {called}")
    return function(*arguments)


def _persistent(saved_id: object) -> Any:
    """Resolve what torch keeps out of the pickle: storages and, before 1.6, classes with their source."""
    match saved_id:
        case ("module", Name() as name, *_):
            return name  # with the source of its class, which nobody needs
        case ("storage", Name() as kind, str(key), str(), int(count), *view):
            dtype = _STORAGE_DTYPES.get(kind.attribute)
            if dtype is not None and count >= 0:
                return _view(StorageRecord(dtype, key, 0, count), view)
    raise _malformed("a persistent id that is neither a storage nor a module")


def _view(storage: StorageRecord, view: list[Any]) -> StorageRecord:
    match view:
        case [] | [None]:
            return storage
        case [(str(), int(start), int(count))] if start >= 0 and 0 <= count <= storage.count - start:
            return StorageRecord(storage.dtype, storage.key, start, count)
    raise _malformed("a view outside of its storage")


def _key(value: Any) -> Any:
    # Only flat keys: the hash of a deeply nested tuple overflows the interpreter's stack. And only short
    # ones: long ones are compared, and long numbers hashed, each time they are used.
    if isinstance(value, (str, bytes)):
        short = len(value) <= _LONGEST_KEY
    elif isinstance(value, int):
        short = -_LARGEST_KEY <= value < _LARGEST_KEY
    else:
        short = value is None or isinstance(value, float)
    if not short:
        raise _malformed(f"a key that is neither a number nor a text of up to {_LONGEST_KEY} characters")
    return value


def _expect(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(each.__name__ for each in kinds)
        raise _malformed(f"a {type(value).__name__} in place of a {names}")
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 2**62


def _are_dimensions(size: object, stride: object) -> bool:
    if not (isinstance(size, tuple) and isinstance(stride, tuple)):
        return False
    return len(size) == len(stride) <= MAX_DIMENSIONS and all(map(_is_count, size + stride))


def _malformed(found: str, expected: str | None = None) -> WeightsIntegrityError:
    return WeightsIntegrityError(
        found,
        expected=expected,
        remedy="Give a checkpoint file; a broken download has to be deleted and fetched again.",
    )
