from __future__ import annotations

import builtins
import functools
import hashlib
import io
import operator
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from cxr_explain.errors import (
    ArchitectureError,
    CxrExplainWarning,
    UnknownWeightsError,
    UnsafeWeightsError,
    WeightsError,
    WeightsIntegrityError,
    WeightsNotFoundError,
)
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports
from cxr_explain.weights import (
    find_entry,
    list_weights,
    load_into,
    open_weights,
    read_checkpoint,
    resolve,
    verify,
)
from cxr_explain.weights.digests import record_path

ensure_torchvision_imports()
from torchxrayvision.models import DenseNet  # noqa: E402

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
MAGIC = 0x1950A86A20F9469CFC6C


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CXR_EXPLAIN_WEIGHTS_DIR", raising=False)


def small_densenet():
    torch.manual_seed(0)
    return DenseNet(growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8, num_classes=3)


def as_before_torch_1_6(model):
    """Give a module the state that old torch versions pickled."""
    for module in model.modules():
        for name in list(vars(module)):
            if name in ("_non_persistent_buffers_set", "_is_full_backward_hook") or "_pre_hooks" in name:
                del vars(module)[name]
    return model


def saved(value, *, zipped=True, protocol=2):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of classes without source code
        torch.save(value, stream, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return stream.getvalue()


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor), key


# --- what is read ---


@FORMATS
def test_whole_module(zipped):
    model = small_densenet()
    checkpoint = read_checkpoint(saved(model, zipped=zipped))
    assert_same(checkpoint.state_dict, model.state_dict())


@FORMATS
def test_module_of_an_old_torch(zipped):
    wanted = small_densenet().state_dict()
    checkpoint = read_checkpoint(saved(as_before_torch_1_6(small_densenet()), zipped=zipped))
    assert_same(checkpoint.state_dict, wanted)


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dict_in_each_protocol(zipped, protocol):
    wanted = small_densenet().state_dict()
    checkpoint = read_checkpoint(saved(wanted, zipped=zipped, protocol=protocol))
    assert_same(checkpoint.state_dict, wanted)


@FORMATS
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_dtypes(zipped, dtype):
    wanted = {"a": torch.tensor([0, 1, 2]).to(getattr(torch, dtype))}
    assert_same(read_checkpoint(saved(wanted, zipped=zipped)).state_dict, wanted)


@FORMATS
def test_views_shared_storages_scalars_and_empty_tensors(zipped):
    base = torch.arange(24.0)
    wanted = {
        "base": base,
        "transposed": base.view(4, 6).t(),
        "part": base[5:9],
        "every_other": base[1::2],
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 4),
    }
    assert_same(read_checkpoint(saved(wanted, zipped=zipped)).state_dict, wanted)


def test_legacy_view_metadata():
    # Before torch 0.4 a persistent id could be a view of another storage: (key, offset, size).
    content = io.BytesIO()
    for value in (MAGIC, 1001, {"little_endian": True}):
        content.write(pickle.dumps(value, 2))
    content.write(
        persistent_pickle(("storage", torch.FloatStorage, "7", "cpu", 6, ("8", 2, 3)), size=(3,), stride=(1,))
    )
    content.write(pickle.dumps(["7"], 2) + struct.pack("<q6f", 6, *range(6)))
    assert read_checkpoint(content.getvalue()).state_dict["a"].tolist() == [2.0, 3.0, 4.0]


def test_wrapper_and_dataparallel_prefix():
    wanted = small_densenet().state_dict()
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in wanted.items()}}
    checkpoint = read_checkpoint(saved(wrapped))
    assert_same(checkpoint.state_dict, wanted)


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module.model.", "net.backbone.", "_orig_mod.module."]
)
def test_prefixes_of_wrappers_are_taken_off(prefix):
    wanted = small_densenet().state_dict()
    wrapped = {f"{prefix}{key}": value for key, value in wanted.items()}
    assert_same(read_checkpoint(saved(wrapped)).state_dict, wanted)
    tensors = {key: value.contiguous() for key, value in wrapped.items()}
    found = read_checkpoint(safetensors.torch.save(tensors)).state_dict
    assert_same({key: found[key] for key in wanted}, wanted)
    points = {"op_threshs": torch.zeros(3)}  # of the wrapper itself, as in TorchXRayVision's ResNet
    assert_same(read_checkpoint(saved(wrapped | points)).state_dict, wanted | points)


