"""Whole trainings of a tiny network: they draw from streams of their own, and count every image once."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from fairat.errors import UserError
from fairat.results import metrics
from fairat.settings.averaging import Averaging
from fairat.settings.base import merged
from fairat.training.loop import LabeledImages, TrainingState, train
from fairat.training.step import EpochTally, MinimaxStep
from torch import Tensor, nn

from tests.training.toys import tiny_images, tiny_network, tiny_settings, trained

METHODS: dict[str, dict[str, Any]] = {
    "clean": {"objective": "clean"},
    "at": {"objective": "at"},
    "at_cfa": {"objective": "at", "margin": "robust_accuracy"},
    "trades": {"objective": "trades"},
    "fair_tat": {"objective": "at", "targets": "cfps", "margin": "robust_accuracy"},
    "fair_tat_uniform": {"objective": "at", "targets": "uniform"},
    "fat": {"objective": {"kind": "fat", "tau": 1}},
    "frl": {"objective": "trades", "margin": "frl_remargin", "class_weights": "frl_reweight"},
    "bat": {"objective": "bat"},
    "gairat": {"objective": {"kind": "gairat", "start_epoch": 0}},
}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_averaging_does_not_touch_the_live_weights() -> None:
    """AF-39."""
    settings = tiny_settings(METHODS["fair_tat"])
    without = trained(settings)
    always = tiny_settings(METHODS["fair_tat"])
    object.__setattr__(always, "averaging", always.averaging.model_copy(update={"start_epoch": 0, "decay": 0.1}))
    assert equal(without.model.state_dict(), trained(always).model.state_dict())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again = (trained(tiny_settings(METHODS["fair_tat"])).model.state_dict() for _ in range(2))
    other = trained(tiny_settings(METHODS["fair_tat"], seed=1)).model.state_dict()
    assert equal(first, again)
    assert not equal(first, other)


def test_every_image_is_counted_once_an_epoch() -> None:
    state = trained(tiny_settings(METHODS["trades"], epochs=2))
    for record in state.history.records:
        assert record["train.robust"].sum() == record["train.clean"].sum() == 100
        assert record["val.clean"].sum() == record["val.pgd10"].sum() == 30
    assert state.reports[0]["train_robust_accuracy"] == pytest.approx(
        metrics.overall_accuracy(state.history.records[0]["train.robust"].numpy())
    )


def test_without_a_clean_pass_there_are_no_clean_counts_and_other_statistics() -> None:
    """The pass moves the batch-norm statistics, nothing else in the first epoch's step does."""
    with_pass, without = (
        trained(tiny_settings(METHODS["at"], epochs=1, clean_pass=when)) for when in ("after_step", "none")
    )
    assert without.history.records[0]["train.clean"].sum() == 0
    one, other = with_pass.model.state_dict(), without.model.state_dict()
    assert torch.equal(one["0.weight"], other["0.weight"])
    assert not torch.equal(one["1.running_mean"], other["1.running_mean"])


def test_attack_forwards_move_the_running_statistics_in_train_mode_only() -> None:
    """3 attack forwards, 1 robust, 1 clean for each of 3 batches; in eval mode only the last two."""
    states = {
        mode: trained(tiny_settings({"objective": {"kind": "at", "attack_bn": mode}}, epochs=1))
        for mode in ("train", "eval")
    }
    counted = {mode: int(state.model.state_dict()["1.num_batches_tracked"]) for mode, state in states.items()}
    assert counted == {"train": 3 * 5, "eval": 3 * 2}


def test_radii_follow_the_robust_accuracy_of_the_epoch_before() -> None:
    state = trained(tiny_settings(METHODS["at_cfa"]))
    accuracy = metrics.class_accuracies(state.history.records[0]["train.robust"].numpy())
    assert state.radii[0].tolist() == pytest.approx([0.1] * 3)
    assert state.radii[1].tolist() == pytest.approx(list(0.1 * (0.5 + accuracy)))


def test_a_margin_that_has_not_begun_is_the_constant_one() -> None:
    """Bit for bit, through whole trainings."""
    constant = trained(tiny_settings(METHODS["at"], epochs=2))
    neutral = trained(
        tiny_settings({"objective": "at", "margin": {"kind": "robust_accuracy", "begin_epoch": 99}}, epochs=2)
    )
    assert equal(constant.model.state_dict(), neutral.model.state_dict())


def test_a_loss_that_is_not_finite_stops_with_batch_epoch_radii_and_rate() -> None:
    settings = tiny_settings(METHODS["at"], learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"epoch 0, batch \d.*learning rate 1e\+30.*radii.*25\.50") as error:
        trained(settings)
    assert "last good epoch" in str(error.value)


