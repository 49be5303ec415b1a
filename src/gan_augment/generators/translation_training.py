"""The training of translators under manual optimisation, as one LightningModule."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, one_hot

from gan_augment.augmentation.degrading import Degrading
from gan_augment.data.batches import Batch
from gan_augment.data.image_set import ImageSet, ImageShape, from_float, to_float
from gan_augment.generators.translation_design import WEIGHTS, TranslationSettings
from gan_augment.losses.content import patch_nce, style_distance
from gan_augment.networks.translator import PatchDiscriminator, PatchHeads, statistics
from gan_augment.randomness import initialised
from gan_augment.training.base import Training, without_gradients

PATCHES = 64  # most patches of an image that are compared, at each stage of the translator
CHUNK = 256  # images shown at a time


class Domain(nn.Module):
    """What translates into a domain: the translator, the discriminator of its images, and heads for patches.

    Args:
        settings: The settings of the translation.
        shape: The shape of the images.
        num_classes: The number of their classes.
    """

    def __init__(self, settings: TranslationSettings, shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        self.translator = settings.build_translator(shape)
        self.discriminator = settings.build_discriminator(shape, num_classes)
        self.heads = PatchHeads(self.translator.widths) if settings.patch_nce else None

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Compile the networks, which are called by themselves."""
        for network in self.children():
            network.compile(*arguments, **settings)

    def forward(self, images: Tensor) -> Tensor:
        """Translate images into the domain."""
        return self.translator(images)


