from math import exp, inf, log

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_augment.losses.adversarial import Hinge, LeastSquares, Minimax, NonSaturating, Relativistic, Wasserstein

LOSSES = [Minimax(), NonSaturating(), NonSaturating(0.1), LeastSquares(), Hinge(), Wasserstein(), Relativistic()]
NAMES = ["minimax", "non_saturating", "smoothed", "least_squares", "hinge", "wasserstein", "relativistic"]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
NOTHING = torch.empty(0)


def logits(*sizes):
    random = torch.Generator().manual_seed(0)
    return [4 * torch.randn(size, generator=random, dtype=torch.float64) for size in sizes]


def generator_slope(loss, fake, real=0.0):
    """Return the slope of the generator's loss in one logit on a generated image."""
    fake = torch.tensor([fake], dtype=torch.float64, requires_grad=True)
    loss.generator(fake, torch.tensor([real], dtype=torch.float64)).backward()
    return fake.grad.item()


# The logits below: D = 3/4, 1/2 on the real images and 1/4, 3/4 on the generated ones, where D = sigmoid(logit).
CROSS_ENTROPY = -(log(3 / 4) + log(1 / 2)) / 2 - (log(3 / 4) + log(1 / 4)) / 2


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator"),
    [
        (Minimax(), CROSS_ENTROPY, (log(3 / 4) + log(1 / 4)) / 2),
        (NonSaturating(), CROSS_ENTROPY, -(log(1 / 4) + log(3 / 4)) / 2),
        # Of the target on real images a fifth is moved to "generated": log D becomes .8 log D + .2 log(1 - D).
        (NonSaturating(0.2), CROSS_ENTROPY + 0.2 * (log(3 / 4) - log(1 / 4)) / 2, -(log(1 / 4) + log(3 / 4)) / 2),
        # (log 3 - 1)^2 and 1 on the real images; (1 - log 3)^2 and (1 + log 3)^2 on the generated ones.
        (LeastSquares(), (3 + 3 * log(3) ** 2 - 2 * log(3) + 1) / 4, log(3) ** 2 / 2),
        # 0 and 1 on the real images, as log 3 > 1; 0 and 1 + log 3 on the generated ones.
        (Hinge(), 1 / 2 + (1 + log(3)) / 2, 0),
        (Wasserstein(), 0 - log(3) / 2, 0),
        # The real image leads by 2 log 3 in the first pair, sigmoid 9/10, and by -log 3 in the second, sigmoid 1/4.
        (Relativistic(), -(log(9 / 10) + log(1 / 4)) / 2, -(log(1 / 10) + log(3 / 4)) / 2),
    ],
    ids=NAMES,
)
def test_numbers_worked_out_by_hand(loss, discriminator, generator):
    real, fake = torch.tensor([log(3.0), 0.0]), torch.tensor([-log(3.0), log(3.0)])
    assert loss.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-6)
    assert loss.generator(fake, real if loss.pairs else NOTHING).item() == pytest.approx(generator, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", [Minimax, NonSaturating])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_a_smoothed_target_on_real_images_alone(kind, smoothing):
    real, fake = logits(100, 100)
    reference = binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smoothing))
    reference += binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(kind(smoothing).discriminator(real, fake), reference)
    torch.testing.assert_close(kind(smoothing).output(real), torch.sigmoid(real))


def test_a_smoothed_target_is_where_the_discriminator_stops():
    real = torch.tensor([log(9.0)], requires_grad=True)  # D = 9/10
    NonSaturating(0.1).discriminator(real, torch.zeros(1)).backward()
    assert real.grad.item() == pytest.approx(0, abs=1e-7)


def test_the_minimax_generator_undoes_what_the_discriminator_gains_on_its_images():
    real, fake = logits(5, 5)
    loss, elsewhere = Minimax(), torch.full((5,), 3.0, dtype=torch.float64)
    gain = loss.discriminator(real, fake) - loss.discriminator(real, elsewhere)
    torch.testing.assert_close(loss.generator(elsewhere, NOTHING) - loss.generator(fake, NOTHING), gain)


@pytest.mark.parametrize(
    ("loss", "right", "wrong"),
    [
        (Minimax(), 0, 2000),
        (NonSaturating(), 0, 2000),
        (LeastSquares(), 999**2, 1001**2),  # it asks for 1, not for more
        (Hinge(), 0, 2002),
        (Wasserstein(), -2000, 2000),
        (Relativistic(), 0, 2000),
    ],
)
def test_limits_of_a_sure_discriminator(loss, right, wrong):
    sure = torch.tensor([1000.0])
    assert loss.discriminator(sure, -sure).item() == right
    assert loss.discriminator(-sure, sure).item() == wrong
    assert loss.discriminator(-sure, torch.tensor([inf])).item() == inf


