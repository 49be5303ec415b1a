from math import exp, inf, log

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_augment.losses.adversarial import NonSaturating

loss = NonSaturating()


def test_numbers_worked_out_by_hand():
    real, fake = torch.tensor([log(3.0), 0.0]), torch.tensor([-log(3.0), log(3.0)])
    # D = 3/4, 1/2 on the real images, and 1/4, 3/4 on the generated ones.
    discriminator = -(log(3 / 4) + log(1 / 2)) / 2 - (log(3 / 4) + log(1 / 4)) / 2
    generator = -(log(1 / 4) + log(3 / 4)) / 2
    assert loss.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-6)
    assert loss.generator(fake).item() == pytest.approx(generator, rel=1e-6)
    assert loss.output(real).tolist() == pytest.approx([3 / 4, 1 / 2])


def test_it_is_binary_cross_entropy():
    random = torch.Generator().manual_seed(0)
    real, fake = (4 * torch.randn(100, generator=random) for _ in range(2))
    ones, zeros = torch.ones(100), torch.zeros(100)
    reference = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(loss.discriminator(real, fake), reference)
    torch.testing.assert_close(loss.generator(fake), binary_cross_entropy_with_logits(fake, ones))


def test_real_and_generated_batches_may_differ_in_size():
    assert loss.discriminator(torch.zeros(3), torch.zeros(7)).item() == pytest.approx(2 * log(2))


def test_limits_of_a_sure_discriminator():
    sure = torch.tensor([1000.0])
    assert loss.discriminator(sure, -sure).item() == 0
    assert loss.discriminator(-sure, sure).item() == 2000
    assert loss.generator(sure).item() == 0
    assert loss.generator(-sure).item() == 1000
    assert loss.discriminator(torch.tensor([-inf]), sure).item() == inf


def test_the_generator_still_learns_where_it_loses():
    fake = torch.tensor([-30.0], requires_grad=True)
    loss.generator(fake).backward()
    assert fake.grad.item() == pytest.approx(-1 / (1 + exp(-30)))


def test_gradients():
    random = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5, generator=random, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
