"""The measure `membership`: whether the images that a GAN has seen can be told from others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve
from torch import Tensor

from gan_augment.data.image_set import ImageSet, to_float
from gan_augment.generators.gan import TrainGAN
from gan_augment.measures.base import Finished, GeneratorMeasure
from gan_augment.measures.copies import seen_and_decoys, some_of
from gan_augment.metrics.copies import FEWEST, Auditor, number_of_decoys, too_few_decoys
from gan_augment.metrics.membership import FALSE, Membership, membership
from gan_augment.randomness import Stream
from gan_augment.records.findings import Findings, Section

ATTACKS = {"logit": "the discriminator's logit", "distance": "the distance to the nearest generated image"}
LEVEL = 0.05  # of the p value
PICTURE = "membership.png"
SECTION = Section(
    "Can the images that the GAN has seen be told from others of the same classes? Two attacks try it: the logit of "
    "the discriminator, which only those who have it can compute, and the distance to the nearest generated image. "
    "The AUC is the probability that a seen image has the larger score of two: .5 by chance. The last numbers are the "
    "shares of seen images that an attack names if it may be wrong on 1 % of the others. An attack that fails proves "
    "nothing: a better one may succeed. The curves have all shares, on scales that show small ones.",
    {
        f"gan.membership.{attack}_{name}": f"{attack}: {words}"
        for attack in ATTACKS
        for name, words in {"auc": "AUC", "auc_low": "at least", "tpr": "named at 1 % false"}.items()
    },
    picture=PICTURE,
)


@dataclass(frozen=True)
class MembershipAttacks(GeneratorMeasure):
    """Attacks on a GAN that try to tell the images that it has seen from decoys, which it has not.

    The decoys are those of `copies`; the comparison has equally many of each class.

    `membership`: of each attack, `logit` and `distance`, the `auc` with its bounds `auc_low` and `auc_high`, `tpr` and
    `p` of `metrics/membership.py`; and the number of `decoys`. The others are None with fewer than 20 decoys, and those
    of the logit for a GAN that divides classes into clusters, whose discriminator asks for the cluster.
    `membership.png` has the ROC curves of both.
    """

    def find(self, finished: Finished) -> Findings:
        """Attack a GAN of pictures; of given images the training images are not known."""
        gan = finished.stages.get("gan")
        if not isinstance(gan, TrainGAN) or finished.synthetic.shape.is_point:
            return Findings()
        made, seen, decoys = map(some_of, (finished.synthetic, *seen_and_decoys(finished)))
        if (number := number_of_decoys(seen, decoys)) < FEWEST:
            return Findings({"gan": {"membership": {"decoys": number}}}, (too_few_decoys("membership", number, seen),))
        labels = torch.cat([seen.labels, decoys.labels])
        auditor = Auditor(seen.images[:], decoys.images[:], labels)
        drawn = auditor.draws[0]
        images = torch.cat([seen.images[:], decoys.images[:]])[drawn]
        scores = {"distance": -auditor.distances(made.images[:]).min(dim=0).values[drawn]}
        if gan.design.conditioning.clusters == 1:
            scores["logit"] = _logits(finished, gan, ImageSet(images, labels[drawn], seen.class_names))
        metrics: dict[str, float | None] = {"decoys": len(drawn) // 2}
        warnings = []
        for attack, words in ATTACKS.items():
            if attack not in scores:
                continue
            found = membership(scores[attack], auditor.is_seen[drawn], labels[drawn])
            metrics |= {f"{attack}_{name}": value for name, value in _numbers(found).items()}
            if found.auc > 0.5 and found.p <= LEVEL:
                low, high = found.auc_interval
                warnings.append(
                    f"membership: {words} tells images that the GAN has seen from others (AUC {found.auc:.2f}, "
                    f"{low:.2f} to {high:.2f})"
                )
        _draw(scores, auditor.is_seen[drawn], finished.folder / PICTURE)
        return Findings({"gan": {"membership": metrics}}, tuple(warnings), sections={"Membership": SECTION})


def _numbers(found: Membership) -> dict[str, float]:
    low, high = found.auc_interval
    return {"auc": found.auc, "auc_low": low, "auc_high": high, "tpr": found.tpr, "p": found.p}


def _logits(finished: Finished, gan: TrainGAN, images: ImageSet) -> Tensor:
    """Return the discriminator's logits of images, float32 `[N]`; in a random order, as a logit may need its batch."""
    critic = gan.critic(finished.outputs["gan"].folder)
    labels = images.labels if gan.labelled.num_classes > 1 else torch.zeros_like(images.labels)
    order = torch.randperm(len(images), generator=Stream(0, "membership/order").at(0))
    logits = torch.empty(len(images))
    for some in order.split(gan.design.settings.batch_size):
        logits[some] = critic(to_float(images.images[some]), labels[some])
    return logits


def _draw(scores: Mapping[str, Tensor], is_seen: Tensor, path: Path) -> None:
    """Draw the share of the seen images that each attack names over that of the decoys."""
    figure = Figure(figsize=(4.2, 4.8), layout="constrained")
    axes = figure.subplots()
    least = 1 / int((~is_seen).sum())
    axes.plot([least, 1], [least, 1], color="#999", linewidth=1, label="chance")
    for (attack, words), color in zip(ATTACKS.items(), ("#0072b2", "#d55e00"), strict=True):
        if attack in scores:
            false, true, _ = roc_curve(is_seen.numpy(), scores[attack].numpy())
            axes.step(false, true, where="post", color=color, label=words)
    axes.axvline(FALSE, color="#999", linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1), aspect="equal")
    axes.set(xlabel="share of the decoys that is named", ylabel="share of the seen images that is named")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.0%}")
    figure.legend(fontsize=8, loc="outside upper center")
    figure.savefig(path, dpi=150, metadata={"Software": None})
