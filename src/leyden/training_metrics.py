"""Loss > **metrics**: what is known of training while it runs, gathered on the device and read at intervals.

Reading one number from an accelerator makes the host wait for it, so each step only keeps its loss and its answers on
the device; every `log_every_n_steps` they come over together.
"""

import math
from typing import Any

import torch
from torch import Tensor


class NonFiniteLoss(ArithmeticError):
    """The training loss became NaN or infinite."""


class TrainingMetrics:
    """Gathers loss and accuracy over an epoch, and over the interval since they were last read."""

    def __init__(self, has_accuracy: bool = True) -> None:
        self.has_accuracy = has_accuracy  # whether each image has one right answer
        self.losses: list[Tensor] = []  # one scalar per batch of the interval, on the device
        self.answers: list[tuple[Tensor, Tensor]] = []  # predictions and labels [B] of each of them
        self.positions: list[tuple[int, float]] = []  # step and learning rate of each of them
        self.gradient_norm: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Begins an epoch."""
        for kept in (self.losses, self.answers, self.positions):
            kept.clear()
        self.loss_sum, self.num_batches, self.num_images = 0.0, 0, 0
        self.num_correct = 0.0

    def begin(self, step: int, learning_rate: float) -> None:
        """Notes where training stands, so that a loss gone wrong can say at which step and learning rate."""
        self.positions.append((step, learning_rate))

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: loss scalar, logits [B, K], labels [B], or others where there is no accuracy."""
        self.losses.append(loss.detach())
        if self.has_accuracy:
            self.answers.append((logits.detach().argmax(1), labels))

    def read_interval(self, trainer: Any) -> dict[str, float]:
        """Mean loss since the last reading, last learning rate and gradient norm; empty when nothing happened since.

        Raises:
            NonFiniteLoss: with the step, learning rate and last gradient norm.
        """
        if not self.losses:
            return {}
        losses = self.finite_losses(trainer)
        norm = {} if self.gradient_norm is None else {"gradient_norm": float(self.gradient_norm)}
        if self.answers:
            predictions, labels = (torch.cat(parts) for parts in zip(*self.answers, strict=True))
            self.num_correct += float((predictions == labels).sum())
            self.num_images += len(labels)
            self.answers.clear()
        reading = {"train/loss_step": sum(losses) / len(losses), "lr": self.positions[-1][1], **norm}
        self.loss_sum += sum(losses)
        self.num_batches += len(losses)
        self.losses.clear()
        self.positions.clear()
        self.gradient_norm = None
        return reading

    def finite_losses(self, trainer: Any) -> list[float]:
        """The loss of each batch since the last reading, over all ranks.

        Raises:
            NonFiniteLoss: one of them is none.
        """
        if not self.losses:
            return []
        losses: list[float] = trainer.strategy.reduce(torch.stack(self.losses), reduce_op="mean").tolist()
        for loss, (step, learning_rate) in zip(losses, self.positions, strict=True):
            if not math.isfinite(loss):
                norm = None if self.gradient_norm is None else float(self.gradient_norm)
                raise NonFiniteLoss(_explain(loss, step, learning_rate, norm))
        return losses

    def state_dict(self) -> dict[str, Any]:
        """What this rank has gathered, as tensors on the CPU and plain numbers."""
        answers = [torch.cat(parts).cpu() for parts in zip(*self.answers, strict=True)]
        return {
            "sums": [self.loss_sum, self.num_batches, self.num_images, self.num_correct],
            "losses": torch.stack(self.losses).cpu() if self.losses else None,
            "answers": answers or None,
            "positions": list(self.positions),
            "gradient_norm": None if self.gradient_norm is None else self.gradient_norm.cpu(),
        }

    def load_state_dict(self, state_dict: dict[str, Any], device: torch.device) -> None:
        """Goes on gathering from there, on `device`."""
        self.loss_sum, self.num_batches, self.num_images, self.num_correct = state_dict["sums"]
        losses, answers, norm = (state_dict[key] for key in ("losses", "answers", "gradient_norm"))
        self.losses = [] if losses is None else list(losses.to(device))
        self.answers = [] if answers is None else [(answers[0].to(device), answers[1].to(device))]
        self.positions = [(step, learning_rate) for step, learning_rate in state_dict["positions"]]
        self.gradient_norm = None if norm is None else norm.to(device)

    def compute(self, trainer: Any) -> dict[str, float]:
        """Mean loss and, where there is one, accuracy of the epoch so far, over all ranks.

        Every interval must have been read.
        """
        assert not self.losses, "read_interval comes first"
        if not self.num_batches:
            return {}
        found = {"train/loss": self.loss_sum / self.num_batches}
        if not self.has_accuracy:
            return found
        correct = torch.tensor(self.num_correct / self.num_images, device=trainer.strategy.root_device)
        accuracy = float(trainer.strategy.reduce(correct, reduce_op="mean"))
        return found | {"train/accuracy": accuracy}


def is_last_batch(trainer: Any, batch_index: int) -> bool:
    """Whether no batch follows in this epoch, since it is the epoch's last or that of training."""
    return batch_index + 1 == trainer.num_training_batches or trainer.global_step == trainer.max_steps


def _explain(loss: float, step: int, learning_rate: float, gradient_norm: float | None) -> str:
    norm = "not read yet" if gradient_norm is None else f"{gradient_norm:.3g}"
    return (
        f"the training loss became {loss} at step {step} (learning rate {learning_rate:.3g}, gradient norm {norm}): "
        "lower optimizer.lr, lengthen the warm-up, or clip with trainer.gradient_clip_val=1"
    )