@every_loss
@pytest.mark.parametrize("sign", [1, -1])
def test_nothing_overflows(loss, sign):
    real = torch.tensor([sign * 1000.0], requires_grad=True)
    fake = torch.tensor([sign * -1000.0], requires_grad=True)
    for value in (loss.discriminator(real, fake), loss.generator(fake, real)):
        assert value.isfinite()
        slopes = torch.autograd.grad(value, (real, fake), allow_unused=True)
        assert all(slope is None or slope.isfinite() for slope in slopes)


def test_where_the_discriminator_is_sure_the_saturating_generator_alone_stops_learning():
    assert generator_slope(Minimax(), -30.0) == pytest.approx(-exp(-30))
    assert generator_slope(NonSaturating(), -30.0) == pytest.approx(-1)
    assert generator_slope(Relativistic(), -30.0, real=0.0) == pytest.approx(-1)
    # Undecided, they learn at the same rate.
    assert generator_slope(Minimax(), 0.0) == generator_slope(NonSaturating(), 0.0) == -1 / 2


@every_loss
def test_which_way_the_players_pull_an_undecided_discriminator(loss):
    real, fake = torch.tensor([0.5], requires_grad=True), torch.tensor([-0.5], requires_grad=True)
    loss.discriminator(real, fake).backward()
    assert real.grad.item() < 0 < fake.grad.item()
    assert generator_slope(loss, -0.5) < 0


@pytest.mark.parametrize(("loss", "shift_free"), [(Relativistic(), True), (Wasserstein(), True), (Hinge(), False)])
def test_a_common_shift(loss, shift_free):
    real, fake = logits(20, 20)
    shifted = loss.discriminator(real + 3, fake + 3)
    assert torch.allclose(shifted, loss.discriminator(real, fake)) == shift_free
    if loss.pairs:
        torch.testing.assert_close(loss.generator(fake + 3, real + 3), loss.generator(fake, real))


def test_pairs_are_those_of_the_same_place():
    real, fake = torch.tensor([5.0, -5.0]), torch.tensor([-5.0, 5.0])
    loss = Relativistic()
    assert loss.discriminator(real, fake.flip(0)).item() == pytest.approx(log(2))
    assert loss.discriminator(real, fake).item() == pytest.approx((10 + 2 * log(1 + exp(-10))) / 2, rel=1e-6)


def test_the_players_of_the_relativistic_loss_mirror_each_other():
    real, fake = logits(20, 20)
    torch.testing.assert_close(Relativistic().generator(fake, real), Relativistic().discriminator(fake, real))


@pytest.mark.parametrize("sizes", [(3, 7), (1, 7), (7, 1), (0, 7)])
def test_pairs_need_as_many_real_images_as_generated_ones(sizes):
    real, fake = logits(*sizes)
    with pytest.raises(AssertionError, match="a single one would be broadcast"):
        Relativistic().discriminator(real, fake)
    with pytest.raises(AssertionError, match="a single one would be broadcast"):
        Relativistic().generator(fake, real)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not loss.pairs])
def test_the_others_take_batches_that_differ_in_size(loss):
    real, fake = logits(3, 7)
    # Each side is a mean of its own: images given twice change nothing.
    torch.testing.assert_close(loss.discriminator(real.repeat(2), fake), loss.discriminator(real, fake))
    torch.testing.assert_close(loss.discriminator(real, fake.repeat(3)), loss.discriminator(real, fake))
    torch.testing.assert_close(loss.generator(fake, NOTHING), loss.generator(fake, real))


@every_loss
def test_gradients(loss):
    real, fake = (player.requires_grad_() for player in logits(5, 5))
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake, real))


def test_what_the_training_has_to_know():
    assert [loss.pairs for loss in LOSSES] == [False, False, False, False, False, False, True]
    assert [loss.weight_clip for loss in LOSSES] == [None, None, None, None, None, 0.01, None]
    assert Wasserstein(weight_clip=None).weight_clip is None


@pytest.mark.parametrize("smoothing", [-0.1, 0.6, None])
def test_label_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match=rf"loss.label_smoothing={smoothing}: use a number from 0 to 0.5"):
        NonSaturating(smoothing)


@pytest.mark.parametrize("clip", [0, -0.01, 2])
def test_a_clip_out_of_range_is_refused(clip):
    with pytest.raises(ValueError, match=rf"loss.weight_clip={clip}: use a number above 0 and at most 1"):
        Wasserstein(clip)
