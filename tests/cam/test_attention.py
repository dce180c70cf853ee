"""LeGrad and attention relevance against the papers' equations, number by number, in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from networks import images, small_net, snapshot, unsettle
from torch import Tensor, nn
from torch.nn import functional as F
from transformers_at_hand import (
    CASES,
    NAMES,
    Case,
    MeanPooled,
    RadDino,
    literal_legrad,
    literal_relevance,
    torchvision_vit,
)

from cxr_explain import Explainer, HookedClassifier, Outputs, Radiograph, class_maps, imagenet_input
from cxr_explain.cam import attention
from cxr_explain.cam.attention import AttentionRelevance, LeGrad
from cxr_explain.cam.registry import ATTENTION_RULES, LAYER_RULES
from cxr_explain.cam.smoothing import Smoothed
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.attention import Attending, attention_pass, encoder_of

CLASSES = torch.tensor([[3, 0, 2], [1, 3, 0]])
CLOSE = {"rtol": 1e-8, "atol": 1e-14}
each_case = pytest.mark.parametrize("name", CASES)
each_rule = pytest.mark.parametrize("method", ATTENTION_RULES)
TORCHVISION = CASES["torchvision"]


@cache
def module_of(name: str) -> nn.Module:
    return CASES[name].module()


def expected(case: Case, module: nn.Module, method: str, **options: Any) -> Tensor:
    """(B, K, I, J) by the literal implementation, one image and one class at a time."""
    maps = []
    for image, classes in zip(case.images(), CLASSES.tolist(), strict=True):
        looked = case.looked(module, image[None])
        for k in classes:
            if method == "legrad":
                maps.append(literal_legrad(looked, k, case.skip, **options))
            else:
                maps.append(literal_relevance(looked, k, case.skip, case.rows))
    return torch.stack(maps).reshape(2, 3, 4, 4)


# -- the formulas --


@each_case
@each_rule
def test_the_maps_are_those_of_the_equations(name: str, method: str) -> None:
    case, module = CASES[name], module_of(name)
    found = class_maps(case.classifier(module), case.images(), CLASSES, method=method)
    wanted = expected(case, module, method)
    assert float(wanted.amax(dim=(2, 3)).min()) > 0
    torch.testing.assert_close(found, wanted, rtol=case.rtol, atol=1e-14)


@pytest.mark.parametrize("blocks", [1, 2, 9])
def test_legrad_of_the_last_blocks(blocks: int) -> None:
    module = module_of("torchvision")
    found = class_maps(TORCHVISION.classifier(module), TORCHVISION.images(), CLASSES, method=LeGrad(blocks))
    wanted = expected(TORCHVISION, module, "legrad", blocks=blocks)
    torch.testing.assert_close(found, wanted, **CLOSE)


@each_case
def test_the_scores_are_the_model_s_own(name: str) -> None:
    case, module = CASES[name], module_of(name)
    with torch.no_grad():
        output: Any = module(imagenet_input(case.images()))
    for by_block in (False, True):
        seen = attention_pass(case.classifier(module), case.images(), "a test", by_block=by_block)
        torch.testing.assert_close(
            seen.logits.detach(), getattr(output, "logits", output), rtol=1e-9, atol=1e-9
        )
        rows = [weights.detach().sum(dim=-1) for weights in seen.weights]
        torch.testing.assert_close(torch.stack(rows), torch.ones_like(torch.stack(rows)))


@each_rule
@pytest.mark.parametrize("kind", ["timm", "ViT", "DINOv2, registers"])
def test_an_attention_that_is_written_out_gives_the_same(kind: str, method: str) -> None:
    """timm without its fused kernel, and Hugging Face's "eager"."""
    case, module = CASES[kind], module_of(kind)
    plain: Any = copy.deepcopy(module)
    if kind == "timm":
        assert all(block.attn.fused_attn for block in plain.blocks)
        for block in plain.blocks:
            block.attn.fused_attn = False
    else:
        assert plain.config._attn_implementation == "sdpa"
        plain.set_attn_implementation("eager")
    found = [
        class_maps(case.classifier(each), case.images(), CLASSES, method=method) for each in (module, plain)
    ]
    torch.testing.assert_close(found[0], found[1].double(), rtol=case.rtol, atol=1e-14)


