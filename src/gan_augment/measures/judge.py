"""The measure `judge`: how close generated images are to real ones, by the features of a measuring classifier."""

from collections.abc import Mapping
from dataclasses import dataclass

from gan_augment.config import Config
from gan_augment.contracts import Plan
from gan_augment.data.image_set import ImageSet, in_proportion
from gan_augment.data.split import Split, check_validation
from gan_augment.generators.sampling import SynthesisSettings, first_images
from gan_augment.measures.base import Finished, Measure
from gan_augment.measures.judging import JudgeSettings, JudgeStage, how_many_to_judge, judge_images
from gan_augment.measures.watching import JudgeWatch
from gan_augment.metrics.inception import inception_network
from gan_augment.records.findings import Findings
from gan_augment.records.metric_meanings import GENERATOR_METRICS
from gan_augment.settings import check_boolean, check_choice, check_integer
from gan_augment.stages import Stage

# Metrics that cannot be computed while a generator trains.
AT_THE_END = (
    *("gan_test", "diversity", "told_apart", "variety"),
    *("frechet_inception_distance", "kernel_inception_distance"),
)
WHILE_TRAINING = tuple(name for name in GENERATOR_METRICS if name not in AT_THE_END)


@dataclass(frozen=True)
class Judge(JudgeSettings, Measure):
    """The judge: how close generated images are to real ones, by the features of a measuring classifier.

    Attributes:
        inception: Whether to compare images by the features of Inception too.
        every: Images seen between two measurements while the generator trains; None for none.
        best_by: The metric that chooses the best generator; None to use that of the last step.

    Raises:
        ValueError: If a setting is out of range, or a metric is to choose but nothing is measured during training.
    """

    where = "measures.judge"

    inception: bool
    every: int | None
    best_by: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_boolean("measures.judge.inception", self.inception)
        if self.every is not None:
            check_integer("measures.judge.every", self.every, low=1)
        if self.best_by is not None:
            check_choice("measures.judge.best_by", self.best_by, WHILE_TRAINING)
            if self.every is None:
                raise ValueError(
                    f"measures.judge.best_by={self.best_by}, but nothing is measured while the generator trains: set "
                    "measures.judge.every, such as 10000"
                )

    def stage(self, config: Config, split: Split) -> JudgeStage:
        """Plan the stage that trains the judge; raise a ValueError if Inception is needed and cannot be loaded."""
        if self.inception:
            inception_network()
        return self.judge(config, split.training, split.validation)

    def stages(self, plan: Plan, split: Split, stages: Mapping[str, Stage]) -> Mapping[str, Stage] | None:
        """Plan the judge and the teacher, for trials with a generator."""
        if "synthesis" not in stages or why_no_judge(split.training):
            return None
        teacher = {} if plan.config.parts["classifier"] is None else {"teacher": plan.teacher()}
        return {**teacher, "judge": self.stage(plan.config, split)}

    def notes(self, split: Split, stages: Mapping[str, Stage]) -> tuple[str, ...]:
        """Return why a generator has no judge."""
        reason = why_no_judge(split.training)
        return (reason,) if reason and "synthesis" in stages else ()

    def watch(self, config: Config, split: Split) -> "JudgeWatch | None":
        """Plan the measurements while the generator trains; raise a ValueError without judge or validation images."""
        if self.every is None:
            return None
        if reason := why_no_judge(split.training):
            raise ValueError(f"measures.judge.every={self.every}, but there is no judge. {reason}")
        if not len(split.validation) or self.best_by is not None:  # a choice must rest on all classes
            which = "every" if self.best_by is None else "best_by"
            check_validation(f"measures.judge.{which}={getattr(self, which)}", split.validation)
        return JudgeWatch(self.stage(config, split), self.every, self.best_by)

    def find(self, finished: Finished) -> Findings:
        """Measure the generator."""
        split = finished.split
        lost = [name for name in ("teacher", "judge") if name in finished.outputs and not finished.has(name)]
        warnings = tuple(f"The {name}'s training diverged: nothing is measured by it" for name in lost)
        if not finished.has("judge"):
            return Findings(warnings=warnings)
        if "gan" in finished.stages:
            generator = finished.generator
            like = split.validation if generator.knows_classes else split.validation.as_one_class()
            latents = finished.config.part("synthesis", SynthesisSettings).latents
            made = first_images(generator, how_many_to_judge(like), finished.config.seeds.synthesis, latents)
        else:
            made = in_proportion(finished.synthetic, how_many_to_judge(split.validation))
        # A teacher that labelled the generator's training images would only confirm its own labels.
        may_ask = finished.has("teacher") and "pseudo_labels" not in finished.stages
        teacher = finished.load("teacher") if may_ask else None
        judge = finished.load("judge")
        metrics, refused = judge_images(judge, made, split.validation, split.training, teacher, self.inception)
        return Findings({"gan": metrics}, (*warnings, *refused))


def why_no_judge(training: ImageSet) -> str | None:
    """Return, in a sentence, why such images have no judge; None if they can have one."""
    if training.shape.is_point:
        return "The generator has no judge: these are points"
    if training.num_classes < 2:
        return f"The generator has no judge: its images are of one class, {training.class_names[0]!r}"
    return None