def test_weights_that_are_not_finite_after_the_last_batch_stop_the_training_too() -> None:
    """No later loss would tell."""
    settings = tiny_settings(METHODS["at"], epochs=1, learning_rate=1e38)
    settings = replace(settings, recipe=settings.recipe.model_copy(update={"batch_size": 100}))
    with pytest.raises(
        FloatingPointError, match=r"weights after epoch 0, batch 0 are not finite \(learning rate 1e\+38"
    ):
        trained(settings)


def test_the_gate_looks_at_the_probe_that_is_asked_for() -> None:
    """The field is measured, and its worst class decides."""
    settings = tiny_settings(METHODS["at"], epochs=3)
    for threshold, open_gate in ((0.0, True), (1.0, False)):
        averaging = Averaging(probe="trades10", threshold=threshold, start_epoch=0)
        state = trained(replace(settings, averaging=averaging))
        assert state.history.records[-1]["val.trades10"].sum() == 30
        assert ("fawa" in state.averages.sets) == open_gate


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """The images and labels of every batch that is trained on from now on."""
    seen: list[tuple[Tensor, Tensor]] = []
    step = MinimaxStep.__call__

    def watching(self: MinimaxStep, images: Tensor, labels: Tensor, *rest: Any, **named: Any) -> None:
        seen.append((images.clone(), labels.clone()))
        step(self, images, labels, *rest, **named)

    monkeypatch.setattr(MinimaxStep, "__call__", watching)
    return seen


@pytest.mark.parametrize("name", ["clean", "trades", "fair_tat", "fair_tat_uniform", "bat", "frl"])
def test_what_a_method_draws_does_not_reshuffle_or_recrop_the_batches(
    name: str, batches: list[tuple[Tensor, Tensor]]
) -> None:
    """Order, augmentation, attack, targets and probes have a stream each."""
    trained(tiny_settings(METHODS["at"], epochs=2))
    trained(tiny_settings(METHODS[name], epochs=2))
    ours, base = batches[6:], batches[:6]
    assert [len(labels) for _, labels in base] == [40, 40, 20] * 2
    for (images, labels), (base_images, base_labels) in zip(ours, base, strict=True):
        assert torch.equal(labels, base_labels)
        assert torch.equal(images, base_images)


def test_the_order_follows_seed_and_epoch_and_not_the_augmentation(batches: list[tuple[Tensor, Tensor]]) -> None:
    settings = tiny_settings(METHODS["clean"], epochs=2)
    flipped = replace(settings, recipe=merged(settings.recipe, {"augmentation": {"flip": True, "crop_padding": 0}}))
    for chosen in (settings, flipped, replace(settings, seed=1)):
        trained(chosen)
    orders = [torch.cat([labels for _, labels in batches[start : start + 3]]) for start in range(0, 18, 3)]
    first, second, first_flipped, second_flipped, first_of_another_seed, _ = orders
    assert torch.equal(first, first_flipped)
    assert torch.equal(second, second_flipped)
    assert not torch.equal(first, second)
    assert not torch.equal(first, first_of_another_seed)


def test_the_last_batch_is_smaller_and_every_image_comes_once(batches: list[tuple[Tensor, Tensor]]) -> None:
    settings = tiny_settings(METHODS["at"], epochs=1)
    settings = replace(settings, recipe=merged(settings.recipe, {"augmentation": {"crop_padding": 0}}))
    images, told = tiny_images(100, 1), []
    list(
        train(TrainingState.fresh(tiny_network(), settings), settings, images, tiny_images(30, 2), on_batch=told.append)
    )
    assert told == [40, 40, 20]
    seen = torch.cat([batch for batch, _ in batches]) * 255
    assert sorted(seen.round().int().flatten(1).tolist()) == sorted(images.images.int().flatten(1).tolist())