def test_a_prefix_of_some_names_alone_stays():
    mixed = {f"model.{key}": value for key, value in small_densenet().state_dict().items()}
    mixed["criterion.weight"] = torch.ones(3)
    assert_same(read_checkpoint(saved(mixed)).state_dict, mixed)
    one = {"layer.weight": torch.ones(3)}
    assert_same(read_checkpoint(saved(one)).state_dict, one)


@FORMATS
def test_dataparallel_module_under_a_key(zipped):
    model = small_densenet()
    content = saved({"model": torch.nn.DataParallel(model)}, zipped=zipped)
    assert_same(read_checkpoint(content).state_dict, model.state_dict())


def test_names_and_fleeting_buffers_of_a_module():
    model = small_densenet()
    model.targets = ["Mass", "", "Edema"]
    model.register_buffer("fleeting", torch.ones(1), persistent=False)
    checkpoint = read_checkpoint(saved(model))
    assert checkpoint.pathologies == ("Mass", "", "Edema")
    assert "fleeting" not in checkpoint.state_dict


def test_safetensors():
    wanted = dict(sorted(small_densenet().state_dict().items()))
    content = safetensors.torch.save(wanted, metadata={"pathologies": '["Mass"]'})
    checkpoint = read_checkpoint(content)
    assert checkpoint.facts.pathologies == ("Mass",)
    assert checkpoint.pathologies == ("Mass",)
    assert {key: tensor.tolist() for key, tensor in checkpoint.state_dict.items()} == {
        key: tensor.tolist() for key, tensor in wanted.items()
    }


# --- what is refused because it would run ---


class Asks:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call

    def __call__(self):  # so that the result of one call can be what the next one calls
        raise AssertionError("only pickled")


class Custom(torch.nn.Module):
    pass


def hostile(mark):
    command = f"touch {mark}"
    return {
        "os.system": (Asks(os.system, command), "posix.system"),
        "eval": (Asks(eval, f"open({str(mark)!r}, 'w')"), r"builtin(s|__)\.eval"),
        "exec": (Asks(exec, "raise SystemExit"), r"builtin(s|__)\.exec"),
        "getattr": (Asks(getattr, torch.nn.Linear, "forward"), "getattr"),
        "attribute of a call": (Asks(Asks(getattr, Path, "home")), "getattr"),
        "partial": (functools.partial(os.system, command), "functools.partial"),
        "methodcaller": (operator.methodcaller("system", command), "operator.methodcaller"),
        "import": (Asks(builtins.__import__, "os"), "__import__"),
        "numpy": (np.arange(3), "numpy"),
        "module": (Custom(), "Custom"),
        "torch.load": (Asks(torch.load, str(mark)), "torch.serialization.load"),
        "hub": (Asks(torch.hub.load, "a/b", "c"), "torch.hub.load"),
        "in a list": ({"state_dict": [{"a": (Asks(os.system, command),)}]}, "posix.system"),
        "path": (Path(), "pathlib"),
    }


def framed(body, *, zipped):
    """Put any pickle into the frame of a checkpoint, which torch.save might refuse to do."""
    stream = io.BytesIO()
    if zipped:
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("archive/data.pkl", body)
    else:
        stream.write(b"".join(pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})))
        stream.write(body + pickle.dumps([], 2))
    return stream.getvalue()


def test_the_hostile_pickles_would_run(tmp_path):
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(hostile(mark)["os.system"][0]))
    assert mark.exists()


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("case", list(hostile("x")))
def test_hostile_pickles_are_refused_by_name(tmp_path, case, protocol, zipped):
    mark = tmp_path / "executed"
    value, name = hostile(mark)[case]
    path = tmp_path / "hostile.pt"
    path.write_bytes(framed(pickle.dumps(value, protocol), zipped=zipped))
    with pytest.raises(UnsafeWeightsError, match=f"(?s)hostile.pt.*asks for .*{name}"):
        read_checkpoint(path)
    assert not mark.exists()


