"""One update leaves what public code leaves: parameters, and the running statistics of its train-mode forwards.

The plain steps below run every forward that the public code of a method runs, in its order, image by image where that code
loops over images. Everything is in float64; both sides draw the same random numbers.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairat.methods.forwards import forward_each, momenta
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.method import Method
from fairat.methods.sampling import draw
from fairat.settings.recipe import CleanPass
from fairat.settings.threat import Threat
from fairat.study import load_study
from fairat.training.step import EpochTally, MinimaxStep, Policy, decide
from torch import Tensor, nn

CLASSES, BATCH, UPDATES, EPOCH = 3, 12, 3, 60
THREAT = Threat(epsilon=0.1, step_size=0.03, num_steps=4)
METHODS = load_study().methods


class Watched(nn.Module):
    """A network that notes its train-mode and eval-mode forwards."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, stride=2, bias=False),
            nn.BatchNorm2d(6, momentum=0.3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        )
        self.train_forwards = self.eval_forwards = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.train_forwards += 1
        else:
            self.eval_forwards += 1
        return self.network(images)


@dataclass
class Plain:
    """One step of public code in the making: the network, the batch, and what was drawn for it."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    epsilon: Tensor
    step_size: Tensor
    clean_weight: Tensor
    robust_weight: Tensor
    stream: torch.Generator

    @property
    def radius(self) -> Tensor:
        return self.epsilon.view(-1, 1, 1, 1)

    def box(self, delta: Tensor) -> Tensor:
        return delta.clamp(-self.images, 1 - self.images)

    def uniform(self) -> Tensor:
        noise = torch.empty_like(self.images).uniform_(-1, 1, generator=self.stream) * self.radius
        return self.box(noise)

    def gauss(self) -> Tensor:
        return torch.empty_like(self.images).normal_(generator=self.stream) * 0.001

    def gradient(self, delta: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        point = (self.images + delta).detach().requires_grad_()
        logits = self.model(point)
        (gradient,) = torch.autograd.grad(loss(logits).sum(), point)
        return logits.detach(), gradient

    def stepped(self, delta: Tensor, gradient: Tensor, jitter: Tensor | float = 0.0) -> Tensor:
        sign = 1 if self.targets is None else -1
        moved = delta + sign * self.step_size.view(-1, 1, 1, 1) * gradient.sign() + jitter
        return self.box(torch.minimum(torch.maximum(moved, -self.radius), self.radius))

    def cross_entropy(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.labels if self.targets is None else self.targets, reduction="none")

    def attack(self, start: Tensor, loss: Callable[[Tensor], Tensor], *, train: bool) -> Tensor:
        """PGD of all steps; gives x'."""
        self.model.train(train)
        for _ in range(THREAT.num_steps):
            _, gradient = self.gradient(start, loss)
            start = self.stepped(start, gradient)
        self.model.train()
        return self.images + start

    def towards_other_predictions(self, *, boxed: bool = False) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Start and loss of the TRADES attack."""
        self.model.eval()
        with torch.no_grad():
            clean = self.model(self.images)
        start = self.box(self.gauss()) if boxed else self.gauss()
        return start, lambda logits: divergence(clean, logits)


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(other, dim=1), F.softmax(logits, dim=1), reduction="none").sum(dim=1)


def at(plain: Plain) -> Tensor:
    attacked = plain.attack(plain.uniform(), plain.cross_entropy, train=True)
    return F.cross_entropy(plain.model(attacked), plain.labels)


def fair_tat(plain: Plain) -> Tensor:
    """The driver: x', then the clean batch, whose term has weight zero."""
    loss = at(plain)
    plain.model(plain.images)
    return loss


def trades_terms(plain: Plain, order: Sequence[str]) -> tuple[Tensor, Tensor]:
    """CE(x, y) and KL(p(x), p(x')), each forward made as often as in `order`; the last forward of x serves the divergence."""
    start, loss = plain.towards_other_predictions()
    attacked = plain.attack(start, plain.cross_entropy if plain.targets is not None else loss, train=False)
    logits: dict[str, list[Tensor]] = {"x": [], "x'": []}
    for name in order:
        logits[name].append(plain.model({"x": plain.images, "x'": attacked}[name]))
    entropy = F.cross_entropy(logits["x"][0], plain.labels, reduction="none")
    return entropy, divergence(logits["x"][-1], logits["x'"][-1])


def trades(plain: Plain) -> Tensor:
    clean, robust = trades_terms(plain, ("x", "x'", "x"))
    return (plain.clean_weight * clean + plain.robust_weight * robust).mean()


