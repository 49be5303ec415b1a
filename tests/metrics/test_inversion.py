import pytest
import torch
from torch import nn

from gan_augment.metrics.inversion import error, fit, invert


class Linear(nn.Module):
    """Images of 3x3 pixels that depend linearly on four numbers and on the label."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.register_buffer("weights", 0.2 * torch.randn(4, 9, generator=random))

    def forward(self, latents, labels):
        return (latents @ self.weights).view(-1, 1, 3, 3) + 0.3 * labels[:, None, None, None]


def test_what_the_generator_makes_is_found_again():
    network, random = Linear(), torch.Generator().manual_seed(1)
    latents, labels = torch.randn(5, 4, generator=random), torch.arange(5) % 2
    latents *= (1.8 / latents.norm(dim=1, keepdim=True)).clamp_max(1)
    images = network(latents, labels)
    found = invert(network, images, labels, 4, random)
    assert torch.allclose(found, latents, atol=0.02)
    assert fit(network(found, labels), images).min() > 0.999


def test_latents_keep_a_usual_length():
    network, random = Linear(), torch.Generator().manual_seed(1)
    far = network(torch.full((2, 4), 10.0), torch.zeros(2))
    found = invert(network, far, torch.zeros(2), 4, random)
    assert found.norm(dim=1).max() <= 2 + 1e-5
    assert error(network(found, torch.zeros(2)), far).min() > 0.5


def test_the_fit_is_a_correlation():
    random = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 1, 4, 4, generator=random)
    expected = [torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in zip(one, other, strict=True)]
    assert fit(one, other).tolist() == pytest.approx(torch.stack(expected).tolist(), abs=1e-6)