@each_rule
def test_images_and_classes_do_not_mix(method: str) -> None:
    classifier, inputs = TORCHVISION.classifier(module_of("torchvision")), TORCHVISION.images()
    together = class_maps(classifier, inputs, CLASSES, method=method)
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=method)
            torch.testing.assert_close(together[b, k], alone[0, 0], **CLOSE)
    assert not torch.allclose(together[:, 0], together[:, 1])


@each_rule
def test_classes_in_parts_give_the_same(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the gradients of all classes would take too much memory."""
    classifier = TORCHVISION.classifier(module_of("torchvision"))
    whole = class_maps(classifier, TORCHVISION.images(), CLASSES, method=method)
    monkeypatch.setattr(attention, "_MEMORY", 1)
    torch.testing.assert_close(
        class_maps(classifier, TORCHVISION.images(), CLASSES, method=method), whole, **CLOSE
    )


@each_rule
def test_an_operator_that_cannot_be_batched_takes_one_gradient_a_class(method: str) -> None:
    module: Any = MeanPooled().double()
    classifier = CASES["mean pooled"].classifier(module)
    inputs = CASES["mean pooled"].images()
    batched = class_maps(classifier, inputs, CLASSES, method=method)

    class Twice(torch.autograd.Function):
        """As plain Python, which vmap refuses."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return torch.from_numpy(gradient.numpy().copy())

    plain = module.head.forward
    module.head.forward = lambda x: Twice.apply(plain(x))
    torch.testing.assert_close(class_maps(classifier, inputs, CLASSES, method=method), batched, **CLOSE)


@each_rule
def test_one_forward_pass_whatever_the_number_of_classes(method: str) -> None:
    """The plain pass, and one more; the blocks are found once, on one image."""
    module: Any = copy.deepcopy(module_of("torchvision"))
    classifier = TORCHVISION.classifier(module)
    ran: list[int] = []
    module.encoder.layers[1].register_forward_pre_hook(lambda _, args: ran.append(len(args[0])))
    class_maps(classifier, TORCHVISION.images(), CLASSES[:, :1], method=method)
    assert ran == [2, 1, 2]
    ran.clear()
    class_maps(classifier, TORCHVISION.images(), CLASSES, method=method)
    assert ran == [2, 2]


# -- an attention, computed by its definition --


def asked(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "a scale": {"scale": 0.7},
    "numbers added": {"attn_mask": asked((5, 5), 9)},
    "some left out": {"attn_mask": asked((5, 5), 8) > -0.5},
    "fewer keys than queries have heads": {"enable_gqa": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_definition_is_torch_s(options: dict[str, Any]) -> None:
    heads = 2 if "enable_gqa" in options else 4
    q, k, v = asked((2, 4, 5, 3), 0), asked((2, heads, 5, 3), 1), asked((2, heads, 5, 3), 2)
    with Attending(2) as seen:
        found = F.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(found.detach(), F.scaled_dot_product_attention(q, k, v, **options))
    assert [weights.shape for weights in seen.weights] == [(2, 4, 5, 5)]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{"need_weights": False}, {}, {"average_attn_weights": False}], ids=str)
def test_so_is_that_of_multi_head_attention(batch_first: bool, bias: bool, options: dict[str, bool]) -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 4, bias=bias, batch_first=batch_first).double().eval()
    x, mask = asked((2, 5, 12) if batch_first else (5, 2, 12), 0), asked((5, 5), 1)
    for more in ({}, {"attn_mask": mask}):
        with torch.no_grad():
            wanted = module(x, x, x, **options, **more)
            with Attending(2) as seen:
                found = module(x, x, x, **options, **more)
        assert len(seen.weights) == 1
        assert (found[1] is None) == (wanted[1] is None)
        for one, other in zip(found, wanted, strict=True):
            if other is not None:
                torch.testing.assert_close(one.detach(), other)


