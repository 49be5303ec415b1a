import pytest
import torch
from scipy.ndimage import laplace

from gan_augment.metrics.sharpness import laplacian_variance


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_scipy_agrees():
    images = noise(4, 3, 7, 5)
    expected = [laplace(image.double().numpy(), mode="nearest", axes=(1, 2)).var() for image in images]
    assert laplacian_variance(images).tolist() == pytest.approx(expected)


def test_an_even_image_has_none_and_white_noise_twenty_times_its_own():
    assert laplacian_variance(torch.full((2, 3, 8, 8), 200).to(torch.uint8)).tolist() == [0, 0]
    image = noise(1, 1, 300, 300)
    assert laplacian_variance(image).item() == pytest.approx(20 * image.float().var().item(), rel=0.02)  # 16 + 4


def test_the_smallest_image_has_none():
    assert laplacian_variance(noise(2, 1, 1, 1)).tolist() == [0, 0]