def frl(plain: Plain) -> Tensor:
    clean, robust = trades_terms(plain, ("x", "x'", "x"))
    (first, second), beta = (plain.clean_weight, plain.robust_weight), 1.5
    return (first * clean).sum() / first.sum() + beta * (second * robust).sum() / second.sum()


def attacked_first(plain: Plain) -> Tensor:
    """WAT and DAFA."""
    clean, robust = trades_terms(plain, ("x'", "x"))
    return (plain.clean_weight * clean + plain.robust_weight * robust).mean()


def bat(plain: Plain) -> Tensor:
    """Image by image: the last iterate before the first wrong check, and the iterate one wrong check after it."""
    start, loss = plain.towards_other_predictions(boxed=True)
    plain.model.eval()
    delta, size = start, len(plain.labels)
    last_clean: list[Tensor | None] = [None] * size
    previous, wrong_before, frozen = start, [False] * size, [False] * size
    for _ in range(THREAT.num_steps):
        logits, gradient = plain.gradient(delta, loss)
        moved, after = plain.stepped(delta, gradient), delta.clone()
        for i in range(size):
            wrong = int(logits[i].argmax()) != int(plain.labels[i])
            if wrong and last_clean[i] is None:
                last_clean[i] = previous[i]
            frozen[i] = frozen[i] or (wrong and wrong_before[i])
            wrong_before[i] = wrong_before[i] or wrong
            if not frozen[i]:
                after[i] = moved[i]
        previous, delta = delta, after
        if all(frozen):
            break
    first_wrong = plain.images + delta
    points = [delta[i] if seen is None else seen for i, seen in enumerate(last_clean)]
    plain.model.train()
    on_clean, on_wrong = plain.model(plain.images + torch.stack(points)), plain.model(first_wrong)
    clean = plain.model(plain.images)
    uniform = [(p.softmax(1) * (p.log_softmax(1) + torch.tensor(CLASSES).log())).sum(1) for p in (on_clean, on_wrong)]
    entropy = F.cross_entropy(on_clean, plain.labels, reduction="none")
    return (entropy + 6 * divergence(clean, on_wrong) + sum(uniform)).mean()


def fat_of_cfa(plain: Plain) -> Tensor:
    """After its last step the loop looks at the images once more, unless it ended because none was left to move."""
    plain.model.train()
    delta, budget = plain.uniform(), [3] * len(plain.labels)
    for checked in range(THREAT.num_steps + 1):
        logits, gradient = plain.gradient(delta, plain.cross_entropy)
        if checked == THREAT.num_steps or not any(budget):
            break
        moved, after = plain.stepped(delta, gradient), delta.clone()
        for i, left in enumerate(budget):
            if left:
                after[i] = moved[i]
                budget[i] = left - int(int(logits[i].argmax()) != int(plain.labels[i]))
        delta = after
    return F.cross_entropy(plain.model(plain.images + delta), plain.labels)


def fat_original(plain: Plain) -> Tensor:
    """tau = 1 in the epoch of these tests."""
    plain.model.eval()
    delta, frozen = plain.uniform(), [False] * len(plain.labels)
    budget = [1] * len(plain.labels)
    for _ in range(THREAT.num_steps):
        logits, gradient = plain.gradient(delta, plain.cross_entropy)
        wrong = (logits.argmax(dim=1) != plain.labels).tolist()
        for i, missed in enumerate(wrong):
            frozen[i] = frozen[i] or (missed and budget[i] == 0)
            if missed and not frozen[i]:
                budget[i] -= 1
        if all(frozen):
            break
        jitter = 0.001 * torch.empty_like(plain.images).normal_(generator=plain.stream)
        moved, after = plain.stepped(delta, gradient, jitter), delta.clone()
        for i, still in enumerate(frozen):
            if not still:
                after[i] = moved[i]
        delta = after
    plain.model.train()
    return F.cross_entropy(plain.model(plain.images + delta), plain.labels)


def gairat(plain: Plain) -> Tensor:
    plain.model.eval()
    delta, correct = plain.uniform(), torch.zeros(len(plain.labels), dtype=torch.float64)
    for _ in range(THREAT.num_steps):
        logits, gradient = plain.gradient(delta, plain.cross_entropy)
        correct += logits.argmax(dim=1) == plain.labels
        delta = plain.stepped(delta, gradient)
    plain.model.train()
    weights = (1 + torch.tanh(-1 + 5 * (1 - 2 * correct / THREAT.num_steps))) / 2
    loss = F.cross_entropy(plain.model(plain.images + delta), plain.labels, reduction="none")
    return (weights / weights.sum() * loss).sum()


