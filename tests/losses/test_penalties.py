import pytest
import torch
from torch import nn

from gan_augment.losses.penalties import Penalties, gradient_penalty, zero_centred

WEIGHTS = torch.tensor([1.0, 2.0, -2.0, 4.0])  # of length 5


def linear(images):
    """Score `[B, 1, 2, 2]` with a slope of 5 everywhere."""
    return images.flatten(1) @ WEIGHTS + 7


def quadratic(images):
    """Score by 1/2 ||x||^2, whose gradient is x."""
    return images.flatten(1).square().sum(dim=1) / 2


def curved(first, second):
    """Return a critic with one hidden layer, from its weights."""
    return lambda images: torch.tanh(images.flatten(1) @ first) @ second


def images(seed, dtype=torch.float32):
    return torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


REAL, FAKE, MIX = images(0), images(1), torch.rand(6, generator=torch.Generator().manual_seed(2))


def test_linear_critics():
    assert gradient_penalty(linear, REAL, FAKE, MIX).item() == pytest.approx((5 - 1) ** 2)
    assert zero_centred(linear, REAL).item() == pytest.approx(5**2 / 2)
    # Half the slope the target asks for costs too, and a flat critic costs 1: two-sided.
    assert gradient_penalty(lambda batch: linear(batch) / 10, REAL, FAKE, MIX).item() == pytest.approx((0.5 - 1) ** 2)
    assert gradient_penalty(lambda batch: 0 * linear(batch), REAL, FAKE, MIX).item() == 1


@pytest.mark.parametrize(("mix", "expected"), [(1.0, (4 - 1) ** 2), (0.0, (10 - 1) ** 2), (0.5, (7 - 1) ** 2)])
def test_where_the_gradient_penalty_looks(mix, expected):
    # The quadratic critic's slope is the length of the image: 4 for the real ones here, 10 for the generated ones.
    real, fake = torch.full((3, 1, 2, 2), 2.0), torch.full((3, 1, 2, 2), 5.0)
    assert gradient_penalty(quadratic, real, fake, torch.full((3,), mix)).item() == pytest.approx(expected)


def test_every_image_has_a_draw_of_its_own():
    real, fake = torch.full((2, 1, 2, 2), 2.0), torch.full((2, 1, 2, 2), 5.0)
    found = gradient_penalty(quadratic, real, fake, torch.tensor([0.0, 1.0]))
    assert found.item() == pytest.approx(((10 - 1) ** 2 + (4 - 1) ** 2) / 2)


def test_zero_centred_is_the_mean_over_images():
    lengths = torch.tensor([1.0, 3.0])
    batch = lengths.view(2, 1, 1, 1) * torch.tensor([0.6, 0.8]).view(1, 2, 1, 1)
    assert zero_centred(quadratic, batch).item() == pytest.approx((1 / 2 + 9 / 2) / 2)


def test_gradients_in_the_weights_against_finite_differences():
    random = torch.Generator().manual_seed(3)
    first = torch.randn(4, 3, generator=random, dtype=torch.float64, requires_grad=True)
    second = torch.randn(3, generator=random, dtype=torch.float64, requires_grad=True)
    real, fake, mix = images(0, torch.float64), images(1, torch.float64), MIX.double()
    assert torch.autograd.gradcheck(lambda *w: gradient_penalty(curved(*w), real, fake, mix), (first, second))
    assert torch.autograd.gradcheck(lambda *w: zero_centred(curved(*w), real), (first, second))


@pytest.mark.parametrize("weights", [{"gradient_penalty": 1.0}, {"r1": 1.0}, {"r2": 1.0}])
def test_they_reach_every_weight_of_the_critic_and_nothing_else(weights):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden, last = nn.Conv2d(1, 3, 2), nn.Linear(3, 1)
    critic = nn.Sequential(hidden, nn.Tanh(), nn.Flatten(), last, nn.Flatten(0))
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    Penalties(**weights)(critic, real, fake, MIX).backward()
    assert all(parameter.grad.any() for parameter in (*hidden.parameters(), last.weight))
    assert last.bias.grad is None or not last.bias.grad.any()  # a shift of all logits has no slope
    assert real.grad is None
    assert fake.grad is None


def test_a_flat_critic_leaves_its_weights_finite():
    layer = nn.Linear(4, 1)
    nn.init.zeros_(layer.weight)
    Penalties(gradient_penalty=1, r1=1, r2=1)(
        nn.Sequential(nn.Flatten(), layer, nn.Flatten(0)), REAL, FAKE, MIX
    ).backward()
    assert layer.weight.grad.isfinite().all()


def test_each_penalty_at_its_weight():
    # Of the quadratic critic, at images whose length is 4 where real and 10 where generated, and 7 half way.
    batches = torch.full((3, 1, 2, 2), 2.0), torch.full((3, 1, 2, 2), 5.0), torch.full((3,), 0.5)
    assert Penalties(gradient_penalty=10)(quadratic, *batches).item() == pytest.approx(10 * 36)
    assert Penalties(r1=0.5)(quadratic, *batches).item() == pytest.approx(0.5 * 8)
    assert Penalties(r2=2)(quadratic, *batches).item() == pytest.approx(2 * 50)
    together = Penalties(gradient_penalty=10, r1=0.5, r2=2, interval=4)
    assert together(quadratic, *batches).item() == pytest.approx(4 * (360 + 4 + 100))
    assert Penalties()(quadratic, *batches).item() == 0


@pytest.mark.parametrize("interval", [1, 4, 16])
def test_a_lazy_interval_keeps_the_mean(interval):
    penalties = Penalties(r1=2, interval=interval)
    due = [step for step in range(32) if penalties.are_due(step)]
    assert len(due) == 32 / interval
    assert sum(penalties(linear, REAL, FAKE, MIX).item() for _ in due) / 32 == pytest.approx(2 * 5**2 / 2)


def test_without_a_weight_none_is_due():
    assert not Penalties(interval=4).are_on
    assert not any(Penalties(interval=4).are_due(step) for step in range(8))
    assert all(Penalties(**{name: 0.1}).are_on for name in ("gradient_penalty", "r1", "r2"))


def test_they_are_computed_in_float32_under_autocast():
    layer = nn.Linear(4, 1)
    seen = []

    def critic(batch):
        scores = layer(batch.flatten(1)).flatten()
        seen.append(scores.dtype)
        return scores

    penalties = Penalties(gradient_penalty=1, r1=1, r2=1)
    expected = penalties(critic, REAL.bfloat16(), FAKE.bfloat16(), MIX)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(REAL.flatten(1)).dtype == torch.bfloat16
        found = penalties(critic, REAL.bfloat16(), FAKE.bfloat16(), MIX)
    assert set(seen) == {torch.float32}
    assert found.dtype == torch.float32
    assert found.item() == expected.item()


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("gradient_penalty", -1, "a number from 0 to 10000"),
        ("r1", "strong", "a number from 0 to 10000"),
        ("r2", float("nan"), "a number from 0 to 10000"),
        ("interval", 0, "a whole number of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting, value, remedy):
    with pytest.raises(ValueError, match=f"penalty.{setting}={value}: use {remedy}"):
        Penalties(**{setting: value})
