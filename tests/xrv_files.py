"""Files of random weights, of the formats and names that TorchXRayVision's baseline models load.

With HOME in a test's folder, each model's own constructor finds its file there and builds the model.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from networks import randomise_norms, xrv
from torch import nn
from torchvision import models

PSPNET = "pspnet_chestxray_best_model_4.pth"
ANATOMY = "baseline_models_cxas_UNet_ResNet50_default_repack.pth"


def cache_of(home: Path) -> Path:
    """The folder in which TorchXRayVision keeps its files."""
    folder = home / ".torchxrayvision" / "models_data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each name with a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def write_jfhealthcare(home: Path) -> nn.Module:
    """Its own checkpoint, and torchvision's, which its constructor loads before."""
    from torchxrayvision.baseline_models.jfhealthcare import classifier, thisfolder

    folder = home / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(models.densenet121(weights=None).state_dict(), folder / "densenet121-a639ec97.pth")
    config = json.loads((Path(thisfolder) / "config" / "example.json").read_text())
    network = classifier.Classifier(SimpleNamespace(**config | {"pretrained": False}))
    spread_heads(randomise_norms(network))
    torch.save(
        network.state_dict(), cache_of(home) / "baseline_models_jfhealthcare-DenseNet121_pre_train.pth"
    )
    return xrv.baseline_models.jfhealthcare.DenseNet()


def spread_heads(network: nn.Module) -> None:
    """Heads that tell images apart, as random ones hardly do."""
    for index in range(5):
        nn.init.normal_(getattr(network, f"fc_{index}").weight, 0, 0.05)


def write_emory_hiti(home: Path) -> nn.Module:
    network = models.resnet34(weights=None)
    network.fc = nn.Sequential(nn.Linear(512, 3), nn.LogSoftmax(dim=1))
    with torch.no_grad():
        network.fc[0].weight /= 500
    tensors = prefixed("module.", randomise_norms(network).state_dict())
    torch.save(tensors, cache_of(home) / "resnet_race_detection_val-loss_0.157_mimic_public.pt")
    return xrv.baseline_models.emory_hiti.RaceModel()


def write_mira(home: Path) -> nn.Module:
    network = randomise_norms(models.resnet34(weights=None, num_classes=2))
    with torch.no_grad():
        network.conv1.weight /= 255
    checkpoint = {"state_dict": prefixed("model.", network.state_dict()), "epoch": 13}
    torch.save(checkpoint, cache_of(home) / "mira_sex_resnet-all_epoch_13-step_7125.ckpt")
    return xrv.baseline_models.mira.SexModel()


def write_xinario(home: Path) -> nn.Module:
    network = randomise_norms(models.resnet50(weights=None))
    torch.save(network.state_dict(), cache_of(home) / "xinario_chestViewSplit_resnet-50.pt")
    return xrv.baseline_models.xinario.ViewModel()


def write_riken(home: Path) -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    name = "baseline_models_riken_xray_age_every_model_age_senet154_v2_tl_26_ft_7_fp32.pt"
    torch.jit.trace(network, torch.zeros(1, 3, 320, 320)).save(str(cache_of(home) / name))
    return xrv.baseline_models.riken.AgeModel()


def write_chexpert(home: Path) -> nn.Module:
    """One network for each group of pathologies, of the 30."""
    from torchxrayvision.baseline_models import chexpert

    config = json.loads((Path(chexpert.__file__).parent / "predict_configs.json").read_text())
    first = {each[0]["ckpt_path"]: each[0]["is_3class"] for each in config["task2models"].values()}
    tasks = {name: index for index, name in enumerate(config["task2models"])}
    with zipfile.ZipFile(home / "chexpert.zip", "w") as archive:
        for path, uncertain in first.items():
            archive.writestr(path, member(tasks, 3 if uncertain else 1))
    return chexpert.DenseNet(weights_zip=str(home / "chexpert.zip"), num_models=1)


def member(tasks: dict[str, int], each: int) -> bytes:
    """A checkpoint of one network of the ensemble."""
    network = randomise_norms(models.densenet121(weights=None, num_classes=each * len(tasks)))
    state = prefixed("module.model.", network.state_dict())
    stream = io.BytesIO()
    torch.save({"task_sequence": tasks, "model_state": state, "ckpt_info": {}}, stream)
    return stream.getvalue()


def lightly_filled(make: Callable[[], nn.Module]) -> nn.Module:
    """A network of full size, in evaluation, whose random weights take a quarter of its memory and of a file.

    The weights of all convolutions lie in one storage, and overlap: each begins at a place of its own.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = make()
    empty = network.state_dict()
    kernels = [name for name, like in empty.items() if like.dim() == 4]
    longest = max(empty[name].numel() for name in kernels)
    storage = torch.empty(longest + 1009 * len(kernels)).uniform_(-0.02, 0.02, generator=generator)

    def filled(name: str, like: torch.Tensor) -> torch.Tensor:
        owner, part = name.rsplit(".", 1)
        if like.dim() == 4:
            return storage[1009 * kernels.index(name) :][: like.numel()].view(like.shape)
        if part == "num_batches_tracked":
            return torch.zeros((), dtype=like.dtype)
        if f"{owner}.running_mean" not in empty:  # the bias of a convolution
            return torch.empty(like.shape).normal_(0, 0.02, generator=generator)
        if part in ("weight", "running_var"):
            return torch.empty(like.shape).uniform_(0.5, 1.5, generator=generator)
        return torch.empty(like.shape).normal_(0, 0.3, generator=generator)

    network.load_state_dict({name: filled(name, like) for name, like in empty.items()}, assign=True)
    return network.eval()


def write_pspnet(folder: Path) -> nn.Module:
    """The network within PSPNet; its file has DataParallel's prefix."""
    from torchxrayvision.baseline_models.chestx_det.ptsemseg.pspnet import pspnet

    network = lightly_filled(lambda: pspnet(14))
    torch.save(prefixed("module.", network.state_dict()), folder / PSPNET)
    return network


def write_anatomy(folder: Path) -> nn.Module:
    """UNetResNet50; its file may have the backbone's names one level higher."""
    network = lightly_filled(lambda: xrv.baseline_models.chestx_anatomy.UNetResNet50(weights=False))
    tensors = {k.replace("backbone.backbone.", "backbone.", 1): v for k, v in network.state_dict().items()}
    torch.save({"model": tensors}, folder / ANATOMY)
    return network
