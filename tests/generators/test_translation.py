from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_augment.app import CONF
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.batches import Batch
from gan_augment.data.image_set import ImageSet, ImageShape, from_float, to_float
from gan_augment.extras.class_mates import ClassMates
from gan_augment.extras.style import Style
from gan_augment.extras.translated import Translated
from gan_augment.generators import translation
from gan_augment.generators.translation import TrainTranslator, TranslatorStart, class_mates, with_prior
from gan_augment.generators.translation_design import WEIGHTS, TranslationSettings
from gan_augment.generators.translation_training import Domain, Translation
from gan_augment.losses.content import style_distance
from gan_augment.networks.translator import STYLES, statistics
from gan_augment.randomness import Stream
from gan_augment.settings import build
from gan_augment.stages import Stage, StageStore

SMALL = {"images_seen": 160, "batch_size": 8, "ema_half_life": 40}
UNPAIRED = ("cut", "fastcut", "cyclegan", "pixel_da", "style")
MEMBERS = (*UNPAIRED, "pix2pix", "class_mates", "super_resolution")


def node_of(member="cut", **changes):
    """Read a small row of conf/translation/."""
    node = yaml.safe_load((CONF / "translation" / "cut.yaml").read_text())
    small = node["translator"] | {"channels": 4, "blocks": 2}
    node |= yaml.safe_load((CONF / "translation" / f"{member}.yaml").read_text())
    node.pop("defaults", None)
    node["translator"] = small | {
        "residual": member != "pix2pix",
        "latents": 16 * (member in ("class_mates", "pixel_da")),
        "styled": member == "style",
    }
    node["discriminator"] = node["discriminator"] | {"channels": 4}
    return node | SMALL | changes


@pytest.fixture
def lay_out(image_set, cpu):
    """Lay out a stage; the second domain is the first in negative."""

    def make(member="cut", **changes):
        settings = build(
            node_of(member, **{"task": 0.0, "match_prior": False} | changes), "translation", TranslationSettings
        )
        others = image_set(per_class=12, seed=2)
        pool = replace(others, images=255 - others.images).without_labels()
        sets = {"pool": pool} if settings.examples == "domains" else {}
        if settings.examples == "pairs":
            sets = {"pool": pool, "partners": others.without_labels()}
        if settings.examples == "low_resolution":
            sets = {"pool": pool, "degrading": Degrading(2, "area")}
        return TrainTranslator(labelled=image_set(), settings=settings, seed=3, hardware=cpu, **sets)

    return make


@pytest.mark.parametrize("member", MEMBERS)
def test_each_translator_trains_and_draws_its_curves_and_pictures(lay_out, tmp_path, member):
    stage = lay_out(member)
    stage.check()
    folder = StageStore(tmp_path).fetch(stage).folder
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {*Translation.CURVES} == {*events.Tags()["scalars"]}  # and no diversity of translations
    assert events.Tags()["images"] == ["samples"]
    ended = {name: events.Scalars(f"content/{name}")[-1].value for name in WEIGHTS}
    used = {name for name in WEIGHTS if getattr(stage.settings, name)}
    assert {name for name, value in ended.items() if value} == used
    found = stage.findings(folder).metrics["translation"]["training"]
    assert found["content_cycle"] == pytest.approx(ended["cycle"])
    made = Translated(stage).images(stage.labelled, {"translator": folder}, seed=0)
    assert made.labels.equal(stage.labelled.labels)
    assert made.images.dtype == torch.uint8
    assert not made.images.equal(stage.labelled.images)
    assert made.images.equal(Translated(stage).images(stage.labelled, {"translator": folder}, seed=1).images)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("shape", [(4, 31, 47), (3, 8, 8)], ids=str)
@pytest.mark.parametrize("member", ["cut", "style", "super_resolution"])
def test_images_of_any_shape_train_in_both_precisions(lay_out, tmp_path, member, shape, precision):
    stage = lay_out(member, images_seen=16)
    random = torch.Generator().manual_seed(0)
    sets = {
        name: replace(some, images=torch.randint(0, 256, (len(some), *shape), dtype=torch.uint8, generator=random))
        for name, some in stage.image_sets.items()
    }
    stage = replace(stage, **sets, hardware=replace(stage.hardware, precision=precision))
    stage.check()
    made = stage.load(StageStore(tmp_path).fetch(stage).folder).translate(stage.labelled)
    assert made.shape == ImageShape(*shape)
    assert not made.images.equal(stage.labelled.images)


