import pytest
from rich.console import Console
from test_page import record, study

from gan_augment.report.page import write_report
from gan_augment.report.terminal import print_report
from gan_augment.report.trials import collect

TOLD = {"usable": 0, "told_apart": 1.0, "told_apart_of": 60, "variety": 0.9}
LINE = (
    "The generator's images are not usable yet (100 % are told from real ones): train longer (generator.images_seen), "
    "and look at samples.png first. Verdicts on accuracy are on this generator."
)


def examined(arm, seed, metrics, **factors):
    """Make the record of a trial whose generated images were examined."""
    one = record(arm, seed, 0.8 if arm == "none" else 0.7, **factors)
    one["metrics"]["gan"] = metrics
    one["warnings"] = [LINE.partition(". V")[0]] if metrics.get("usable") == 0 else []
    return one


def printed(folder, records):
    """Return what the report prints, line by line."""
    study(folder, records)
    console = Console(width=400, record=True)
    print_report(collect([folder]), console)
    return console.export_text().splitlines()


def two_arms(of_gan):
    return [examined(arm, seed, of_gan(seed) if arm == "gan" else {}) for arm in ("none", "gan") for seed in range(6)]


def test_images_that_are_not_usable_come_first(tmp_path):
    lines = printed(tmp_path / "digits", two_arms(lambda seed: TOLD))
    assert lines[0].strip() == LINE
    assert sum("not usable yet" in line for line in lines) == 1
    assert any(line.startswith("gan against none, with this generator: ") for line in lines)
    page = write_report([tmp_path / "digits"]).read_text()
    said = LINE.replace("'", "&#39;")
    assert page.count("not usable yet") == 1
    assert 0 < page.index(said) < page.index("gan against none, with this generator: ")


@pytest.mark.parametrize("metrics", [TOLD | {"usable": 1}, {"usable": None}, {}], ids=["yes", "refused", "unexamined"])
def test_usable_and_unexamined_images_are_no_news(tmp_path, metrics):
    lines = printed(tmp_path / "digits", two_arms(lambda seed: metrics))
    assert not any("not usable" in line or "this generator" in line for line in lines)


def test_a_generator_is_as_most_of_its_trials(tmp_path):
    lines = printed(tmp_path / "most", two_arms(lambda seed: TOLD if seed else {"usable": 1}))
    assert "(5 of 6 trials: 100 % are told from real ones)" in lines[0]
    lines = printed(tmp_path / "few", two_arms(lambda seed: {"usable": 1} if seed else TOLD))
    assert not any("not usable" in line for line in lines)


def test_each_of_several_generators_is_named(tmp_path):
    records = [examined("none", seed, {}) for seed in range(6)]
    for loss, metrics in (("hinge", TOLD), ("wasserstein", {"usable": 1})):
        records += [examined("gan", seed, metrics, loss=loss) for seed in range(6)]
    lines = printed(tmp_path / "digits", records)
    assert lines[0].startswith("The images of gan (loss=hinge) are not usable yet (100 % ")
    (verdict,) = [line for line in lines if " against none" in line]  # on the best by the validation images: the first
    assert verdict.startswith("gan (loss=hinge) against none, the best of 2 settings")
    assert ", with this generator: " in verdict


def test_a_generator_that_several_configurations_share_is_examined_if_any_of_them_was(tmp_path):
    records = []
    for classifier, metrics in (("cnn", {}), ("probe", TOLD)):
        records += [examined("none", seed, {}, classifier=classifier) for seed in range(6)]
        for seed in range(6):
            one = examined("gan", seed, metrics, classifier=classifier)
            one["provenance"]["stages"] = {"gan": f"trained{seed}"}
            records.append(one)
    assert printed(tmp_path / "digits", records)[0].strip() == LINE


def test_given_images_are_one_set_whatever_their_share(tmp_path):
    records = [examined("none", seed, {}) for seed in range(6)]
    for share in (0.1, 0.5):
        for seed in range(6):
            one = examined("given", seed, TOLD, **{"augmentation.share": share})
            one["provenance"]["stages"] = {"synthesis": "files"}
            records.append(one)
    lines = printed(tmp_path / "digits", records)
    assert sum("not usable yet" in line for line in lines) == 1
