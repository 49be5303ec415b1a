"""What a trial finds out about its generator: metrics, pictures, and warnings of what went wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_augment.artefacts.drawing import draw_side_by_side
from gan_augment.artefacts.generator import Generator
from gan_augment.artefacts.synthetic_set import SyntheticSet
from gan_augment.artefacts.weights import FILE as WEIGHTS
from gan_augment.generators.design import GANDesign
from gan_augment.generators.gan import SIGNALS
from gan_augment.generators.sampling import SynthesisSettings, chosen, first_images
from gan_augment.measures.judge import how_many_to_judge, judge_images
from gan_augment.measures.pictures import draw_looks
from gan_augment.methods.supervised import TrainedClassifier
from gan_augment.metrics.signals import generator_signals
from gan_augment.plan import Trial
from gan_augment.settings import settings_from
from gan_augment.stages import Output, put_link


def inspect_generator(trial: Trial, outputs: Mapping[str, Output], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Put a trial's generator and pictures of its images into its folder, judge it, and look for what went wrong.

    Returns:
        Metrics, `training` among them: where the curves of its training ended; and warnings, a sentence each.
    """
    gan, split, design = outputs["gan"].folder, trial.split, GANDesign.read(trial.settings)
    real, device = split.labelled, trial.hardware.device
    if trial.settings["classifier"] is None and not design.conditioning.knows_classes:
        real = real.as_one_class()
    synthetic = SyntheticSet.read(outputs["synthesis"].folder, real.class_names).images
    put_link(folder / "gan.pt", chosen(gan))
    draw_side_by_side(real, synthetic, folder / "samples.png")
    cutout = design.augmentation.cutout if design.augmentation.is_on else None
    metrics, warnings = generator_signals(real, synthetic, cutout, trial.modes)
    measures = {name: outputs[name].folder / WEIGHTS for name in ("teacher", "judge") if name in outputs}
    for name in [name for name in measures if outputs[name].diverged is not None]:
        warnings.append(f"The {name}'s training diverged: nothing is measured by it")
        del measures[name]
    if "teacher" in measures:
        put_link(folder / "teacher.pt", measures["teacher"])
    if not real.shape.is_point:
        generator = Generator.load(chosen(gan), device)
        seen = split.labelled if trial.visible_pool is None else split.labelled.joined(trial.visible_pool)
        draw_looks(generator, seen, synthetic, folder)
        if "judge" in measures:
            like = split.validation if generator.knows_classes else split.validation.as_one_class()
            latents = settings_from(SynthesisSettings, "synthesis", trial.settings["synthesis"]).latents
            made = first_images(generator, how_many_to_judge(like), trial.settings["seeds"]["synthesis"], latents)
            judge, teacher = TrainedClassifier.load(measures["judge"], device), None
            # Whoever gave a GAN its labels finds them in its images: that would measure nothing.
            if "teacher" in measures and "pseudo_labels" not in outputs:
                teacher = TrainedClassifier.load(measures["teacher"], device)
            inception = trial.settings["judge"]["inception"]
            judged, refused = judge_images(judge, made, split.validation, split.training, teacher, inception)
            metrics, warnings = metrics | judged, [*warnings, *refused]
    if best_by := design.settings.best_by:
        warnings.append(f"The generator is the best of its looks by {best_by}: results on validation images flatter it")
    return metrics | {"training": json.loads((gan / SIGNALS).read_text(encoding="utf-8"))}, warnings
