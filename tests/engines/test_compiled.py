"""Models on an engine: the same as torch, never stale, from several threads, and refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxr_explain.engines.compiled import CompiledClassifier, on_engine
from cxr_explain.engines.fingerprint import fingerprint
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.base import Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.monai import MonaiDenseNet
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.steadiness import ModuleWatch
from cxr_explain.models.xrv import XRVDenseNet, XRVResNet
from cxr_explain.options import Engine
from tests.diagonal import diagonal
from tests.networks import (
    NAMES,
    images,
    randomise,
    randomise_norms,
    small_monai,
    small_net,
    small_xrv,
    snapshot,
)

ENGINES: tuple[Engine, ...] = ("onnxruntime", "openvino")


def densenet(**options: Any) -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5, **options).eval(), input_size=64)


def monai_densenet() -> MonaiDenseNet:
    module: Any = small_monai().eval()
    with torch.no_grad():
        module.features.conv0.weight /= 500
    return MonaiDenseNet(module, NAMES, input_size=64)


def resnet() -> XRVResNet:
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    module.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        module.conv1.weight /= 500
    return XRVResNet(randomise(module).eval(), Outputs(NAMES, kind="softmax-logits"), input_size=64)


def in_float64(classifier: PooledLinearClassifier, inputs: Tensor) -> Tensor:
    """The logits, read literally off the definition: the body in float64, its mean, the head's sums."""
    module = classifier.module.double()
    try:
        with torch.no_grad():
            activations = classifier.body(inputs.double())
            pooled = activations.sum((2, 3)) / (activations.shape[2] * activations.shape[3])
            return pooled @ classifier.head.weight.T + classifier.head.bias
    finally:
        module.float()


