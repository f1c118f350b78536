"""The evaluation protocol of a suite, one schema per evaluation."""

from typing import Annotated

from pydantic import Field, PositiveInt

from fairat.settings.base import PixelDistance, Settings


class PgdEvaluation(Settings):
    """PGD on the cross-entropy, uniform start.

    Attributes:
        steps: after how many steps the prediction is stored; all from one run of the longest attack.
        step_size: in units of [0, 1] images.
        restarts: an image counts as robust if it withstands all of them.
        batch_size: images attacked at once.
    """

    steps: tuple[PositiveInt, ...] = (10, 20)
    step_size: PixelDistance
    restarts: PositiveInt = 1
    batch_size: PositiveInt = 512


class BlockwiseEvaluation(Settings):
    """What AutoAttack and Square have in common: blocks of consecutive test images, each with its own random stream.

    Predictions depend on the block size and the seed. The batch size is a matter of memory.

    Attributes:
        images: attack only the first images of every class, as many in all; all by default.
        block_size: consecutive images attacked together; the last block may be smaller.
        batch_size: images that the network sees at once. Where gradients are needed, the images of a block beyond this
            number cost a second forward pass.
    """

    images: PositiveInt | None = None
    block_size: PositiveInt = 1000
    batch_size: PositiveInt = 512


class AutoAttackEvaluation(BlockwiseEvaluation):
    """AutoAttack standard (Croce and Hein 2020). The defaults are the published budget.

    Attributes:
        iterations: of APGD-CE, APGD-T and FAB-T.
        target_classes: of APGD-T and FAB-T; K - 1 where there are fewer.
        queries: of Square.
    """

    iterations: PositiveInt = 100
    target_classes: PositiveInt = 9
    queries: PositiveInt = 5000


class SquareEvaluation(BlockwiseEvaluation):
    """The Square attack alone (Andriushchenko et al. 2020), on all images that are classified correctly.

    Attributes:
        queries: per image.
    """

    queries: PositiveInt = 5000


class CorruptionsEvaluation(Settings):
    """Accuracy on the corrupted test set, every corruption and severity."""

    batch_size: PositiveInt = 2048


class StepsEvaluation(Settings):
    """How many steps of PGD break each image (BAT Figure 2), from the image itself.

    Attributes:
        step_size: in units of [0, 1] images.
        num_steps: how many at most; an image that withstands them all counts with this number.
        batch_size: images attacked at once.
    """

    step_size: PixelDistance = 0.4 / 255
    num_steps: Annotated[PositiveInt, Field(le=32767)] = 1000
    batch_size: PositiveInt = 1024


class Evaluations(Settings):
    """The evaluation protocol of a suite, one entry per evaluation stage."""

    pgd: PgdEvaluation
    autoattack: AutoAttackEvaluation = AutoAttackEvaluation()
    square: SquareEvaluation = SquareEvaluation()
    corruptions: CorruptionsEvaluation = CorruptionsEvaluation()
    steps: StepsEvaluation = StepsEvaluation()