CASES: dict[str, tuple[str, Callable[[Plain], Tensor], bool]] = {
    "AT": ("at", at, True),
    "FAIR-TAT on AT": ("fair_tat", fair_tat, True),
    "FAIR-TAT on AT, one pass": ("fair_tat_one_pass", at, True),
    "TRADES as in CFA": ("trades_cfa", trades, True),
    "FAIR-TAT on TRADES": ("fair_tat_trades", trades, True),
    "TRADES": ("trades_original_6", trades, False),
    "FRL": ("frl", frl, False),
    "WAT": ("wat", attacked_first, False),
    "DAFA": ("dafa", attacked_first, False),
    "BAT": ("bat", bat, False),
    "FAT as in CFA": ("fat", fat_of_cfa, True),
    "FAIR-TAT on FAT": ("fair_tat_fat", fat_of_cfa, True),
    "FAT, original": ("fat_original", fat_original, False),
    "GAIRAT": ("gairat", gairat, False),
}
"""Method, its plain step, and whether its code has a forward on the clean batch after the step."""


def history_for(method: Method) -> ClassHistory:
    """Two epochs in which the classes differ, with every field that a method reads."""
    robust = torch.tensor([[40, 30, 30], [20, 70, 10], [30, 15, 55]])
    clean = torch.tensor([[70, 20, 10], [5, 90, 5], [10, 10, 80]])
    fields = {"train.robust": robust, "val.clean": clean, "val.pgd20": robust, "val.pgd10": robust}
    fields |= {
        "train.soft": robust / 100,
        "val.ce": torch.tensor([0.9, 0.4, 0.6]),
        "val.kl": torch.tensor([0.3, 0.1, 0.2]),
    }
    epochs = range(-1 if method.needs_start_record else 0, EPOCH)
    return ClassHistory(CLASSES, tuple(EpochRecord(epoch, fields) for epoch in epochs))


def method_of(name: str) -> Method:
    """The method of params.yaml, with DAFA's weights acting in the epoch of these tests."""
    method = METHODS[name]
    return method.scaled(0.8) if name == "dafa" else method


def policy_of(method: Method) -> Policy:
    policy = decide(method, history_for(method), THREAT, torch.device("cpu"))
    coefficients = policy.coefficients.to(torch.device("cpu"), torch.float64)
    return Policy(policy.epsilon.double(), policy.targets, coefficients)


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(BATCH) % CLASSES
    images = torch.rand((UPDATES, BATCH, 2, 6, 6), generator=generator, dtype=torch.float64)
    images = torch.where(images < 0.05, 0.0, images)  # at the edge of the box a start's projection shows
    return [(batch, labels) for batch in images]


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def ours(name: str) -> Watched:
    """The network after three steps of the project."""
    model, method = Watched().double().train(), method_of(name)
    clean_pass: CleanPass = method.recipe.get("clean_pass") or method.clean_pass
    step = MinimaxStep(model, optimizer_of(model), method, THREAT, clean_pass=clean_pass)
    attack_stream, target_stream = (torch.Generator().manual_seed(seed) for seed in (2, 3))
    tally = EpochTally(CLASSES, UPDATES, torch.device("cpu"), soft=False)
    for number, (images, labels) in enumerate(batches()):
        streams = {"attack_stream": attack_stream, "target_stream": target_stream}
        step(images, labels, policy_of(method), tally, number=number, epoch=EPOCH, **streams)
    return model


def public(name: str, loss_of: Callable[[Plain], Tensor], *, clean_pass: bool) -> Watched:
    """The network after three plain steps."""
    model, method = Watched().double().train(), method_of(name)
    policy, optimizer = policy_of(method), optimizer_of(model)
    attack_stream, target_stream = (torch.Generator().manual_seed(seed) for seed in (2, 3))
    for images, labels in batches():
        epsilon = policy.epsilon[labels]
        targets = None if policy.targets is None else draw(policy.targets, labels, target_stream)
        weights = (policy.coefficients.clean[labels], policy.coefficients.robust[labels])
        step_size = method.margin.steps(epsilon, THREAT)
        loss = loss_of(Plain(model, images, labels, targets, epsilon, step_size, *weights, attack_stream))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clean_pass:
            with torch.no_grad():
                model(images)
    return model


def largest_differences(one: nn.Module, other: nn.Module) -> dict[str, float]:
    """Of the parameters, the running means and the running variances."""
    found = {"parameters": 0.0, "running_mean": 0.0, "running_var": 0.0}
    theirs = other.state_dict()
    for name, value in one.state_dict().items():
        kind = name.rpartition(".")[2] if "running" in name else "parameters"
        if value.is_floating_point():
            found[kind] = max(found[kind], float((value - theirs[name]).abs().max()))
    return found