@pytest.mark.parametrize(("make", "engine"), diagonal([densenet, monai_densenet, resnet], ENGINES))
def test_an_engine_computes_what_torch_computes(
    make: Callable[[], PooledLinearClassifier], engine: Engine
) -> None:
    original, inputs = make(), images(3)
    exact = in_float64(make(), inputs)
    before = snapshot(original.module)
    compiled = CompiledClassifier(original, engine)
    assert snapshot(original.module) == before
    torch.testing.assert_close(compiled.logits(inputs).double(), exact, rtol=1e-4, atol=1e-4)
    ours, reference = compiled.forward(inputs), original.forward(inputs)
    torch.testing.assert_close(ours.activations, reference.activations, rtol=1e-4, atol=1e-4)
    assert ours.head is not None
    maps, expected = (
        Explainer(one, method="grad-cam").explain_inputs(inputs, top_k=3) for one in (compiled, original)
    )
    assert [ranking.pathologies for ranking in maps.rankings] == [r.pathologies for r in expected.rankings]
    assert [ranking.top[0].probability for ranking in maps.rankings] == pytest.approx(
        [ranking.top[0].probability for ranking in expected.rankings], abs=1e-4
    )
    for mine, theirs in zip(maps.fused, expected.fused, strict=True):
        torch.testing.assert_close(mine.maps, theirs.maps, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def shared() -> dict[Engine, CompiledClassifier]:
    """Of a module that no test changes."""
    return {engine: CompiledClassifier(densenet(), engine) for engine in ENGINES}


@pytest.mark.parametrize("engine", ENGINES)
def test_any_number_of_images_and_none_is_changed(
    shared: dict[Engine, CompiledClassifier], engine: Engine
) -> None:
    inputs = images(5)
    before = inputs.clone()
    together = shared[engine].logits(inputs)
    assert torch.equal(inputs, before)
    one_by_one = torch.cat([shared[engine].logits(inputs[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared[engine].logits(inputs, batch_size=2), together, rtol=1e-4, atol=1e-4)
    channels_last = inputs.expand(-1, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(shared[engine].logits(channels_last), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restricted_model_runs_on_an_engine(
    shared: dict[Engine, CompiledClassifier], engine: Engine
) -> None:
    inputs, region = images(2), torch.zeros(64, 64)
    region[:32] = 1
    compiled = shared[engine]
    expected = compiled.original.restricted(region).forward(inputs)
    found = compiled.restricted(region).forward(inputs)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert found.logits.ne(compiled.forward(inputs).logits).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_get_their_own_results(shared: dict[Engine, CompiledClassifier], engine: Engine) -> None:
    batches = [images(2, seed=seed) for seed in range(6)]
    expected = [shared[engine].logits(batch) for batch in batches]
    found: dict[int, list[Tensor]] = {}

    def work(number: int) -> None:
        found[number] = [shared[engine].forward(batches[number]).logits.clone() for _ in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, logits in enumerate(expected):
        assert len(found[number]) == 10
        for each in found[number]:
            torch.testing.assert_close(each, logits, rtol=1e-4, atol=1e-4)


def test_a_fork_runs_no_engine_of_its_parent_s_into_a_hang(shared: dict[Engine, CompiledClassifier]) -> None:
    """ONNX Runtime's threads do not live on in a fork; with one thread, there are none to wait for."""
    if torch.get_num_threads() > 1:
        pytest.skip("this process computes with several threads, and its forks would wait for them")
    inputs = images(1)
    expected = shared["onnxruntime"].logits(inputs)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, shared["onnxruntime"].logits(inputs).numpy().tobytes())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        found = stream.read()
    assert os.waitpid(child, 0)[1] == 0
    assert np.allclose(np.frombuffer(found, np.float32), expected.numpy().ravel(), rtol=1e-4, atol=1e-4)


def train(module: Any) -> None:
    module.train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05)
    module.features(images(2)).mean().backward()
    optimiser.step()
    module.eval()


def load(module: Any) -> None:
    module.load_state_dict(randomise_norms(small_xrv(5, seed=1), 1).state_dict())


def replace_part(module: Any) -> None:
    module.features.norm5 = nn.Identity()


def replace_tensor(module: Any) -> None:
    module.features.norm5.weight = nn.Parameter(module.features.norm5.weight.detach() * 3)


def hook(module: Any) -> None:
    module.features.register_forward_hook(lambda _module, _inputs, output: output * 2)


def own_forward(module: Any) -> None:
    usual = module.features.forward
    module.features.forward = lambda inputs: usual(inputs) + 1


def train_the_head(module: Any) -> None:
    with torch.no_grad():
        module.classifier.weight.mul_(2)


CHANGES = (train, load, replace_part, replace_tensor, hook, own_forward, train_the_head)


@pytest.mark.parametrize("change", [train, hook, train_the_head])
def test_a_module_that_has_changed_is_compiled_anew(change: Callable[[Any], None]) -> None:
    original, inputs = densenet(), images(2)
    compiled = CompiledClassifier(original, "onnxruntime")
    before = compiled.logits(inputs)
    change(original.module)
    now = original.logits(inputs)
    assert not torch.allclose(now, before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(compiled.logits(inputs), now, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(compiled.forward(inputs).logits, now, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", [*CHANGES, lambda module: module.half(), lambda module: module.double()])
def test_a_watch_notices_a_change(change: Callable[[Any], None]) -> None:
    module = small_xrv(5).eval()
    watch = ModuleWatch(module)
    with torch.no_grad():
        module(images(2))
    module.requires_grad_(False).requires_grad_(True)
    assert watch.unchanged()
    change(module)
    assert not watch.unchanged()


def test_a_head_that_was_replaced_is_refused() -> None:
    original = densenet()
    compiled = CompiledClassifier(original, "onnxruntime")
    original.module.classifier = nn.Linear(24, 5)
    with pytest.raises(ModelError, match="whose head was replaced"):
        compiled.logits(images(1))


def test_a_module_that_was_made_half_is_refused() -> None:
    original = densenet()
    compiled = CompiledClassifier(original, "onnxruntime")
    original.module.half()
    with pytest.raises(ModelError, match=r"weights of float16.*engine='torch'"):
        compiled.logits(images(1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_format_are_refused(dtype: torch.dtype) -> None:
    original = densenet()
    original.module.to(dtype)
    with pytest.raises(ModelError, match=r"expected a model of float32 on the CPU"):
        CompiledClassifier(original, "openvino")


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 32, 32), (2, 1, 64, 65)])
def test_inputs_of_another_shape_are_refused(
    shared: dict[Engine, CompiledClassifier], shape: tuple[int, ...]
) -> None:
    for compiled in shared.values():
        with pytest.raises(ModelError, match=r"for which the model was compiled.*engine='torch'"):
            compiled.forward(torch.zeros(shape))


def test_another_head_is_refused_and_auto_falls_back_without_a_word_to_ask() -> None:
    other = HookedClassifier(small_net().eval(), "3", NAMES, input_size=64)
    with pytest.raises(ModelError, match="a head that is not known to be global average pooling"):
        on_engine(other, "onnxruntime", "float32")
    classifier, engine, notes = on_engine(other, "auto", "float32")
    assert (classifier, engine) == (other, "torch")
    (note,) = notes
    assert note.startswith("computed by torch, as OpenVINO cannot run this model: a head")


def test_auto_says_why_it_computes_by_torch() -> None:
    explainer = Explainer(HookedClassifier(small_net().eval(), "3", NAMES, input_size=64), engine="auto")
    assert explainer.settings.engine == "torch"
    assert explainer.facts.engine_version == ""
    found = Explainer(densenet(), engine="auto")
    assert found.settings.engine == "onnxruntime"
    assert found.facts.engine_version.startswith("ONNX Runtime 1")


def test_what_an_engine_does_not_offer_is_refused() -> None:
    with pytest.raises(OptionError, match=r"engine='onnxruntime' with dtype='bfloat16'.*torch or openvino"):
        on_engine(densenet(), "onnxruntime", "bfloat16")
    with pytest.raises(
        OptionError, match=r"engine='tensorrt'; expected one of torch, onnxruntime, openvino, auto"
    ):
        Explainer(densenet(), engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="target_layers"):
        Explainer(densenet(), engine="onnxruntime", target_layers=("features.conv0",))


class Hopeless(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + float(str(inputs.sum().item()))  # no tensor operation


def test_a_forward_that_cannot_be_exported_is_said_in_one_line() -> None:
    original = densenet()
    original.module.features.add_module("last", Hopeless())
    with pytest.raises(ModelError, match=r"a forward that cannot be exported.*engine='torch'") as caught:
        CompiledClassifier(original, "onnxruntime")
    assert len(str(caught.value).splitlines()) == 1


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["cxr-explain", "explain", {image!r}, "--weights", "phantom", "--engine", {engine!r}]
from cxr_explain.cli.main import main
main()
"""


def test_an_engine_that_is_not_installed_is_named_with_its_extra(tmp_path: Any) -> None:
    from PIL import Image

    Image.new("L", (64, 64)).save(tmp_path / "image.png")
    code = BLOCKED.format(package="openvino", engine="openvino", image=str(tmp_path / "image.png"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'cxr-explain[openvino]'" in done.stderr.replace("\n", " ")


def test_a_fingerprint_says_all_that_a_body_computes() -> None:
    one = fingerprint(densenet())
    assert one is not None
    assert one == fingerprint(densenet())
    other = densenet()
    other.outputs = replace(other.outputs, kind="logits")
    assert fingerprint(other) == one  # of the body alone
    for change in (load, replace_part, replace_tensor):
        changed = densenet()
        change(changed.module)
        assert fingerprint(changed) not in (one, None), change
    rate = densenet()
    rate.module.features.norm5.eps = 0.1  # type: ignore[union-attr]
    assert fingerprint(rate) not in (one, None)


def test_a_body_with_code_that_nobody_knows_has_no_fingerprint() -> None:
    for change in (hook, own_forward, lambda module: module.features.add_module("last", Hopeless())):
        changed = densenet()
        change(changed.module)
        assert fingerprint(changed) is None
    prepared = MonaiDenseNet(small_monai().eval(), NAMES, input_size=64, prepare=lambda inputs: inputs / 1024)
    assert fingerprint(prepared) is None
