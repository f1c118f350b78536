"""What the environment says about the machine: compiled or not, and how much memory it took."""

import shutil

import pytest
import torch
from fairat.device import choose_device, compiled, memory_in_words, name_of, peak_memory
from fairat.errors import UserError

from tests.training.toys import tiny_images, tiny_network, tiny_settings, trained

CPU = torch.device("cpu")


@pytest.mark.parametrize("wanted", ["mps", "xpu", "meta", "cuda:7"])
def test_a_device_that_is_not_there_is_answered_with_those_that_are(wanted, monkeypatch):
    monkeypatch.setenv("DEVICE", wanted)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    message = rf"DEVICE={wanted} asks for a device that torch .* does not find here: .* 2 CUDA devices, cuda:0 to cuda:1\. Check"
    with pytest.raises(UserError, match=message):
        choose_device()


def test_a_network_is_compiled_only_where_the_environment_says_so(monkeypatch):
    model = tiny_network()
    assert compiled(model)._compiled_call_impl is None
    monkeypatch.setenv("COMPILE", "yes")
    with pytest.raises(UserError, match="COMPILE=yes means nothing; use COMPILE=1"):
        compiled(model)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_compiled_network_is_the_same_network_and_trains_to_the_same_accuracy(monkeypatch):
    monkeypatch.setenv("COMPILE", "1")
    model, images = tiny_network(), tiny_images(40, 1).images / 255
    expected = model(images)
    names = list(model.state_dict())
    assert compiled(model) is model
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    settings = tiny_settings({"objective": "trades"}, epochs=1, precision="bfloat16")
    plain = trained(settings).reports[-1]
    monkeypatch.setattr("tests.training.toys.tiny_network", lambda: compiled(tiny_network()))
    assert trained(settings).reports[-1]["train_loss"] == pytest.approx(plain["train_loss"], rel=0.05)


def test_memory_is_that_of_the_process_where_there_is_no_cuda():
    before = peak_memory(CPU)
    assert before > 50 * 2**20
    held = torch.zeros(before + 2**26, dtype=torch.uint8)
    assert peak_memory(CPU) >= before + 2**25
    assert memory_in_words(CPU) == f"peak memory {peak_memory(CPU) / 2**30:.1f} GiB"
    assert name_of(CPU) == "cpu"
    assert held.numel()