@FORMATS
@pytest.mark.parametrize("part", [0, 1, 2, 3, 4])
def test_each_pickle_of_the_legacy_format_is_guarded(tmp_path, zipped, part):
    mark = tmp_path / "executed"
    values = [MAGIC, 1001, {}, {}, []]
    values[part] = Asks(os.system, f"touch {mark}")
    content = b"".join(pickle.dumps(value, 2) for value in values)
    if zipped:
        content = framed(pickle.dumps(values[part], 2), zipped=True)
    with pytest.raises(UnsafeWeightsError, match=r"posix\.system"):
        read_checkpoint(content)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"\x80\x04\x8c\x08builtins\x8c\x0cgetattr.evil\x93.", "builtins.getattr.evil"),
        (b"\x80\x04\x8c\x05torch\x8c\x1b_utils._rebuild_tensor_v2.x\x93.", "asks for torch._utils"),
        (b"\x80\x04\x8c\x05torch\x8c\x19_utils._rebuild_tensor_v2\x93.", "asks for torch._utils"),
        (b"\x80\x02cbuiltins\ngetattr\n(ctorch\nFloatStorage\nX\x01\x00\x00\x00atR.", "builtins.getattr"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02\x83\x01\x00.", "EXT2"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
        (b"\x80\x02(S'id'\nios\nsystem\n.", "INST"),
        (b"\x80\x02(cos\nsystem\nS'id'\no.", "os.system"),
        (b"\x80\x02Pmodule\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_tricks_of_the_pickle_language(body, match):
    with pytest.raises(UnsafeWeightsError, match=match):
        read_checkpoint(framed(body, zipped=True))


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x02\x8a.",  # a number without its bytes
        b"\x80\x02N(.",  # a mark left open, nothing on the stack
        b"\x80\x02.",
        b"\x80\x02j\xff\xff\xff\xff.",  # a memo entry that is not there
        b"\x80\x02Nr\xff\xff\xff\xff0.",  # four billion memo slots, which CPython would reserve
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fx.",  # bytes of an absurd length
        b"\x80\x02]]N}b.",  # a state for None
        b"\x80\x02NN\x86R.",  # a call of nothing
        b"\x80\x02}(K\x01)\x85K\x02u.",  # a tuple of tuples as a key
        b"\x80\x02" + b"(" * 1000 + b".",
        b"\x80\x02N" + b"\x85" * 50_000 + b".",  # nested 50,000 deep
        b"\x80\x02}N" + b"\x85" * 50_000 + b"Ns.",  # and hashed
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a storage that is called
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id of the weights-only kind
        b"not a pickle",
    ],
    ids=lambda body: repr(body[:12]),
)
@FORMATS
def test_malformed_pickles_are_errors_of_this_package(body, zipped):
    with pytest.raises((WeightsIntegrityError, ArchitectureError)):
        read_checkpoint(framed(body, zipped=zipped))


def test_legacy_module_id_with_source_runs_nothing(tmp_path):
    # torch.load would compare the source with the class's own and write a patch file beside the program.
    for name in (b"posix\nsystem\n", b"__main__\nDenseNet\n"):
        body = b"\x80\x02(X\x06\x00\x00\x00modulec" + name + b"X\x01\x00\x00\x00aX\x01\x00\x00\x00btQ)\x81}b."
        with pytest.raises(UnsafeWeightsError, match=name.split(b"\n")[0].decode()):
            read_checkpoint(framed(body, zipped=False))


class PersistentPickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.saved_id if isinstance(value, Stored) else None


class Stored:
    def __init__(self, saved_id):
        self.saved_id = saved_id


def persistent_pickle(saved_id, *, size, stride, offset=0):
    tensor = Asks(torch._utils._rebuild_tensor_v2, Stored(saved_id), offset, size, stride, False, {})
    stream = io.BytesIO()
    PersistentPickler(stream, 2).dump({"a": tensor})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((4,), (1,), 1),
        ((2,), (4,), 0),
        ((2**40,), (0,), 0),
        ((2**61, 2**61), (0, 0), 0),
        ((-1,), (1,), 0),
        ((2,), (1,), -1),
        ((2,), (-1,), 1),
        ((2,), (1, 1), 0),
        ((0, 2**61, 2**61), (1, 1, 1), 0),
        ("ab", (1,), 0),
        ((1,) * 5000, (1,) * 5000, 0),
    ],
)
def test_tensors_outside_of_their_storage(size, stride, offset):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        storage = ("storage", torch.FloatStorage, "0", "cpu", 4)
        archive.writestr("a/data.pkl", persistent_pickle(storage, size=size, stride=stride, offset=offset))
        archive.writestr("a/data/0", b"\0" * 16)
    with pytest.raises(WeightsIntegrityError):
        read_checkpoint(stream.getvalue())