OTHERS: dict[str, dict[str, Any]] = {
    "a bias of the keys": {"add_bias_kv": True},
    "a zero added": {"add_zero_attn": True},
    "other widths": {"kdim": 8, "vdim": 8},
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_what_it_does_not_define_is_left_to_torch(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 4, batch_first=True, **options).double().eval()
    x = asked((2, 5, 12), 0)
    key = x[..., :8] if "kdim" in options else x
    wanted = module(x, key, key)[0]
    with Attending(2) as seen:
        found = module(x, key, key)[0]
    assert torch.equal(found, wanted)
    assert seen.weights == []


# -- models that are not so plain --


@each_rule
def test_a_backbone_that_switches_gradients_off_is_explained(method: str) -> None:
    """As a linear probe on a frozen model is often written."""
    case = CASES["RAD-DINO, patches"]
    module: Any = module_of("RAD-DINO, patches")
    wanted = class_maps(case.classifier(module), case.images(), CLASSES, method=method)
    frozen = RadDino(patches=True, frozen=True).double().eval()
    frozen.load_state_dict(module.state_dict())
    torch.testing.assert_close(
        class_maps(case.classifier(frozen), case.images(), CLASSES, method=method), wanted, **CLOSE
    )


class TwoBlocksRead(MeanPooled):
    """A head that reads two blocks, as linear probes of DINOv2 do."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.steps[0](self.embed(x).flatten(2).transpose(1, 2))
        return self.head(x.mean(dim=1) + self.steps[1](x).mean(dim=1))


def test_a_head_that_reads_several_blocks_has_a_relevance_and_no_legrad() -> None:
    case, module = CASES["mean pooled"], TwoBlocksRead().double()
    classifier = case.classifier(module)
    for images_at_once in (1, 2):  # of one image, the shapes would fit
        inputs, classes = case.images()[:images_at_once], CLASSES[:images_at_once]
        with pytest.raises(ModelError, match=r"head that does not take the.*Choose attention-relevance"):
            class_maps(classifier, inputs, classes, method="legrad")
    assert class_maps(classifier, case.images(), CLASSES, method="attention-relevance").max() > 0


def test_what_has_no_such_attention_is_refused_with_the_rules_that_do() -> None:
    classifier = HookedClassifier(small_net(), "5", Outputs(("a", "b", "c", "d", "e")), input_size=64)
    for method in ATTENTION_RULES:
        with pytest.raises(ModelError, match="Sequential without an attention that can be seen") as caught:
            class_maps(classifier, images(), torch.tensor([0]), method=method)
        assert f"Choose a rule that reads a layer: {', '.join(LAYER_RULES)}." in str(caught.value)
    assert encoder_of(classifier, images()) is None


def test_windows_are_refused() -> None:
    from torchvision.models import SwinTransformer

    swin = SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=len(NAMES))
    classifier = HookedClassifier(swin, "permute", NAMES, input_size=64, prepare=imagenet_input)
    with pytest.raises(ModelError, match=r"a SwinTransformer whose attention has the shapes \(16, 1, 16, 16"):
        class_maps(classifier, images(), torch.tensor([0]), method="legrad")


class Parallel(MeanPooled):
    """Two blocks beside each other: neither works on what the other gave."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((self.steps[0](x) + self.steps[1](x)).mean(dim=1))


class Shared(MeanPooled):
    """One block that runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.steps[0](self.steps[0](self.embed(x).flatten(2).transpose(1, 2))).mean(dim=1))


@pytest.mark.parametrize("build", [Parallel, Shared])
@each_rule
def test_blocks_that_do_not_follow_one_another_are_refused(build: type[MeanPooled], method: str) -> None:
    classifier = HookedClassifier(build(), "embed", NAMES, input_size=64, prepare=imagenet_input)
    with pytest.raises(ModelError, match="not in blocks of which each works on what the one before it gave"):
        class_maps(classifier, images(), torch.tensor([0]), method=method)


class OtherWithGradients(MeanPooled):
    """Other scores where gradients are on: those that are explained would not be the model's."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 3.0 * torch.is_grad_enabled()


@each_rule
def test_other_scores_than_the_plain_pass_s_are_refused(method: str) -> None:
    classifier = HookedClassifier(
        OtherWithGradients(), "embed", NAMES, input_size=64, prepare=lambda x: x.expand(-1, 3, -1, -1) / 1024
    )
    forward = classifier.forward(images())  # its gradients start at the layer, so that they are on here too
    forward.logits = forward.logits - 1.0
    evidence = attention.Evidence(classifier, images(), torch.tensor([[0], [1]]), forward)
    with pytest.raises(ModelError, match="scores that are off by 1 where the attention is computed"):
        (LeGrad() if method == "legrad" else AttentionRelevance())(evidence)


class InPlace(MeanPooled):
    """Overwrites what a block gave."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.steps[0](self.embed(x).flatten(2).transpose(1, 2))
        return self.head(self.steps[1](x).mul_(2.0).mean(dim=1))


class OutOfPlace(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        x = self.steps[0](self.embed(x).flatten(2).transpose(1, 2))
        return self.head((2.0 * self.steps[1](x)).mean(dim=1))


@each_rule
def test_what_a_block_gave_may_be_overwritten(method: str) -> None:
    case, found = CASES["mean pooled"], []
    for build in (InPlace, OutOfPlace):
        torch.manual_seed(0)
        classifier = case.classifier(build().double())
        found.append(class_maps(classifier, case.images(), CLASSES, method=method))
    torch.testing.assert_close(found[0], found[1], **CLOSE)


@each_rule
def test_a_model_that_has_changed_is_looked_at_anew(method: str) -> None:
    case = CASES["mean pooled"]
    module: Any = MeanPooled().double()
    classifier = case.classifier(module)
    class_maps(classifier, case.images(), CLASSES, method=method)
    plain = module.steps[0].forward
    module.steps[0].forward = lambda x: x
    with pytest.raises(ModelError, match="1 attentions that can be seen, where there were 2 before"):
        class_maps(classifier, case.images(), CLASSES, method=method)
    assert class_maps(classifier, case.images(), CLASSES, method=method).max() > 0
    module.steps[0].forward = plain


@each_rule
def test_bfloat16_by_autocast(method: str) -> None:
    """The plain pass alone is in that precision, as with every rule that runs the model again."""
    classifier = TORCHVISION.classifier(module_of("torchvision").float())
    try:
        exact, coarse = (
            Explainer(classifier, method=method, dtype=dtype).explain(radiograph(), top_k=len(NAMES))
            for dtype in ("float32", "bfloat16")
        )
    finally:
        module_of("torchvision").double()
    at = [exact.ranking.pathologies.index(name) for name in coarse.ranking.pathologies]
    np.testing.assert_allclose(coarse.class_maps, exact.class_maps[at], rtol=1e-4, atol=1e-7)


def test_target_layers_are_refused() -> None:
    classifier = TORCHVISION.classifier(module_of("torchvision"))
    with pytest.raises(
        OptionError, match=r"target_layers='encoder.ln' with LeGrad, which reads the attention"
    ):
        class_maps(classifier, TORCHVISION.images(), CLASSES, method="legrad", layers=["encoder.ln"])


def test_legrad_of_no_block_is_refused() -> None:
    with pytest.raises(OptionError, match="blocks=0"):
        LeGrad(blocks=0)


# -- the model leaves as it came --


def settings(module: nn.Module) -> list[object]:
    """What libraries keep of how attention is computed."""
    configs = (getattr(part, "config", None) for part in module.modules())
    kept: list[object] = [getattr(config, "_attn_implementation", None) for config in configs]
    kept += [getattr(part, "fused_attn", None) for part in module.modules()]
    return [*kept, *(part.forward.__func__ for part in module.modules() if hasattr(part.forward, "__func__"))]


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    unsettle(module)
    before = snapshot(module), settings(module), torch.backends.mha.get_fastpath_enabled()
    yield
    assert (snapshot(module), settings(module), torch.backends.mha.get_fastpath_enabled()) == before


@each_rule
@pytest.mark.parametrize("kind", ["torchvision", "timm", "DINOv2, registers"])
def test_the_model_leaves_as_it_came(kind: str, method: str) -> None:
    case = CASES[kind]
    module = case.module()
    with unchanged(module):
        class_maps(case.classifier(module), case.images(), CLASSES, method=method)
    with torch.inference_mode(), unchanged(module):
        class_maps(case.classifier(module), case.images(), CLASSES, method=method)


@each_rule
@pytest.mark.parametrize("when", [0, 1, 2])
def test_also_after_an_exception(method: str, when: int) -> None:
    """In the plain pass, while the blocks are found, and in the pass that keeps the attention."""
    module: Any = TORCHVISION.module()
    calls: list[None] = []

    def fail(*_: object) -> None:
        calls.append(None)
        if len(calls) > when:
            raise KeyError("the user's own hook")

    module.encoder.layers[1].mlp.register_forward_hook(fail)
    with unchanged(module), pytest.raises(KeyError):
        class_maps(TORCHVISION.classifier(module), TORCHVISION.images(), CLASSES, method=method)
    assert len(calls) == when + 1


# -- precision, and the rest of the package --


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["torchvision", "ViT"])
def test_in_less_precision_the_maps_are_near(kind: str, dtype: torch.dtype, method: str) -> None:
    case = CASES[kind]
    module = case.module()
    wanted = class_maps(case.classifier(module.double()), case.images(), CLASSES, method=method)
    found = class_maps(case.classifier(module.to(dtype)), case.images().float(), CLASSES, method=method)
    assert found.dtype == torch.float32
    if dtype == torch.float32:
        torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.max()))
    alike = torch.cosine_similarity(found.double().flatten(2), wanted.flatten(2), dim=2)
    assert alike.min() > 0.98


def radiograph() -> Radiograph:
    return Radiograph.from_array(np.random.default_rng(0).uniform(-900, 900, (80, 72)).astype(np.float32))


@each_rule
def test_an_explanation_says_what_was_read(method: str) -> None:
    classifier = TORCHVISION.classifier(module_of("torchvision"))
    found = Explainer(classifier, method=method).explain(radiograph(), top_k=3)
    assert found.maps.shape == (3, 4, 4)
    assert found.provenance.target_layer == "every attention"
    assert found.provenance.notes == (
        "The attention of 3 blocks is read; encoder.layers.encoder_layer_2 gives 17 tokens: 1 left out, the "
        "others are read as 4 x 4 patches, row by row.",
    )
    assert found.without_gradient == ()
    np.testing.assert_allclose(np.linalg.norm(found.maps), 1, rtol=1e-5)
    assert "from every attention of the model" in found.methods_text()


@each_rule
def test_a_head_of_zeros_gives_a_state_and_no_map(method: str) -> None:
    """As torchvision's begins."""
    torch.manual_seed(0)
    module = torchvision_vit().double()
    found = Explainer(TORCHVISION.classifier(module), method=method).explain(radiograph(), top_k=2)
    assert set(found.without_gradient) == set(found.ranking.pathologies)
    assert found.provenance.notes[-1] == "No gradient reaches any attention: there is no map, for or against."


def test_a_rule_with_settings_is_recorded_and_can_be_smoothed() -> None:
    classifier = TORCHVISION.classifier(module_of("torchvision"))
    found = Explainer(classifier, method=LeGrad(blocks=2)).explain(radiograph(), top_k=2)
    assert (found.provenance.rule_title, found.provenance.rule_settings) == ("LeGrad", "LeGrad(blocks=2)")
    assert found.provenance.target_layer == "every attention"
    smooth = Explainer(classifier, method=Smoothed("legrad")).explain(radiograph(), top_k=2)
    assert smooth.provenance.target_layer == "every attention"
    assert np.abs(smooth.class_maps - found.class_maps).max() > 0


def test_no_class_gives_no_map_and_runs_nothing_more() -> None:
    classifier = TORCHVISION.classifier(module_of("torchvision"))
    nothing = CLASSES[:, :0]
    assert class_maps(classifier, TORCHVISION.images(), nothing, method="legrad").shape[1] == 0