class Translation(Training):
    """Translators under manual optimisation: of labelled images into the look of the pool, and back if asked.

    Args:
        target: Translates into the look of the pool.
        source: Translates back; None without a cycle.
        teacher: Images -> logits `[B, K]`, frozen; None without one.
        labelled: The images whose translations are shown during training.
        degrading: How images lose resolution, if it learns to restore them.
        styles: Images whose styles it keeps, uint8 `[STYLES, C, H, W]`; None for a translator without styles.
    """

    CURVES = (
        *("loss/discriminator", "loss/adversarial"),
        *(f"content/{name}" for name in WEIGHTS),
    )
    STREAMS = ("patches", "latents")

    def __init__(
        self,
        target: Domain,
        source: Domain | None,
        teacher: nn.Module | None,
        settings: TranslationSettings,
        labelled: ImageSet,
        seed: int,
        degrading: Degrading | None = None,
        styles: Tensor | None = None,
    ) -> None:
        super().__init__(seed, settings.num_steps)
        self.automatic_optimization = False
        self.target, self.source, self.settings = target, source, settings
        self.average = copy.deepcopy(target.translator).requires_grad_(False).eval()
        self.loss = settings.adversarial_loss
        self.teacher = teacher
        self.style_features: PatchDiscriminator | None = None  # random ones, whose statistics say what a style is
        if settings.style:
            random = initialised(lambda: settings.build_discriminator(labelled.shape), seed, "init/style_features")
            self.style_features = random.requires_grad_(False).eval()
        self._labelled, self._degrading, self._styles = labelled, degrading, styles

    def images_seen(self, step: int) -> int:
        """Return how many labelled images were translated after a step."""
        return (step + 1) * self.settings.batch_size

    axis = images_seen  # of all curves

    @property
    def domains(self) -> list[Domain]:
        """The domains into which images are translated."""
        return [self.target] if self.source is None else [self.target, self.source]

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates of discriminators and of translators."""
        return self.settings.discriminator_learning_rate, self.settings.learning_rate

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for the discriminators, and one for translators and heads."""
        judging = [weight for one in self.domains for weight in one.discriminator.parameters()]
        judges = {*judging}
        making = [weight for one in self.domains for weight in one.parameters() if weight not in judges]
        betas = (self.settings.betas[0], self.settings.betas[1])
        return [
            torch.optim.Adam(weights, lr=rate, betas=betas, fused=True)
            for weights, rate in zip((judging, making), self.rates, strict=True)
        ]

    @torch.no_grad()
    def sample(self, labels: Tensor, random: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Return translations `[N, C, H, W]` of labelled images of classes `[N]`, on the CPU, with random latents."""
        chosen = torch.empty_like(labels)
        for label in labels.unique().tolist():
            members, places = self._labelled.members(label), (labels == label).nonzero()[:, 0]
            chosen[places] = members[torch.arange(len(places)) % len(members)]
        self.keep_styles()
        latents = self.average.draw(len(chosen), random).to(self.device)
        some = (to_float(self._labelled.images[part].to(self.device)) for part in chosen.split(CHUNK))
        made = (self.average(*both).float() for both in zip(some, latents.split(CHUNK), strict=True))
        return torch.cat([from_float(one, dtype).cpu() for one in made])

    @torch.no_grad()
    def keep_styles(self) -> None:
        """Let the averaged translator keep the styles of its images, if it has any."""
        if self._styles is not None:
            parts = (to_float(some.to(self.average.styles.device)) for some in self._styles.split(CHUNK))
            self.average.styles.copy_(torch.cat([self.average.style(part) for part in parts]))

    def training_step(self, batch: Batch, step: int) -> None:
        """Train the discriminators for a step, then the translators."""
        settings = self.settings
        share, rates = min(1.0, 2 - 2 * step / settings.num_steps), self.rates
        of_discriminators, of_translators = self.optimizers_at(*(share * rate for rate in rates))
        known, others = self.sides(batch)
        pool = others.images
        latents = self.latents(len(known.images), pool, step)
        maps = self.target.translator.maps(known.images, latents)
        there = self.target.translator.finish(maps, known.images, latents)
        # Into each domain: real images with their conditions, made ones, and the conditions of these.
        of_known, of_pool = self.conditions(known, others)
        ways = [(self.target, torch.cat([pool, of_pool], dim=1), there, of_known)]
        if self.source is not None:
            ways.append((self.source, torch.cat([known.images, of_known], dim=1), self.source(pool), of_pool))

        judged = fooled = torch.zeros((), device=self.device)
        judging: list[Tensor] = of_discriminators.param_groups[0]["params"]
        if settings.adversarial:
            for domain, real, made, condition in ways:
                logits = domain.discriminator(torch.cat([real, torch.cat([made.detach(), condition], dim=1)])).float()
                judged = judged + self.loss.discriminator(*(part.flatten() for part in logits.split(len(real))))
            self.minimise(judged, of_discriminators)
            with without_gradients(judging):
                scores = [one.discriminator(torch.cat([made, under], dim=1)).float() for one, _, made, under in ways]
            nothing = judged.new_empty(0)
            fooled = torch.stack([self.loss.generator(score.flatten(), nothing) for score in scores]).sum()
        terms = self.content(known, pool, maps, [made for _, _, made, _ in ways], step)
        weighted = [getattr(settings, name) * term for name, term in terms.items()]
        loss = settings.adversarial * fooled + torch.stack(weighted).sum()
        self.minimise(loss, of_translators)
        self.update_average(
            self.average,
            self.target.translator,
            settings.batch_size,
            self.images_seen(step),
            settings.ema_half_life,
            ramp_up=0.05,
        )
        self.expect_finite(judged + loss)
        self.add_points(torch.stack([judged, fooled, *terms.values()]).detach())
        if (step + 1) % self.log_every_n_steps == 0:
            self.draw_curves(step)

    def sides(self, batch: Batch) -> tuple[Batch, Batch]:
        """Return the images to translate, and images of the other domain: of pairs, what these should become."""
        if not self.settings.is_paired:
            return batch.labelled, batch.pool
        if self._degrading is not None:
            originals, wanted = to_float(self._degrading.bicubic(from_float(batch.images))), batch.images
        else:
            originals, wanted = batch.images.chunk(2, dim=1)
        return Batch(originals, batch.labels), Batch(wanted, batch.labels)

    def conditions(self, known: Batch, pool: Batch) -> tuple[Tensor, Tensor]:
        """Return what discriminators also receive: with images made of labelled ones, and with those of the pool.

        These are channels `[B, E, H, W]`: the originals, planes of classes, or none.
        """
        if self.settings.conditional:
            return known.images, known.images  # of pairs the original of both
        if not self.settings.class_conditional:
            return known.images[:, :0], pool.images[:, :0]
        size = known.images.shape[-2:]
        planes = (one_hot(one.labels, self._labelled.num_classes)[..., None, None] for one in (known, pool))
        of_known, of_pool = (one.to(known.images.dtype).expand(-1, -1, *size) for one in planes)
        return of_known, of_pool

    def latents(self, number: int, pool: Tensor, step: int) -> Tensor:
        """Return latent numbers for some images, `[B, num_latents]`: random ones, or the styles of the pool's."""
        translator = self.target.translator
        return translator.style(pool) if translator.styled else translator.draw(number, self.draws["latents"].at(step))

    def content(
        self, known: Batch, pool: Tensor, maps: list[Tensor], made: list[Tensor], step: int
    ) -> dict[str, Tensor]:
        """Return the terms that tie translations to their originals, by the names of their weights; 0 if unused.

        `maps` are the feature maps of the labelled images in the translator. `made` has their translations and, if
        there is a way back, those of the images of the pool.
        """
        settings, target, source = self.settings, self.target, self.source
        terms = dict.fromkeys(WEIGHTS, known.images.new_zeros(()))
        if settings.patch_nce:
            terms["patch_nce"] = self.contrast(maps, made[0], step)
        if source is not None:
            terms["cycle"] = l1_loss(source(made[0]), known.images) + l1_loss(target(made[1]), pool)
        if settings.identity_mapping and settings.patch_nce:
            of_pool = target.translator.maps(pool)
            terms["identity_mapping"] = self.contrast(of_pool, target.translator.finish(of_pool, pool), step)
        elif settings.identity_mapping:
            terms["identity_mapping"] = l1_loss(target(pool), pool)
            if source is not None:
                terms["identity_mapping"] = terms["identity_mapping"] + l1_loss(source(known.images), known.images)
        if settings.task:
            assert self.teacher is not None
            # The teacher's network alone: these images are such as its front gives.
            wanted = self.teacher(pool.float()).float().softmax(dim=1) if settings.is_paired else known.labels
            terms["task"] = cross_entropy(self.teacher(made[0].float()).float(), wanted)
        if self.style_features is not None:
            made_maps, pool_maps = (self.style_features.maps(images) for images in (made[0], pool))
            terms["style"] = style_distance(*([statistics(one) for one in maps] for maps in (made_maps, pool_maps)))
        if settings.l1:
            terms["l1"] = l1_loss(made[0], pool)
        return terms

    def contrast(self, maps: list[Tensor], made: Tensor, step: int) -> Tensor:
        """Return the contrast of patches of translated images with those of the originals, whose maps are given."""
        random, places = self.draws["patches"].at(step), []
        for one in maps:
            number = one.shape[-2] * one.shape[-1]
            places.append(torch.randperm(number, generator=random, device=self.device)[:PATCHES])
        assert self.target.heads is not None
        vectors = (self.target.heads(some, places) for some in (self.target.translator.maps(made), maps))
        pairs = list(zip(*vectors, strict=True))
        with torch.autocast(self.device.type, enabled=False):  # similarities need more bits than bf16 has
            return torch.stack([patch_nce(output, original) for output, original in pairs]).mean()
