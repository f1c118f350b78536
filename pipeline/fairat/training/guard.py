"""A training that cannot finish in reasonable time on its device says so after a few timed batches."""

import os
import time

import torch

from fairat.errors import UserError

REASONABLE_HOURS = 48.0
_WARM_UP, _TIMED = 3, 10


class PatienceGuard:
    """Times a few batches after a warm-up, once, and refuses a training that would take too long.

    Args:
        images_in_all: images of all epochs that are left.
        device: where the training runs.
        what: name of the run, for the message.
    """

    def __init__(self, images_in_all: int, device: torch.device, what: str) -> None:
        self.images_in_all, self.device, self.what = images_in_all, device, what
        self.batches = self.timed_images = 0
        self.began = 0.0

    def __call__(self, images: int) -> None:
        """Call after every batch with its number of images.

        Raises:
            UserError: the estimate exceeds `REASONABLE_HOURS` and the environment does not say INSIST=1.
        """
        self.batches += 1
        self.timed_images += images if self.batches > _WARM_UP else 0
        if self.batches not in (_WARM_UP, _WARM_UP + _TIMED) or os.environ.get("INSIST") == "1":
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self.batches == _WARM_UP:
            self.began = time.perf_counter()
            return
        hours = (time.perf_counter() - self.began) / self.timed_images * self.images_in_all / 3600
        if hours > REASONABLE_HOURS:
            raise UserError(
                f"{self.what} would take about {hours:,.0f} hours on {self.device.type} (estimated from {_TIMED} batches). "
                "Run it on a CUDA device, try the small study with `make demo`, lower the suite's epoch_scale or "
                "architecture.width in params.yaml, or set INSIST=1 in the environment to train all the same."
            )
