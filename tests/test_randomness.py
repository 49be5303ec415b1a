import pytest
import torch

from gan_augment.randomness import Stream, initialised, seed_global, stream_seed


def test_a_draw_does_not_depend_on_what_was_drawn_before():
    fresh = torch.randn(5, generator=Stream(3, "latent").at(7))
    used = Stream(3, "latent")
    for step in (0, 9, 7):
        torch.randn(100, generator=used.at(step))
    assert torch.equal(torch.randn(5, generator=used.at(7)), fresh)


@pytest.mark.parametrize("other", [(4, "latent", 7), (3, "order", 7), (3, "latent", 8)])
def test_seed_name_and_step_each_make_another_draw(other):
    seed, name, step = other
    one = torch.randn(5, generator=Stream(3, "latent").at(7))
    assert not torch.equal(torch.randn(5, generator=Stream(seed, name).at(step)), one)


def test_seeds_of_many_streams_are_distinct_and_fit_a_generator():
    seeds = {stream_seed(seed, name, step) for seed in range(20) for name in ("a", "a/1", "b") for step in range(20)}
    assert len(seeds) == 20 * 3 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_global_stream_is_seeded_as_torch_does_it():
    torch.manual_seed(123)
    expected = torch.rand(5)
    seed_global(123, torch.device("cpu"))
    assert torch.equal(torch.rand(5), expected)


def test_initialised_weights_depend_on_seed_and_stream_alone():
    def build():
        return torch.nn.Linear(4, 4)

    torch.manual_seed(1)
    one = initialised(build, 0).weight
    torch.manual_seed(2)
    assert torch.equal(initialised(build, 0).weight, one)
    assert not torch.equal(initialised(build, 1).weight, one)
    assert not torch.equal(initialised(build, 0, "init/other").weight, one)


def test_initialised_leaves_the_global_random_state_as_it_was():
    before = torch.get_rng_state()
    initialised(lambda: torch.nn.Linear(4, 4), 0)
    assert torch.equal(torch.get_rng_state(), before)