@pytest.mark.parametrize(
    "saved_id",
    [
        ("storage", torch.FloatStorage, "0", "cpu", -4),
        ("storage", torch.FloatStorage, "../../etc/passwd", "cpu", 4),
        ("storage", torch.FloatStorage, "0", "cpu", 4, ("1", 3, 4)),
        ("storage", "FloatStorage", "0", "cpu", 4),
        ("storage", torch.nn.Linear, "0", "cpu", 4),
        ("other", torch.FloatStorage),
        ("storage",),
        "0",
    ],
)
def test_abused_persistent_ids(saved_id):
    with pytest.raises(WeightsIntegrityError):
        read_checkpoint(framed(persistent_pickle(saved_id, size=(1,), stride=(1,)), zipped=True))


def test_sparse_tensors_are_refused():
    with pytest.raises(UnsafeWeightsError, match="_rebuild_sparse_tensor"):
        read_checkpoint(saved({"a": torch.eye(2).to_sparse()}))


def test_torchscript_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/constants.pkl", b"\x80\x02}.")
        archive.writestr("a/code/x.py", "import os")
    with pytest.raises(UnsafeWeightsError, match="TorchScript"):
        read_checkpoint(stream.getvalue())


# --- what is refused because it is broken ---


def zip_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 10_000_000)
    return stream.getvalue()


def tar_checkpoint():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n <html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 28541918\n", "Git LFS"),
        (b"\0" * 4096, "no known checkpoint format"),
        (pickle.dumps({"a": 1}), "torch.save did not write"),
        (zip_bomb(), "no plain record data.pkl"),
        (tar_checkpoint(), "tar archive"),
        (struct.pack("<Q", 100) + b'{"a":', "broken safetensors"),
        (b"PK\x05\x06" + b"\0" * 18, "no known"),
    ],
)
def test_broken_files(content, match):
    with pytest.raises(WeightsIntegrityError, match=match):
        read_checkpoint(content)


@pytest.mark.parametrize("make", [lambda m: saved(m), lambda m: saved(m, zipped=False), None])
def test_truncated_anywhere(make):
    model = small_densenet()
    content = make(model) if make else safetensors.torch.save(model.state_dict())
    ends = {*range(40), *range(40, len(content), len(content) // 60), len(content) - 1}
    for end in ends:
        with pytest.raises(WeightsIntegrityError):
            read_checkpoint(content[:end])


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # pickletools on text that a flip made
@FORMATS
def test_flipped_bytes_never_end_in_a_foreign_error(zipped):
    content = bytearray(saved({"a": torch.arange(4.0), "b": torch.ones(2, 2)}, zipped=zipped))
    rng = np.random.default_rng(0)
    for _ in range(1000):
        broken = bytearray(content)
        for place in rng.integers(0, len(content), size=rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        try:
            read_checkpoint(bytes(broken))
        except WeightsError as error:
            assert str(error)  # noqa: PT017 - any of them will do


@pytest.mark.parametrize("value", [{"epoch": 3}, {}, [torch.ones(1)], torch.ones(1), {1: torch.ones(1)}])
def test_checkpoint_without_a_state_dict(value):
    with pytest.raises(ArchitectureError, match="state dict"):
        read_checkpoint(saved(value))


# --- into a model ---


def test_load_into():
    trained, fresh = small_densenet(), small_densenet()
    torch.nn.init.ones_(trained.classifier.weight)
    load_into(fresh, read_checkpoint(saved(trained)).state_dict, name="small")
    assert torch.equal(fresh.classifier.weight, trained.classifier.weight)


def test_load_into_accepts_old_batch_norms_and_stored_operating_points():
    model = small_densenet()
    state_dict = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    load_into(model, state_dict | {"op_threshs": torch.ones(3)}, name="old")


def test_load_into_names_the_first_mismatches():
    model = small_densenet()
    state_dict = model.state_dict()
    kept = {key: tensor for key, tensor in state_dict.items() if not key.startswith("features.denseblock1")}
    kept["classifier.weight"] = torch.zeros(7, 3)
    kept |= {f"extra{i}": torch.zeros(1) for i in range(8)}
    before = {key: tensor.clone() for key, tensor in state_dict.items()}
    with pytest.raises(ArchitectureError) as caught:
        load_into(model, kept, name="mine.pt")
    message = str(caught.value)
    wanted = "x".join(map(str, model.classifier.weight.shape))
    for part in (
        "mine.pt",
        "DenseNet",
        "norm1.weight",
        "extra4 and 3 more",
        f"classifier.weight 7x3 for {wanted}",
    ):
        assert part in message
    assert "extra5" not in message
    assert_same(model.state_dict(), before)


# --- by name or path, with a remembered digest ---


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / find_entry("nih").file_name).write_bytes(saved(small_densenet()))
    return folder


def test_open_weights_states_its_provenance(folder):
    weights, _ = open_weights("nih", folder)
    assert weights.name == "densenet121-res224-nih"
    assert weights.entry is find_entry("nih")
    assert weights.sha256 == hashlib.sha256(weights.path.read_bytes()).hexdigest()
    (row,) = [row for row in list_weights(folder) if row.present and not row.entry.bundled]
    assert (row.name, row.recorded_sha256) == (weights.name, weights.sha256)


def test_open_weights_by_path(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.ones(1)}))
    weights, checkpoint = open_weights(path)
    assert (weights.name, weights.entry, set(checkpoint.state_dict)) == ("mine.safetensors", None, {"a"})
    assert resolve(str(path)) == path


