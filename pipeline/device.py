"""Which device a stage runs on. Not a number of the study, so it comes from the environment: `DEVICE=auto|cpu|cuda[:n]`."""

import os

import torch

from pipeline.errors import UserError


def choose_device(threads: int | None = None) -> torch.device:
    """CUDA if there is one, else the CPU; or what the environment variable DEVICE asks for.

    Args:
        threads: of the CPU; by default torch's choice. The environment variable OMP_NUM_THREADS has the last word.

    Raises:
        UserError: DEVICE names something unknown, or CUDA where there is none.
    """
    if threads is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    wanted = os.environ.get("DEVICE", "auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"DEVICE={wanted} is not a device; use auto, cpu, cuda or cuda:0.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"DEVICE={wanted} asks for CUDA, but torch {torch.__version__} finds no CUDA device. Check the driver with "
            "nvidia-smi, or use DEVICE=cpu (or leave DEVICE out) to run on the processor."
        )
    return device
