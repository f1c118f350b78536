"""Which device a stage runs on, and how much of its memory it needed.

The device is not a number of the study, so it comes from the environment: `DEVICE=auto|cpu|cuda[:n]`, `COMPILE=0|1`.
"""

import os
import resource
import sys

import torch

from fairat import provenance
from fairat.errors import UserError


def choose_device(threads: int | None = None) -> torch.device:
    """CUDA if there is one, else the CPU; or what the environment variable DEVICE asks for.

    Args:
        threads: of the CPU; by default torch's choice. The environment variable OMP_NUM_THREADS has the last word.

    Raises:
        UserError: DEVICE names something unknown, or a device that is not there.
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
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda" and (device.index or 0) < torch.cuda.device_count():
        return device
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    raise UserError(
        f"DEVICE={wanted} asks for a device that torch {torch.__version__} does not find here: {_found()}. Check the driver "
        "with nvidia-smi, or use DEVICE=cpu (or leave DEVICE out) to run on the processor."
    )


def _found() -> str:
    """`it finds the processor and 2 CUDA devices, cuda:0 to cuda:1`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = {0: "no CUDA device", 1: "one CUDA device, cuda:0"}
    return f"it finds the processor and {cuda.get(count, f'{count} CUDA devices, cuda:0 to cuda:{count - 1}')}"


def compiled(model: torch.nn.Module) -> torch.nn.Module:
    """The model, compiled where the environment says COMPILE=1.

    It is the same module with the same state; its first passes take minutes. How a machine computes is no number of the
    study, though sums in another order round differently.

    Raises:
        UserError: COMPILE is neither 0 nor 1.
    """
    wanted = os.environ.get("COMPILE", "0")
    if wanted not in ("0", "1"):
        raise UserError(f"COMPILE={wanted} means nothing; use COMPILE=1 to compile the network, or leave it out.")
    if wanted == "1":
        from torch._dynamo import config

        # Train and eval mode, frozen or not, with and without gradients, whole and last batches: each is a variant.
        config.recompile_limit = 64
        model.compile(dynamic=False)
    return model


def name_of(device: torch.device) -> str:
    """How records call it: the name of the CUDA device, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def conditions(device: torch.device) -> dict[str, str]:
    """What can change the last bits of a computation besides code, data and settings."""
    return {
        "device": name_of(device),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        **provenance.versions(),
    }


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held so far: of tensors on a CUDA device, in all on a CPU. Waits for nothing."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_in_words(device: torch.device) -> str:
    """`peak memory 1.2 GiB`."""
    return f"peak memory {peak_memory(device) / 2**30:.1f} GiB"