def test_a_changed_file_is_noticed_and_can_be_accepted(folder):
    first, _ = open_weights("nih", folder)
    first.path.write_bytes(saved({"a": torch.ones(1)}))
    second = hashlib.sha256(first.path.read_bytes()).hexdigest()
    with pytest.raises(WeightsIntegrityError) as caught:
        open_weights("nih", folder)
    message = str(caught.value)
    for part in (first.sha256, second, str(record_path(first.path)), "verify --accept", str(first.path)):
        assert part in message
    assert verify("nih", folder, accept=True).sha256 == second
    assert open_weights("nih", folder)[0].sha256 == second


def test_a_link_turned_to_another_file_is_noticed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.pt").write_bytes(saved({name: torch.ones(1)}))
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "one.pt")
    open_weights(link)
    link.unlink()
    link.symlink_to(tmp_path / "two.pt")
    with pytest.raises(WeightsIntegrityError, match="changed since its first use"):
        open_weights(link)


def test_a_broken_file_is_not_recorded(folder):
    path = folder / find_entry("nih").file_name
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(WeightsIntegrityError, match=path.name):
        open_weights("nih", folder)
    path.write_bytes(whole)
    open_weights("nih", folder)


def test_a_broken_record_is_named(folder):
    weights, _ = open_weights("nih", folder)
    record_path(weights.path).write_text("{")
    with pytest.raises(WeightsIntegrityError, match="record that cannot be read"):
        verify("nih", folder)


def test_an_unwritable_state_folder_is_a_warning(folder, tmp_path):
    (tmp_path / "state").write_text("a file in the way")
    with pytest.warns(CxrExplainWarning, match="could not be recorded"):
        open_weights("nih", folder)


@pytest.mark.parametrize("path", ["missing.pt", "./missing", Path("missing")])
def test_missing_path(path):
    with pytest.raises(WeightsNotFoundError, match="missing"):
        resolve(path)


def test_neither_name_nor_path():
    with pytest.raises(UnknownWeightsError, match="Did you mean"):
        resolve("densenet121-res224-nihh")


def test_wrong_architecture_is_named(folder):
    weights, checkpoint = open_weights("nih", folder)
    with pytest.raises(ArchitectureError, match=r"densenet121-res224-nih: .*Linear"):
        load_into(torch.nn.Linear(2, 2), checkpoint.state_dict, name=weights.name)


@pytest.mark.real_data
@pytest.mark.skipif("CXR_EXPLAIN_REAL_DATA" not in os.environ, reason="CXR_EXPLAIN_REAL_DATA is not set")
def test_stand_in_checkpoint_on_a_read_only_folder():
    folder = Path(os.environ["CXR_EXPLAIN_REAL_DATA"]) / "standin"
    path = resolve("densenet121-res224-nih", weights_dir=folder)
    weights, checkpoint = open_weights("densenet121-res224-nih", weights_dir=folder)
    assert weights.path == path
    assert weights.sha256 in (folder / "README.md").read_text()
    model = DenseNet(num_classes=18)
    load_into(model, checkpoint.state_dict, name=weights.name)
    theirs = torch.load(path, weights_only=False, map_location="cpu")  # our own file
    assert_same(checkpoint.state_dict, theirs.state_dict())
    with torch.no_grad():
        image = torch.zeros(1, 1, 224, 224)
        assert torch.equal(model.eval()(image), theirs.eval()(image))
    assert open_weights("nih", weights_dir=folder)[0].sha256 == weights.sha256


def test_a_state_dict_under_another_word_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"net": {"classifier.weight": torch.zeros(2, 3)}, "epoch": 3}, path)
    with pytest.raises(
        ArchitectureError, match=r"it holds 'net', 'epoch'.*'state_dict'.*by itself: torch.save"
    ):
        read_checkpoint(path)
