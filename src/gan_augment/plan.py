"""The plan of a trial: its settings checked, its images drawn, its stages laid out. Nothing is trained here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from torch import Tensor

from gan_augment.arm import Arm
from gan_augment.data.copies import copy_notes, find_copies
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Modes, Source
from gan_augment.data.split import LabelBudget, Split, draw_from_pool, draw_split
from gan_augment.extras.pseudo_labelling import PseudoLabelSettings, pseudo_label_stage
from gan_augment.generators.design import DESIGN, GANDesign
from gan_augment.generators.gan import gan_stage
from gan_augment.generators.sampling import SynthesisSettings, synthesis_stage
from gan_augment.measures.judge import lay_out_judge, why_no_judge
from gan_augment.methods.semi_supervised import semi_supervised_stage
from gan_augment.methods.supervised import classifier_notes, classifier_stage
from gan_augment.records.factors import NULL, trial_factors
from gan_augment.settings import build, check_boolean, check_integer, check_names, settings_from
from gan_augment.stages import Stage, digest
from gan_augment.training.hardware import Hardware

GROUPS = ("data", *DESIGN, "synthesis", "augmentation", "classifier", "semi_supervised", "judge", "trainer")
SETTINGS = (
    *GROUPS,
    *("labels_per_class", "label_fraction", "imbalance", "validation_per_class", "pseudo_labels", "open_test"),
    *("seed", "seeds", "study", "against", "paths", "choices"),
)
# Who labels the pool, under classical transforms whatever the arm's are: so arms share a teacher, and a GAN with it.
TEACHERS = {
    "classifier": Arm(sees="labelled", extra="none", share=None, transform="classical", learner="classifier"),
    "semi_supervised": Arm(
        sees="pool_images", extra="none", share=None, transform="classical", learner="semi_supervised"
    ),
}
NOT_OF_THE_SOURCE = ("test_share", "classical")  # all else in a data node describes where the images come from


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial that is checked and ready to run.

    Attributes:
        settings: The plain configuration; its classifier is None where a generator alone is trained.
        factors: Every choice in it that a study can sweep.
        fingerprint: Names the image set.
        split: The images.
        hardware: Where it runs.
        stages: What to do, by name and in order; the last one trains the classifier, if there is one.
        modes: The density that the images were drawn from, where it is known.
        notes: What whoever reads the result must know, a sentence each.
        copies: Names of identical images, a group each.
        visible_pool: The pool without its labels, where training may see that.
        pool_labels: How many images of the pool it sees with their labels.
    """

    settings: Mapping[str, Any]
    factors: dict[str, Any]
    fingerprint: str
    split: Split
    hardware: Hardware
    stages: Mapping[str, Stage]
    modes: Modes | None = None
    notes: tuple[str, ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()
    visible_pool: ImageSet | None = None
    pool_labels: int = 0

    @property
    def pool_images(self) -> int:
        """How many images of the pool training sees, with their labels or without."""
        return self.pool_labels if self.visible_pool is None else len(self.visible_pool)

    @cached_property
    def name(self) -> str:
        """The trial's folder: arm and seed for the reader, and a hash of all that the result depends on."""
        factors = {name: value for name, value in self.factors.items() if value not in (None, NULL)}
        key = digest([factors, self.fingerprint, self.split.hash, [stage.key for stage in self.stages.values()]])
        return f"{self.factors['augmentation'] or 'generator'}-seed{self.factors['seeds.split']}-{key[:8]}"

    def needs(self, name: str) -> bool:
        """Whether a stage is more than a measure: whether another one is made from it, or it is the last."""
        stage = self.stages[name]
        inputs = [one.key for other in self.stages.values() for one in other.inputs.values() if isinstance(one, Stage)]
        return stage.key in inputs or stage is [*self.stages.values()][-1]


def plan_trial(settings: Mapping[str, Any]) -> Trial:
    """Check a trial's settings and lay out its stages. Nothing is trained.

    Args:
        settings: The plain configuration; `choices` names the chosen member of each group.

    Raises:
        ValueError: If a setting is out of range, or does not fit the images or the machine.
    """
    check_names("the configuration", settings, SETTINGS)
    for name in GROUPS:
        if not isinstance(settings[name], Mapping):
            raise ValueError(f"{name}={settings[name]}: choose one of the members of conf/{name}/")
    data, seeds, imbalance = settings["data"], settings["seeds"], settings["imbalance"]
    check_names("seeds", seeds, ("split", "gan", "synthesis", "classifier"))
    check_names("imbalance", imbalance, ("classes", "share"))
    if missing := [name for name in NOT_OF_THE_SOURCE if name not in data]:
        raise ValueError(f"data lacks {', '.join(missing)}: a member of conf/data/ says them beside its source")
    for name in ("classifier", "judge"):
        if settings[name].get("network") is None:
            check_names(name, settings[name], ("network",))
            settings = {**settings, name: None}
    for name, seed in seeds.items():
        check_integer(f"seeds.{name}", seed, low=0)
    check_boolean("open_test", settings["open_test"])
    hardware = settings_from(Hardware, "trainer", settings["trainer"])
    arm = settings_from(Arm, "augmentation", settings["augmentation"])
    budget = LabelBudget(
        settings["labels_per_class"], settings["label_fraction"], imbalance["classes"], imbalance["share"]
    )

    source, notes, copies = load_source(data)
    split = draw_split(source, seeds["split"], budget, settings["validation_per_class"], data["test_share"])
    if settings["judge"] is not None and arm.needs_gan and (reason := why_no_judge(split.training)):
        settings, notes = {**settings, "judge": None}, (*notes, reason)
    if not settings["open_test"] and settings["classifier"] is not None and not len(split.validation):
        raise ValueError(
            "open_test=false, but there are no validation images: the classifier would not be judged at all"
        )
    has_classifier, is_semi_supervised = settings["classifier"] is not None, arm.learner == "semi_supervised"
    if not has_classifier and not arm.needs_gan:
        raise ValueError("classifier=none trains a generator alone, but this arm has none: use augmentation=gan")
    from_pool = count_from_pool(settings, arm, split)
    pool_labels = 0 if from_pool is None else int(from_pool.sum())
    stages = trial_stages(settings, arm, split, from_pool, hardware)
    has_teacher, labels_pool = arm.teacher is not None and "teacher" in stages, "pseudo_labels" in stages
    return Trial(
        settings,
        trial_factors(
            settings,
            needs_gan=arm.needs_gan,
            needs_quotas=from_pool is not None,
            needs_transform=arm.transform == "classical" or has_teacher,
            needs_classifier=has_classifier or labels_pool,  # whose teacher the generator depends on
            needs_network=has_classifier and not is_semi_supervised,
            needs_semi_supervised="semi_supervised" in [stage.name for stage in stages.values()],
            needs_pseudo_labels=labels_pool,
        ),
        source.images.fingerprint,
        split,
        hardware,
        stages,
        source.modes,
        (*notes, *classifier_notes(None if is_semi_supervised else settings["classifier"], split.labelled)),
        copies,
        visible_pool=visible_pool(arm, split),
        pool_labels=pool_labels,
    )


def trial_stages(
    settings: Mapping[str, Any], arm: Arm, split: Split, from_pool: Tensor | None, hardware: Hardware
) -> dict[str, Stage]:
    """Lay out the stages of a trial, by name; each is given what the arm may see, and nothing else."""
    seeds, labelled, classical = settings["seeds"], split.labelled, settings["data"]["classical"]
    has_classifier = settings["classifier"] is not None
    pool = draw_from_pool(split.pool, from_pool, seeds["split"]) if from_pool is not None else visible_pool(arm, split)
    stages: dict[str, Stage] = {}

    def learner(arm: Arm) -> Stage:
        """Lay out what an arm trains, of the stages that are laid out so far."""
        if arm.learner == "semi_supervised":
            assert pool is not None
            transform = classical if arm.transform == "classical" else None
            node, seed = settings["semi_supervised"], seeds["classifier"]
            return semi_supervised_stage(labelled, pool, split.validation, transform, node, seed, hardware)
        return classifier_stage(
            labelled,
            split.validation,
            stages["synthesis"] if arm.needs_gan else None,
            pool if arm.extra in ("pool_labelled", "pseudo_labelled") else None,
            stages["pseudo_labels"] if arm.extra == "pseudo_labelled" else None,
            arm,
            classical,
            settings["classifier"],
            seeds["classifier"],
            hardware,
        )

    design, judge = {name: settings[name] for name in DESIGN}, settings["judge"]
    knows_classes, selects = check_gan(settings) if arm.needs_gan else (False, False)
    measures = arm.needs_gan and has_classifier and judge is not None
    labels_pool = arm.teacher is not None and (knows_classes or not arm.needs_gan)
    if labels_pool and arm.teacher == "classifier" and not has_classifier:
        raise ValueError(
            "augmentation.teacher=classifier, but there is no classifier that could label the pool: choose one, or "
            "augmentation.teacher=semi_supervised"
        )
    if labels_pool or selects or measures:
        stages["teacher"] = learner(TEACHERS[arm.teacher] if arm.teacher else replace(arm, extra="none", share=None))
    if labels_pool:
        assert pool is not None
        threshold = settings_from(PseudoLabelSettings, "pseudo_labels", settings["pseudo_labels"])
        stages["pseudo_labels"] = pseudo_label_stage(stages["teacher"], pool, threshold, hardware)
    if arm.needs_gan:
        looks_by = None
        if judge is not None:
            looks_by = lay_out_judge(split.training, split.validation, classical, judge, hardware)
            stages["judge"] = looks_by.stage
        seen = labelled if knows_classes else labelled.as_one_class()
        stages["gan"] = gan_stage(seen, design, seeds["gan"], hardware, looks_by, pool, stages.get("pseudo_labels"))
        stages["synthesis"] = synthesis_stage(
            stages["gan"],
            stages["teacher"] if selects else None,
            labelled if selects else seen,
            settings["synthesis"],
            seeds["synthesis"],
            hardware,
        )
    if has_classifier:
        stages["classifier"] = learner(arm)
    return stages


def check_gan(settings: Mapping[str, Any]) -> tuple[bool, bool]:
    """Say whether a trial's GAN knows classes, and whether a teacher selects among its images.

    Raises:
        ValueError: If the classifier would get no labels, or the selection no teacher.
    """
    knows_classes = GANDesign.read(settings).conditioning.knows_classes
    selects = settings_from(SynthesisSettings, "synthesis", settings["synthesis"]).asks_teacher
    if settings["classifier"] is None and selects:
        raise ValueError(
            "synthesis.selection=confident needs a classifier that says what the images show, but there is none: "
            "choose one"
        )
    if settings["classifier"] is not None and not knows_classes and not selects:
        raise ValueError(
            "conditioning=none makes images without labels, and a classifier cannot learn from them: use another "
            "conditioning, let a teacher label them (synthesis=confident), or train the generator alone with "
            "classifier=none"
        )
    return knows_classes, selects


def visible_pool(arm: Arm, split: Split) -> ImageSet | None:
    """Return the pool without its labels, for an arm that sees its images; None for the others.

    Raises:
        ValueError: If it is empty.
    """
    if arm.sees != "pool_images":
        return None
    if not len(split.pool):
        raise ValueError(
            "augmentation.sees=pool_images, but the pool is empty: every training image is labelled, so images without "
            "labels have nothing to add. It is what labels_per_class or label_fraction leaves: use a smaller one, or "
            "an arm without a pool"
        )
    return split.pool.without_labels()


def count_from_pool(settings: Mapping[str, Any], arm: Arm, split: Split) -> Tensor | None:
    """Count the images that an arm takes from the pool: as many as would be generated, or as there are.

    Returns:
        Images a class, int64 `[K]`; None for an arm that does not see the pool's labels.

    Raises:
        ValueError: If there is none to take.
    """
    if arm.sees != "pool_labels":
        return None
    quotas = settings_from(SynthesisSettings, "synthesis", settings["synthesis"])
    counts = quotas.count(split.labelled.class_counts).minimum(split.pool.class_counts)
    if not counts.any():
        raise ValueError(
            "augmentation.extra=pool_labelled, but the pool has no labelled image to give: it is what labels_per_class "
            "or label_fraction leaves, so use a smaller one"
        )
    return counts


def load_source(data: Mapping[str, Any]) -> tuple[Source, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Load the images that a data node describes; the trials of a study share them.

    Returns:
        The source, what a reader of results must know of it, and the names of identical images.
    """
    return _load_source(json.dumps({name: value for name, value in data.items() if name not in NOT_OF_THE_SOURCE}))


@lru_cache(maxsize=2)  # a study may sweep the size of its images
def _load_source(node: str) -> tuple[Source, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    source = build(json.loads(node))
    assert isinstance(source, Source)
    copies = find_copies(source)
    names = tuple(tuple(source.name(index) for index in group) for group in copies)
    return source, (*source.notes, *copy_notes(source, copies)), names
