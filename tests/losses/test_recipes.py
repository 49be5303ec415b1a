"""What a loss brings along: penalty, optimizers and discriminator steps, which the command line overrides."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gan_augment.app import CONF
from gan_augment.losses.adversarial import AdversarialLoss
from gan_augment.losses.penalties import Penalties
from gan_augment.plan import plan_trial
from gan_augment.settings import build

LOSSES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))
WGAN, BOUNDED = "loss=wasserstein", "architecture.spectral_norm=true"
PENALTIES = sorted(path.stem for path in (CONF / "penalty").glob("*.yaml"))


def composed(*overrides):
    with initialize_config_dir(str(CONF)):
        return compose("config", overrides=list(overrides))


def weights(config):
    return config.penalty.gradient_penalty, config.penalty.r1, config.penalty.r2


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_built_and_changes_known_settings_alone(loss):
    plain, config = (OmegaConf.to_container(composed(*overrides)) for overrides in ((), (f"loss={loss}",)))
    assert isinstance(build(config["loss"], "loss", AdversarialLoss), AdversarialLoss)
    assert [set(config), set(config["generator"])] == [set(plain), set(plain["generator"])]
    known = {"loss", "generator", "penalty", "spectral_norm"}
    assert {group for group in plain if config[group] != plain[group]} <= known


@pytest.mark.parametrize("penalty", PENALTIES)
def test_every_penalty_is_built(penalty):
    built = build(composed(f"penalty={penalty}").penalty, "penalty", Penalties)
    assert (built.are_on, built.diversity > 0) == (penalty not in ("none", "diversity"), penalty == "diversity")


def test_another_loss_on_a_toy_density_keeps_the_penalties_of_the_recipe_until_told_otherwise():
    assert weights(composed("experiment=grid")) == (0, 0.02, 0.02)
    assert weights(composed("experiment=grid", "loss=minimax")) == (0, 0.02, 0.02)
    assert weights(composed("experiment=grid", "loss=minimax", "penalty.r1=0", "penalty.r2=0")) == (0, 0, 0)


def test_what_the_losses_bring_along():
    config = composed("loss=wasserstein_gp")
    assert (config.generator.discriminator_steps, config.generator.betas) == (5, [0, 0.9])
    assert (config.loss.weight_clip, *weights(config)) == (None, 10, 0, 0)
    assert weights(composed("loss=relativistic")) == (0, 1, 1)
    assert weights(composed("loss=wasserstein")) == (0, 0, 0)


@pytest.mark.parametrize("architecture", ["dcgan", "mlp", "resnet"])
@pytest.mark.parametrize(("loss", "bounded"), [("hinge", True), ("wasserstein", False), ("wasserstein_gp", False)])
def test_losses_that_bound_the_slope_themselves_do_without_spectral_norm(architecture, loss, bounded):
    assert composed(f"architecture={architecture}", f"loss={loss}").architecture.spectral_norm == bounded


@pytest.mark.parametrize("architecture", ["points", "r3gan"])
def test_a_loss_adds_no_setting_to_architectures_without_spectral_norm(architecture):
    plain, config = composed(f"architecture={architecture}"), composed(f"architecture={architecture}", WGAN)
    assert config.architecture == plain.architecture


@pytest.mark.parametrize("architecture", ["dcgan", "r3gan", "resnet"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_planned_with_every_architecture(plain_settings, architecture, loss):
    factors = plan_trial(plain_settings(f"architecture={architecture}", f"loss={loss}")).factors
    assert factors["loss"] == loss
    assert "spectral_norm" not in factors  # the default of another setting, as `seed`


def test_spectral_norm_that_the_loss_undoes_is_refused_before_anything_trains(plain_settings):
    for overrides in ((WGAN, BOUNDED), (BOUNDED, WGAN)):
        with pytest.raises(ValueError, match=r"^loss.weight_clip=0.01: spectral norm scales clipped weights up again"):
            plan_trial(plain_settings(*overrides))
    plan_trial(plain_settings(WGAN, BOUNDED, "loss.weight_clip=null"))


def test_what_the_projected_gan_brings_along():
    config = composed("architecture=projected")
    rates = config.generator.discriminator_learning_rate, config.generator.generator_learning_rate
    assert (rates, config.generator.betas) == ((0.0005, 0.0005), [0.0, 0.99])  # not those of the hinge loss
    assert config.loss._target_.endswith(".Hinge")
    assert (config.penalty.diversity, weights(config)) == (5, (0, 0, 0))
    assert (config.discriminator_augmentation.group, config.discriminator_augmentation.flip) == (8, False)
    assert composed("architecture=projected", "data=cifar10").discriminator_augmentation.flip
    assert not composed("architecture=projected", "data=ring").discriminator_augmentation.flip  # points have none
    other = composed("architecture=projected", "loss=non_saturating", "penalty=none", "generator.betas=[0.5,0.9]")
    assert (other.loss._target_.rpartition(".")[2], other.generator.betas) == ("NonSaturating", [0.5, 0.9])
    assert "diversity" not in other.penalty


def test_the_command_line_wins():
    config = composed("loss=wasserstein_gp", "generator.betas=[0.5,0.9]", "penalty.r1=1")
    assert (config.generator.betas, weights(config)) == ([0.5, 0.9], (10, 1, 0))
    for overrides in (("loss=wasserstein_gp", "penalty=none"), ("penalty=none", "loss=wasserstein_gp")):
        config = composed(*overrides)
        assert build(config.penalty, "penalty", Penalties) == Penalties()
        assert config.generator.discriminator_steps == 5
    assert weights(composed("penalty=r1", "loss=hinge")) == (0, 10, 0)