@pytest.mark.parametrize("case", CASES)
def test_three_updates_leave_the_parameters_and_statistics_of_public_code(case: str) -> None:
    """AF-60."""
    name, loss_of, clean_pass = CASES[case]
    differences = largest_differences(ours(name), public(name, loss_of, clean_pass=clean_pass))
    print(f"{case:28}", *(f"{kind} {value:.1e}" for kind, value in differences.items()))
    assert max(differences.values()) < 1e-12


def test_one_forward_less_or_in_another_place_would_be_seen() -> None:
    """The statistics of these tests tell the orders apart that the methods differ in."""
    wanted = public("trades_original_6", trades, clean_pass=False)
    other = public("trades_original_6", attacked_first, clean_pass=False)
    assert largest_differences(wanted, other)["running_mean"] > 1e-4
    one_pass, two_passes = public("fair_tat", at, clean_pass=True), public("fair_tat", fair_tat, clean_pass=True)
    differences = largest_differences(one_pass, two_passes)
    assert differences["running_mean"] > 1e-4
    assert differences["parameters"] == 0, "batch statistics alone decide the update"


FORWARDS = {
    "clean": (1, 0),
    "at_constant": (4 + 1 + 1, 0),
    "at": (4 + 1 + 1, 0),
    "fair_tat": (4 + 1 + 2, 0),
    "fair_tat_uniform": (4 + 1 + 2, 0),
    "fair_tat_constant": (4 + 1 + 2, 0),
    "fair_tat_one_pass": (4 + 1 + 1, 0),
    "trades": (2 + 1, 1 + 4),
    "trades_cfa": (2 + 1, 1 + 4),
    "fair_tat_trades": (2 + 1, 4),
    "trades_original_6": (2, 1 + 4),
    "fat": (4 + 1 + 1, 0),
    "fair_tat_fat": (4 + 1 + 1, 0),
    "frl": (2, 1 + 4),
    "wat": (2, 1 + 4),
    "dafa": (2, 1 + 4),
    "bat": (3, 1 + 4),
    "pgd_at": (4 + 1, 0),
    "gairat": (1, 4),
}
"""Train-mode and eval-mode forwards of one step whose attack makes four: those of the attack, then of the update."""


@pytest.mark.parametrize("name", FORWARDS)
def test_a_step_pays_for_no_forward_that_repeats_another(name: str) -> None:
    model = ours(name)
    assert (model.train_forwards, model.eval_forwards) == tuple(UPDATES * count for count in FORWARDS[name])


def test_only_fair_tat_on_at_pays_for_a_second_clean_pass() -> None:
    passes = {name: method.recipe.get("clean_pass") or method.clean_pass for name, method in METHODS.items()}
    twice = {name for name, when in passes.items() if when == "before_and_after"}
    assert twice == {"fair_tat", "fair_tat_uniform", "fair_tat_constant", "fair_tat_uniform_constant", "xcit_fair_tat"}


def test_the_momenta_of_trades_are_those_of_three_forwards() -> None:
    found = momenta(("x", "x'", "x"), 0.1)
    assert list(found) == ["x'", "x"]
    assert found["x"] == pytest.approx(0.181, abs=1e-15)
    assert (1 - found["x"]) * (1 - found["x'"]) == pytest.approx(0.9**3, abs=1e-15)


@pytest.mark.parametrize("order", [("a",), ("a", "b"), ("a", "a"), ("a", "b", "a"), ("b", "a", "b", "a", "c")])
def test_forwards_in_any_order_leave_the_statistics_of_all_of_them(order: tuple[str, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand((8, 2, 6, 6), generator=generator, dtype=torch.float64) for name in set(order)}
    once, each = Watched().double().train(), Watched().double().train()
    logits = forward_each(once, inputs, order)
    for name in order:
        torch.testing.assert_close(logits[name], each(inputs[name]), rtol=0, atol=1e-12)
    assert once.train_forwards == len(set(order))
    assert max(largest_differences(once, each).values()) < 1e-13


def test_momenta_come_back_when_a_forward_fails() -> None:
    model = Watched().double().train()
    before = [norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
    with pytest.raises(RuntimeError):
        forward_each(model, {"a": torch.rand(4, 9, 6, 6).double()}, ("a", "a"))
    assert [norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)] == before


def test_a_cumulative_batch_norm_is_left_to_itself() -> None:
    model: Any = nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.Flatten())
    forward_each(model, {"a": torch.rand(4, 2, 3, 3)}, ("a", "a"))
    assert model[0].momentum is None
    assert copy.deepcopy(model)[0].num_batches_tracked == 1
