import pytest

from gan_augment.records.aliases import READS, reads_of, renewed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"gan": "default", "gan.decay": True}, {"generator": "gan", "generator.decay": True}),
        (
            {"gan.judge_every": 10000, "gan.best_by": "null"},
            {"measures.judge.every": 10000, "measures.judge.best_by": "null"},
        ),
        ({"judge": "default", "judge.num_steps": 600}, {"measures.judge.num_steps": 600}),
        ({"judge.network.channels": 32}, {"measures.judge.network.channels": 32}),
        ({"augmentation.learner": "classifier"}, {"augmentation.method": "classifier"}),
        ({"labels_per_class": 5, "label_fraction": "null"}, {"labels": 5}),
        ({"labels_per_class": "all", "label_fraction": None}, {"labels": "all"}),
        ({"labels_per_class": "null", "label_fraction": 0.1}, {"labels": "10%"}),
        ({"labels_per_class": None, "label_fraction": 0.125}, {"labels": "12.5%"}),
        ({"conditioning": "pseudo_label"}, {"conditioning": "none"}),
        ({"loss": "relativistic_points"}, {"loss": "relativistic"}),
        ({"penalty": "r1_r2_points", "penalty.r1": 0.02}, {"penalty": "r1_r2", "penalty.r1": 0.02}),
    ],
    ids=str,
)
def test_old_factors_are_read_under_their_present_names(old, new):
    assert renewed(old) == new


def test_present_names_and_nulls_stay_as_they_are():
    factors = {"generator": "gan", "generator.decay": None, "labels": "10%", "loss": None, "seeds.gan": 0}
    factors |= {"measures.judge.every": "null", "augmentation": "gan", "augmentation.method": "classifier"}
    assert renewed(factors) == factors


def test_names_that_only_begin_like_an_old_one_stay_as_they_are():
    factors = {"gander": 1, "judgement.every": 2, "labels_per_class_max": 3, "seeds.gan": 4}
    assert renewed(factors) == factors


def test_a_record_names_what_its_stages_read_and_an_old_one_has_what_was_so_then():
    assert reads_of({"provenance": {"reads": {"gan": ["generator", "loss"]}}}) == {"gan": ("generator", "loss")}
    assert reads_of({"provenance": {}}) == reads_of({}) == READS