class Recording(nn.Module):
    """Notes its train-mode forwards outside of attacks: whether they have a gradient, and their logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()
        self.seen: list[tuple[bool, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        if self.training and next(self.parameters()).requires_grad:
            self.seen.append((torch.is_grad_enabled(), logits.detach()))
        return logits


@pytest.mark.parametrize(("when", "clean_forwards"), [("after_step", 1), ("before_and_after", 2)])
def test_counts_are_of_the_logits_of_the_loss_and_of_the_clean_pass_after_the_step(
    when: str, clean_forwards: int, batches: list[tuple[Tensor, Tensor]]
) -> None:
    settings = tiny_settings({"objective": "at", "class_weights": "distance"}, epochs=1, clean_pass=when)
    network = Recording()
    record = trained(settings, state=TrainingState.fresh(network, settings)).history.records[0]
    robust, clean, soft = torch.zeros(3, 3), torch.zeros(3, 3), torch.zeros(3, 3, dtype=torch.float64)
    losses = [logits for has_gradient, logits in network.seen if has_gradient]
    passes = [logits for has_gradient, logits in network.seen if not has_gradient]
    after_step = passes[clean_forwards - 1 :: clean_forwards]
    for (_, labels), of_loss, of_pass in zip(batches, losses, after_step, strict=True):
        for label, attacked, unattacked in zip(labels, of_loss, of_pass, strict=True):
            robust[label, attacked.argmax()] += 1
            clean[label, unattacked.argmax()] += 1
            soft[label] += attacked.double().softmax(dim=0)
    assert torch.equal(record["train.robust"], robust.long())
    assert torch.equal(record["train.clean"], clean.long())
    torch.testing.assert_close(record["train.soft"], soft / robust.sum(dim=1, keepdim=True))


def test_training_without_an_attack_counts_clean_predictions_only() -> None:
    record = trained(tiny_settings(METHODS["clean"], epochs=1, clean_pass="none")).history.records[0]
    assert (int(record["train.robust"].sum()), int(record["train.clean"].sum())) == (0, 100)


def test_soft_counts_are_kept_only_where_a_part_reads_them() -> None:
    labels, logits = torch.tensor([1]), torch.zeros(1, 3)
    (without, kept) = (EpochTally(3, 1, torch.device("cpu"), soft=soft) for soft in (False, True))
    for tally in (without, kept):
        tally.count_soft(labels, logits)
    assert without.soft is None
    assert kept.soft is not None
    torch.testing.assert_close(kept.soft[1], torch.full((3,), 1 / 3, dtype=torch.float64))
    assert "train.soft" not in trained(tiny_settings(METHODS["at"], epochs=1)).history.records[0].fields


@pytest.mark.parametrize("name", ["at", "trades", "fat", "bat", "gairat"])
def test_images_keep_their_channels_last_layout_through_the_attack(name: str) -> None:
    """Any other layout would make every convolution copy its input."""
    settings, splits = tiny_settings(METHODS[name], epochs=1), (tiny_images(100, 1), tiny_images(30, 2))
    convolution, layouts = nn.Conv2d(3, 1, 1), set()

    def note(_: nn.Module, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) != 30:  # the validation images are laid out as they were read
            layouts.add(inputs[0].is_contiguous(memory_format=torch.channels_last))

    convolution.register_forward_pre_hook(note)
    network = nn.Sequential(convolution, tiny_network()).to(memory_format=torch.channels_last)
    colored = [replace(split, images=split.images.expand(-1, 3, -1, -1)) for split in splits]
    list(train(TrainingState.fresh(network, settings), settings, *colored))
    assert layouts == {True}


def test_a_channels_last_network_trains_to_the_weights_of_any_other() -> None:
    settings = tiny_settings(METHODS["at"], epochs=1)
    network = tiny_network().to(memory_format=torch.channels_last)
    weights = trained(settings, state=TrainingState.fresh(network, settings)).model.state_dict()
    torch.testing.assert_close(weights, trained(settings).model.state_dict(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_class_without_images_is_refused_before_the_first_batch(split: str) -> None:
    settings = tiny_settings(METHODS["at"])
    whole = tiny_images(30, 2)
    without = LabeledImages(whole.images[whole.labels != 1], whole.labels[whole.labels != 1])
    splits = (without, whole) if split == "training" else (whole, without)
    with pytest.raises(UserError) as caught:
        next(train(TrainingState.fresh(tiny_network(), settings), settings, *splits))
    assert str(caught.value) == (
        f"There are no {split} images of class 1 (classes are numbered from 0 to 2). Give every class some, or train with "
        "fewer classes."
    )


@pytest.mark.parametrize(("images", "batch_size", "fits"), [(100, 40, 0), (81, 40, 41), (81, 1, 3), (41, 40, 41)])
def test_a_batch_of_a_single_image_is_refused_with_a_size_that_fits(images: int, batch_size: int, fits: int) -> None:
    settings = tiny_settings({"objective": "at"})
    recipe = settings.recipe.model_copy(update={"batch_size": batch_size})
    state = TrainingState.fresh(tiny_network(), settings)
    run = train(state, replace(settings, recipe=recipe), tiny_images(images, 1), tiny_images(30, 2))
    if not fits:
        next(run)
        return
    message = (
        f"{images} training images in batches of {batch_size} leave a batch of one image, which batch norm cannot normalize. "
        f"Set recipe.batch_size to {fits}, or another size that leaves no single image."
    )
    with pytest.raises(UserError) as caught:
        next(run)
    assert str(caught.value) == message
