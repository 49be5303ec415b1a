import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

from conftest import TINY
from gan_augment import composing
from gan_augment.adaptive import check_search


class Adaptive(Sweeper):
    """Chooses its trials as it goes: here it has none."""

    def __init__(self, direction, params=None, ax_config=None):
        self.direction = direction

    def setup(self, *, hydra_context, task_function, config):
        self.config = config

    def sweep(self, arguments):
        """Say that the launch was allowed."""
        print("searching")


@pytest.fixture(autouse=True)
def _adaptive():
    """Register the sweeper, as an installed plugin of Hydra would."""
    Plugins.instance()  # registers those that are installed
    repo = ConfigStore.instance().repo["hydra"]["sweeper"]
    node = {"_target_": f"{__name__}.Adaptive", "direction": "minimize", "params": None, "ax_config": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="adaptive", node=node)
    Plugins.instance().register(Adaptive)
    composing.installed.cache_clear()
    yield
    del repo["adaptive.yaml"]
    composing.installed.cache_clear()


RATE = "classifier.learning_rate=choice(0.001,0.01)"


@pytest.fixture
def search(cli, tmp_path):
    return lambda *settings: cli("-m", *TINY, "hydra/sweeper=adaptive", *settings, f"paths.output_dir={tmp_path}")


@pytest.mark.parametrize(
    ("settings", "sweeper", "searched"),
    [
        (["seed=range(0,5)"], {}, "seed"),
        (["seeds.gan=choice(0,5)"], {}, "seeds.gan"),
        (["augmentation=none,gan"], {}, "augmentation"),
        (["augmentation.share=choice(0.2,0.5)"], {}, "augmentation.share"),
        (["data=digits,ring"], {}, "data"),
        (["data.test_share=choice(0.1,0.2)"], {}, "data.test_share"),
        (["labels=5,all"], {}, "labels"),
        (["+imbalance.share=interval(0.1,0.2)"], {}, "imbalance.share"),
        (["validation_per_class=choice(5,10)"], {}, "validation_per_class"),
        (["open_test=true,false"], {}, "open_test"),
        (["study=a,b"], {}, "study"),
        (["experiment=digits,losses"], {}, "experiment"),
        ([], {"params": {"seed": "range(0,5)"}}, "seed"),
        (["seed=0"], {"params": {"seed": "range(0,5)", "augmentation": "none,gan"}}, "augmentation"),
        ([], {"ax_config": {"params": {"labels": {"type": "range"}}}}, "labels"),
        ([], {"search_space": {"seeds.split": {"type": "int"}}}, "seeds.split"),
    ],
)
def test_a_search_for_luck_is_refused(settings, sweeper, searched):
    with pytest.raises(
        ValueError, match=f"^hydra/sweeper=adaptive would search over {searched}, and find luck instead "
    ):
        check_search(launch(settings, sweeper))


def launch(settings, sweeper, open_test=False):
    """Return what `check_search` reads of a configuration."""
    hydra = {"runtime": {"choices": {"hydra/sweeper": "adaptive"}}, "overrides": {"task": settings}, "sweeper": sweeper}
    return OmegaConf.create({"open_test": open_test, "hydra": hydra})


@pytest.mark.parametrize(
    ("settings", "sweeper"),
    [
        (["seed=1", "augmentation=gan", RATE], {"params": {"seed": "range(0,5)", "augmentation": "none,gan"}}),
        (["data.classical.shift=choice(0,0.1)", "loss=hinge,minimax"], {"params": {"seed": 5, "labels": "10"}}),
        (
            [],
            {
                "ax_config": {
                    "params": {"classifier.learning_rate": {"type": "range"}},
                    "experiment": {"minimize": False},
                }
            },
        ),
        ([], {"optim": {"maximize": True}, "parametrization": {"loss": ["hinge", "minimax"]}}),
    ],
)
def test_a_search_for_settings_is_not(settings, sweeper):
    check_search(launch(settings, sweeper))


@pytest.mark.parametrize(
    ("sweeper", "now", "remedy"),
    [
        ({"direction": "minimize"}, "direction=minimize", "direction=maximize"),
        ({"optim": {"maximize": False}}, "optim.maximize=False", "optim.maximize=True"),
        ({"ax_config": {"experiment": {"minimize": True}}}, "ax_config.experiment.minimize=True", "minimize=False"),
    ],
)
def test_a_search_for_the_worst_is_refused(sweeper, now, remedy):
    with pytest.raises(ValueError, match=rf"^hydra\.sweeper\.{now}, but a trial returns an accuracy: set .*{remedy}$"):
        check_search(launch([], sweeper))


def test_a_search_never_opens_the_test_images():
    with pytest.raises(
        ValueError, match=r"^open_test=True, but hydra/sweeper=adaptive tries many .*: set open_test=false"
    ):
        check_search(launch([], {}, open_test=True))


def test_the_remedies_lead_to_a_search(search):
    """A recipe sweeps seeds and arms: each one that is named gets one value, then the test images and the direction."""
    settings = ["experiment=digits", RATE]
    for words, remedy in [
        ("set open_test=false", "open_test=false"),
        ("give seed one value", "seed=100"),
        ("give augmentation one value", "augmentation=none"),
        ("set hydra.sweeper.direction=maximize", "hydra.sweeper.direction=maximize"),
    ]:
        assert words in search(*settings).err
        settings.append(remedy)
    assert "searching" in search(*settings).out