def test_translations_get_the_look_of_the_pool(lay_out, tmp_path):
    stage = lay_out("fastcut", images_seen=2400, patch_nce=0.0, learning_rate=0.002)
    dark, bright = (replace(some, images=some.images // 4) for some in (stage.labelled, stage.pool))
    bright = replace(bright, images=255 - bright.images)
    stage = replace(stage, labelled=dark, pool=bright)
    made = Translated(stage).images(dark, {"translator": StageStore(tmp_path).fetch(stage).folder}, seed=0)
    levels = [float(some.images.float().mean()) for some in (dark, made, bright)]
    assert levels[1] - levels[0] > 0.8 * (levels[2] - levels[0])


@pytest.fixture
def lay_out_step(lay_out, image_set):
    """Lay out the training of a row with a linear teacher, and a batch of both domains."""
    labels = torch.arange(3).repeat_interleave(2)
    images = image_set(per_class=2).images.float() / 127.5 - 1

    def make(member, **weights):
        stage = lay_out(member, **weights)
        torch.manual_seed(0)
        teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).requires_grad_(False)
        domains = [Domain(stage.settings, ImageShape(1, 8, 8), 3) for _ in range(2)]
        source = domains[1] if stage.settings.cycle else None
        styles = stage.pool.images[torch.arange(STYLES) % len(stage.pool)] if stage.settings.style else None
        more = {"degrading": stage.degrading, "styles": styles}
        system = Translation(domains[0], source, teacher, stage.settings, stage.labelled, seed=0, **more)
        optimizers = system.configure_optimizers()
        system.optimizers_at = lambda *rates: optimizers
        system.draws = {name: Stream(0, name) for name in Translation.STREAMS}
        if stage.settings.is_paired:
            both = images if stage.degrading else torch.cat([images, -images], dim=1)
            return system, Batch(both, torch.full((6,), -1), {"pairs": slice(0, 6)})
        both, parts = torch.cat([images, -images]), {"labelled": slice(0, 6), "pool": slice(6, 12)}
        return system, Batch(both, torch.cat([labels, torch.full((6,), -1)]), parts)

    return make


@pytest.mark.parametrize("member", MEMBERS)
def test_a_step_trains_every_player_and_leaves_the_teacher(lay_out_step, member):
    system, batch = lay_out_step(member, **({"task": 1.0} if member in UNPAIRED else {}))
    torch.nn.init.normal_(system.target.translator.end[-1].weight)  # at 0 no other weight has a gradient
    if system.source is not None:
        torch.nn.init.normal_(system.source.translator.end[-1].weight)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    system.training_step(batch, 0)
    same = {name for name, value in system.state_dict().items() if value.equal(before[name])}
    # Of a layer with one output, the vector of spectral norm is 1; features of styles do not learn.
    same = {name for name in same if not name.endswith(("_u", ".styles")) and not name.startswith("style_f")}
    assert same == {"teacher.1.weight", "teacher.1.bias", "finite"}


@pytest.mark.parametrize(
    ("member", "weights"),
    [
        ("cut", {"patch_nce": 2.0, "identity_mapping": 3.0, "task": 5.0}),
        ("cyclegan", {"cycle": 2.0, "identity_mapping": 3.0, "task": 5.0}),
        ("style", {"patch_nce": 2.0, "style": 3.0, "task": 5.0}),
    ],
)
def test_the_losses_of_a_step_by_hand(lay_out_step, member, weights):
    system, batch = lay_out_step(member, **weights)
    for domain in system.domains:
        torch.nn.init.normal_(domain.translator.end[-1].weight)
    system.eval()  # spectral norm stays as it is
    known, pool, target, source = batch.labelled, batch.pool.images, system.target, system.source
    with torch.no_grad():
        latents = target.translator.style(pool) if target.translator.styled else None
        there = target.translator(known.images, latents)
        pairs = [(target, pool, there)] + ([(source, known.images, source(pool))] if source else [])
        scores = [(one.discriminator(real), one.discriminator(made)) for one, real, made in pairs]
        judged = sum((real - 1).square().mean() / 2 + (made + 1).square().mean() / 2 for real, made in scores)
        fooled = sum(made.square().mean() / 2 for _, made in scores)
        terms = {"task": torch.nn.functional.cross_entropy(system.teacher(there), known.labels)}
        if source:
            terms["cycle"] = (source(there) - known.images).abs().mean() + (target(source(pool)) - pool).abs().mean()
            kept = (target(pool) - pool).abs().mean(), (source(known.images) - known.images).abs().mean()
            terms["identity_mapping"] = sum(kept)
        else:
            terms["patch_nce"] = system.contrast(target.translator.maps(known.images), there, 0)
        if "style" in weights:
            looks = [[statistics(one) for one in system.style_features.maps(images)] for images in (there, pool)]
            terms["style"] = style_distance(*looks)
        elif not source:
            terms["identity_mapping"] = system.contrast(target.translator.maps(pool), target(pool), 0)
            assert terms["patch_nce"] != terms["identity_mapping"]
    losses = []
    system.minimise = lambda loss, optimizer: losses.append(loss.detach())
    system.training_step(batch, 0)
    expected = fooled + sum(weights[name] * term for name, term in terms.items())
    torch.testing.assert_close(losses, [judged, expected])


@pytest.mark.parametrize("member", ["cut", "cyclegan"])
def test_discriminators_receive_classes(lay_out_step, member):
    system, batch = lay_out_step(member, class_conditional=True, match_prior=True)
    labels = torch.tensor([2, 1, 0, 0, 1, 2])  # of the pool, as a teacher sees them
    batch = batch._replace(labels=torch.cat([batch.labelled.labels, labels]))
    for domain in system.domains:
        torch.nn.init.normal_(domain.translator.end[-1].weight)
    system.eval()
    known, pool, target, source = batch.labelled, batch.pool.images, system.target, system.source

    def judge(domain, images, classes):
        planes = torch.eye(3)[classes][:, :, None, None].expand(-1, -1, 8, 8)
        return domain.discriminator(torch.cat([images, planes], dim=1))

    with torch.no_grad():
        scores = [(judge(target, pool, labels), judge(target, target(known.images), known.labels))]
        if source is not None:
            scores.append((judge(source, known.images, known.labels), judge(source, source(pool), labels)))
        judged = sum((real - 1).square().mean() / 2 + (made + 1).square().mean() / 2 for real, made in scores)
    losses = []
    system.minimise = lambda loss, optimizer: losses.append(loss.detach())
    system.training_step(batch, 0)
    torch.testing.assert_close(losses[0], judged)


@pytest.mark.parametrize("conditional", [True, False])
def test_the_losses_of_a_step_with_pairs_by_hand(lay_out_step, conditional):
    system, batch = lay_out_step("pix2pix", l1=7.0, conditional=conditional)
    torch.nn.init.normal_(system.target.translator.end[-1].weight)
    system.eval()
    originals, wanted = batch.images[:, :1], batch.images[:, 1:]
    with torch.no_grad():
        made = system.target(originals)
        shown = [torch.cat([one, originals], dim=1) if conditional else one for one in (wanted, made)]
        real, fake = map(system.target.discriminator, shown)
        judged = (real - 1).square().mean() / 2 + (fake + 1).square().mean() / 2
        fooled = fake.square().mean() / 2 + 7 * (made - wanted).abs().mean()
    losses = []
    system.minimise = lambda loss, optimizer: losses.append(loss.detach())
    system.training_step(batch, 0)
    torch.testing.assert_close(losses, [judged, fooled])


@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_a_teacher_should_see_in_a_restored_image_what_it_sees_in_the_original(lay_out_step, adversarial):
    system, batch = lay_out_step("super_resolution", l1=7.0, task=3.0, adversarial=adversarial)
    torch.nn.init.normal_(system.target.translator.end[-1].weight)
    system.eval()
    small, wanted = to_float(Degrading(2, "area").bicubic(from_float(batch.images))), batch.images
    with torch.no_grad():
        made = system.target(small)
        entropies = -(system.teacher(wanted).softmax(dim=1) * system.teacher(made).log_softmax(dim=1)).sum(dim=1)
        expected = 7 * (made - wanted).abs().mean() + 3 * entropies.mean()
        fooled = system.target.discriminator(torch.cat([made, small], dim=1)).square().mean() / 2
    losses = []
    system.minimise = lambda loss, optimizer: losses.append(loss.detach())
    system.training_step(batch, 0)
    assert len(losses) == (2 if adversarial else 1)  # without it no discriminator learns
    torch.testing.assert_close(losses[-1], expected + adversarial * fooled)


def test_pairs_show_what_an_image_becomes(lay_out, tmp_path):
    stage = lay_out("pix2pix", images_seen=1600, learning_rate=0.005)
    pixels = torch.randint(0, 2, stage.pool.images.shape, generator=torch.Generator().manual_seed(0)).byte() * 255
    stage = replace(
        stage, partners=replace(stage.partners, images=pixels), pool=replace(stage.pool, images=255 - pixels)
    )
    off = []
    for one in (stage, replace(stage, partners=stage.partners.subset(torch.arange(len(pixels)).roll(1)))):
        made = one.load(StageStore(tmp_path).fetch(one).folder).translate(stage.partners)
        off.append(float((made.images.float() - stage.pool.images).abs().mean()))
    assert off[0] < 0.2 * 255 < 0.4 * 255 < off[1]  # by chance, it is half of 255


OTHERS = {
    "l1": 1.0,
    "conditional": True,
    "match_prior": True,
    "class_conditional": True,
    "examples": "pairs",
    "translator": {"a": 1},
}
OTHERS |= {"discriminator": {"a": 1}, "loss": {"a": 1}, "betas": [0.0, 0.9]}


@pytest.mark.parametrize("name", sorted({*node_of()} - {"_target_", "start", "teacher"}))
def test_every_setting_is_part_of_the_key(lay_out, name, monkeypatch):
    monkeypatch.setattr(TranslationSettings, "__post_init__", lambda settings, where: None)
    stage = lay_out()
    value = OTHERS.get(name, getattr(stage.settings, name) * 2 + 1 if name not in OTHERS else None)
    assert replace(stage, settings=replace(stage.settings, where="", **{name: value})).key != stage.key


def test_a_training_may_start_from_another_translator(lay_out, tmp_path):
    store, stage = StageStore(tmp_path), lay_out("class_mates")
    folder = store.fetch(stage).folder
    settings = replace(stage.settings, where="translation", start=str(folder), images_seen=0)
    start = TranslatorStart.read(str(folder), settings, stage.labelled.shape)
    again = replace(stage, settings=settings, start=start, seed=9)
    assert again.key != replace(again, start=None).key
    assert again.files["translation.start"]["trained_on"] == stage.labelled.fingerprint
    assert "results are too good" in again.notes[0]
    made = again.load(store.fetch(again).folder).translate(stage.labelled)
    assert made.images.equal(stage.load(folder).translate(stage.labelled).images)  # it stays as it is
    further = replace(again, settings=replace(settings, where="translation", images_seen=160))
    assert not further.load(store.fetch(further).folder).translate(stage.labelled).images.equal(made.images)
    one = replace(again, labelled=stage.labelled.subset(torch.tensor([0, 10, 20])))
    one.check()  # a class mate is not needed
    assert one.about == TrainedTranslator.load(folder / "weights.pt", torch.device("cpu")).about
    assert further.about["start"]["hash"] == start.start
    assert further.about["images_seen"] == 160
    with pytest.raises(ValueError, match="has changed since the launch"):
        replace(start, start="0" * 16).give(Domain(stage.settings, stage.labelled.shape, 3).translator)
    earlier = {name: value for name, value in settings.translator.items() if name != "styled"}
    TranslatorStart.read(str(folder), replace(settings, where="translation", translator=earlier), stage.labelled.shape)
    with pytest.raises(ValueError, match=r"has degrade=None, not \{'scale': 2\}"):
        TranslatorStart.read(str(folder), settings, stage.labelled.shape, {"scale": 2})
    other = replace(settings, where="translation", translator=settings.translator | {"channels": 5})
    with pytest.raises(ValueError, match=r"translation\.start=.* has channels=4, not 5: use the same"):
        TranslatorStart.read(str(folder), other, stage.labelled.shape)
    with pytest.raises(ValueError, match="takes images of 8x8 pixels with 1 channel, but these are of 9x8"):
        TranslatorStart.read(str(folder), settings, ImageShape(1, 9, 8))


def test_class_mates_are_two_images_of_one_class(lay_out, image_set, tmp_path):
    labelled = image_set(per_class=30)
    originals, mates = class_mates(labelled, torch.Generator().manual_seed(0))
    assert originals.tolist() == [index for index in range(90) for _ in range(20)]
    assert not (originals == mates).any()
    assert labelled.labels[originals].equal(labelled.labels[mates])
    assert len({*zip(originals.tolist(), mates.tolist(), strict=True)}) == 1800
    stage = lay_out("class_mates")
    (part,) = stage.examples(None)
    assert part.images.images.shape == (270, 2, 8, 8)
    stage = replace(stage, labelled=stage.labelled.subset(torch.tensor([0, 10, 20])))
    with pytest.raises(ValueError, match="no class has two labelled images"):
        stage.check()


def test_styles_make_several_images_of_one(lay_out, tmp_path):
    stage = lay_out("style", images_seen=480, learning_rate=0.01)
    folder = StageStore(tmp_path).fetch(stage).folder
    network, pool = stage.load(folder).network, to_float(stage.pool.images)
    torch.testing.assert_close(network.styles[: len(pool)], network.style(pool))
    made = Style(stage).images(stage.labelled, {"translator": folder}, seed=0)
    assert made.labels.equal(stage.labelled.labels.repeat(20))
    ones = made.images[torch.arange(20) * len(stage.labelled)]
    assert len({image.numpy().tobytes() for image in ones}) > 10
    assert made.images.equal(Style(stage).images(stage.labelled, {"translator": folder}, seed=1).images)


def test_images_get_the_brightness_of_their_style(lay_out, tmp_path):
    stage = lay_out("style", images_seen=3200, adversarial=0.1, patch_nce=0.1, learning_rate=0.005)
    levels = torch.linspace(0.2, 1, len(stage.pool))[:, None, None, None]
    pool = replace(stage.pool, images=(stage.pool.images * levels).to(torch.uint8))
    stage = replace(stage, pool=pool)
    network = stage.load(StageStore(tmp_path).fetch(stage).folder).network
    one = to_float(stage.labelled.images[:1]).expand(len(pool), -1, -1, -1)
    made = network(one, network.style(to_float(pool.images)))
    both = torch.stack([made.mean(dim=(1, 2, 3)), to_float(pool.images).mean(dim=(1, 2, 3))])
    assert torch.corrcoef(both)[0, 1] > 0.8


def test_latent_numbers_make_several_images_of_one(lay_out, tmp_path):
    stage = lay_out("class_mates", images_seen=480, learning_rate=0.01)
    folder = StageStore(tmp_path).fetch(stage).folder
    made = ClassMates(stage).images(stage.labelled, {"translator": folder}, seed=0)
    assert made.labels.equal(stage.labelled.labels.repeat(20))
    ones = made.images[torch.arange(20) * len(stage.labelled)]
    assert len({image.numpy().tobytes() for image in ones}) == 20
    assert made.images.equal(ClassMates(stage).images(stage.labelled, {"translator": folder}, seed=1).images)


def test_the_learning_rate_is_constant_for_half_of_the_training_and_then_falls(lay_out_step):
    system, batch = lay_out_step("cut")
    rates = []
    optimizers = system.optimizers_at()
    system.optimizers_at = lambda *given: rates.append(given) or optimizers
    for step in (0, 10, 15, 18):  # of 20
        system.training_step(batch, step)
    for rate, found in zip(system.rates, zip(*rates, strict=True), strict=True):
        assert found == pytest.approx([rate, rate, rate / 2, rate / 5])


def test_classes_are_drawn_as_often_as_the_teacher_sees_them_in_the_pool(lay_out, cpu, tmp_path, monkeypatch):
    class Teacher(Stage):
        name, version = "classifier", 1

        def run(self, folder, made):
            pass

        def load(self, folder):
            both = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
            return SimpleNamespace(probabilities=lambda images: both.repeat(len(images) // 2, 1))

    seen = []
    monkeypatch.setattr(translation, "ImageBatches", lambda parts, *rest: seen.extend(one.images for one in parts))
    stage = replace(lay_out(match_prior=True), teacher=Teacher(seed=0, hardware=cpu))
    replace(stage, hardware=SimpleNamespace(fit=lambda *given, **more: None)).run(tmp_path, {"teacher": tmp_path})
    assert seen[0].class_counts.tolist() == [60, 30, 30]  # of 30 images
    assert seen[1] is stage.pool
    stage = replace(stage, settings=replace(stage.settings, where="translation", class_conditional=True))
    replace(stage, hardware=SimpleNamespace(fit=lambda *given, **more: None)).run(tmp_path, {"teacher": tmp_path})
    assert seen[3].labels.tolist() == [0] * len(stage.pool)
    assert stage.pool.labels.eq(-1).all()


def test_classes_are_as_frequent_as_the_prior_says(image_set):
    images, random = image_set(per_class=10), torch.Generator().manual_seed(0)
    found = with_prior(images, torch.tensor([0.5, 0.25, 0.25]), random)
    assert found.class_counts.tolist() == [60, 30, 30]
    times = torch.tensor([sum(bool(one.equal(other)) for other in found.images) for one in images.images])
    assert times.tolist() == [6] * 10 + [3] * 20
    assert with_prior(images, torch.tensor([1.0, 1e-30, 0.0]), random).class_counts.tolist() == [120, 1, 1]


def test_without_a_teacher_the_time_can_be_estimated(lay_out, cpu):
    stage = lay_out(task=1.0, match_prior=True)
    alone = replace(stage, teacher=lay_out()).alone()
    assert not alone.inputs
    assert alone.settings.num_steps == stage.settings.num_steps


def test_a_translator_is_read_without_its_training(lay_out, tmp_path, cpu):
    stage = lay_out()
    folder = StageStore(tmp_path).fetch(stage).folder
    read = TrainedTranslator.load(folder / "weights.pt", torch.device("cpu"))
    assert read.translate(stage.labelled).images.equal(stage.load(folder).translate(stage.labelled).images)
    other = ImageSet(torch.zeros(1, 1, 9, 9, dtype=torch.uint8), torch.tensor([0]), stage.labelled.class_names)
    with pytest.raises(ValueError, match=r"takes images of 1x8x8 .*, but these are 1x9x9"):
        read.translate(other)


def test_golden_numbers(lay_out, tmp_path):
    # A change of these numbers is a change of mathematics: raise the version and put the new ones here.
    stage = lay_out("cyclegan", learning_rate=0.01)
    folder = StageStore(tmp_path).fetch(stage).folder
    made = stage.load(folder).translate(stage.labelled).images.float()
    assert TrainTranslator.version == 2
    changes = made - stage.labelled.images
    assert [float(changes.mean()), float(changes.std())] == pytest.approx([0.082, 0.950], abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[({name: -1}, f"translation.{name}=-1: use a number") for name in ("adversarial", *WEIGHTS)],
        ({"adversarial": 0.0}, "translation: no weight says what an image should become: set adversarial above 0"),
        ({"class_conditional": True, "match_prior": False}, "translation.class_conditional=true needs translation.mat"),
        ({"examples": "low_resolution"}, "examples=low_resolution has no use for translation.identity_mapping and"),
        ({"match_prior": "yes"}, "translation.match_prior=yes: use true or false"),
        ({"class_conditional": 1}, "translation.class_conditional=1: use true or false"),
        ({"batch_size": 0}, "translation.batch_size=0: use a whole number of at least 1"),
        ({"images_seen": 7}, "translation.images_seen=7: use a whole number of at least 8"),
        ({"learning_rate": 0}, "translation.learning_rate=0: use a number above 0"),
        ({"discriminator_learning_rate": 0}, "translation.discriminator_learning_rate=0: use a number above 0"),
        ({"betas": [0.5]}, "translation.betas=.*use a list of two numbers"),
        ({"ema_half_life": 0}, "translation.ema_half_life=0"),
        ({"depth": 3}, "translation has no setting depth"),
        ({"conditional": "yes"}, "translation.conditional=yes: use true or false"),
        ({"conditional": True, "l1": 1.0}, "examples=domains has no use for translation.l1 and translation.cond"),
        (
            {"examples": "pairs"},
            "examples=pairs has no use for translation.identity_mapping and",
        ),
        (
            {"translator": {"latents": 16}},
            "translation.patch_nce=1.0 compares patches of images without",
        ),
        ({"style": 1.0}, "translation.style=1.0 with translation.translator.styled=false: both or neither"),
        (
            {"translator": {"styled": True}},
            "translation.style=0.0 with translation.translator.styled=true: both or neither",
        ),
        (
            {"style": 1.0, "cycle": 1.0, "translator": {"styled": True}},
            "translation.cycle=1.0: on its way back an image has no style",
        ),
        ({"examples": "mates"}, "translation.examples=mates: use one of domains, pairs, class_mates, low_resolution"),
        ({"translator": {"_target_": "gan_augment.networks.cnn.CNN"}}, "translation.translator"),
        (
            {"loss": {"_target_": "gan_augment.losses.adversarial.Relativistic"}},
            "translation.loss=Relativistic compares pairs",
        ),
        ({"loss": {"_target_": "gan_augment.losses.adversarial.Wasserstein", "weight_clip": 0.01}}, "or clips weights"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build(node_of() | change, "translation", TranslationSettings)


def test_points_are_refused(lay_out):
    points = ImageSet(torch.zeros(2, 2, 1, 1), torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match="translation is for pictures, and these are points"):
        replace(lay_out(), labelled=points).check()
