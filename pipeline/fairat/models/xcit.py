"""XCiT-S12 (El-Nouby et al. 2021) as VR fine-tunes it on CIFAR."""

from torch import nn

from fairat.errors import UserError
from fairat.models.pretrained import read_state, reason, robustbench_file
from fairat.settings.architectures import XcitS12

_HEAD = frozenset({"head.weight", "head.bias"})


def build(settings: XcitS12, *, num_classes: int, channels: int) -> nn.Module:
    """The network with timm's initialization; 32x32 images become 8x8 tokens.

    Raises:
        UserError: timm is not installed.
    """
    try:
        from timm.models.xcit import Xcit
    except ModuleNotFoundError:
        raise UserError(
            "The architecture xcit_s12 needs the package timm, which is not installed. "
            "Install the extra `zoo`: pip install -e '.[zoo]'."
        ) from None
    network = Xcit(
        patch_size=16,
        in_chans=channels,
        num_classes=num_classes,
        embed_dim=384,
        depth=12,
        num_heads=8,
        eta=1.0,
        tokens_norm=True,
        drop_path_rate=settings.drop_path,
    )
    # Patch 16 halves the resolution four times; without the first two halvings the weights serve 4x4 patches.
    convolutions = [module for module in network.patch_embed.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[:2]:
        convolution.stride = (1, 1)
    return network


def load_start(network: nn.Module, settings: XcitS12) -> None:
    """Loads the adversarially pre-trained weights; the head stays as initialized.

    Raises:
        UserError: the file is missing or cannot be downloaded, or is not an XCiT-S12 with patch 16 for color images.
    """
    file = settings.file or robustbench_file(settings.robustbench, "imagenet")
    state = {
        name: value
        for name, value in read_state(file).items()
        if name not in _HEAD and not name.startswith("normalize.")
    }
    try:
        keys = network.load_state_dict(state, strict=False)
        wrong = sorted({*keys.missing_keys, *keys.unexpected_keys} - _HEAD)
    except RuntimeError as error:
        wrong = [reason(error)]
    if wrong:
        raise UserError(
            f"{file} does not hold an XCiT-S12 with patch 16 for color images; it differs in {wrong[0]}. "
            "Name the authors' file for xcit_small_12_p16_224 in architecture.checkpoint, or leave it out to start untrained."
        )
