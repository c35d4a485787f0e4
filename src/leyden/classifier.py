"""Data > batch > **augment > backbone > head > loss > metrics** > checkpoint: the whole step in sight.

Shapes: B images of a batch, C channels, H x W pixels, K classes. Where several labels are learnt, labels are [B, K]
as logits are; where a number is, both are [B].
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities.enums import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric

from leyden.augment import Augmentation
from leyden.data import Batch
from leyden.finetune import Finetune
from leyden.optim import base_rate
from leyden.random import mix_seed, seed_generators
from leyden.test_time import TestTime
from leyden.training_metrics import NonFiniteLoss, TrainingMetrics, is_last_batch


class ImageClassifier(pl.LightningModule):
    """Learns what the labels of batches of uint8 images say: a class, any number of them, or a number.

    `make_optimizer(module, device=…, …)` and `make_schedule(optimizer, total_steps=…)` give the optimizer and its
    schedule, `finetune` what of the network trains; `seed` and the position in training (epoch, batch, rank) decide all
    that is random in a step, so a step can be repeated from its position alone. Loss and metrics are those of the
    data's task.
    """

    def __init__(
        self,
        augment: Augmentation,
        backbone: nn.Module,
        head: nn.Module,
        loss: nn.Module,
        finetune: Finetune,
        make_optimizer: Callable[..., Optimizer],
        make_schedule: Callable[..., LRScheduler | ReduceLROnPlateau],
        metrics: tuple[Metric, Metric],
        test_time: TestTime,
        seed: int,
        monitor: str = "val/accuracy",
        log_every_n_steps: int = 50,
    ) -> None:
        super().__init__()
        self.augment, self.backbone, self.head, self.loss = augment, backbone, head, loss
        self.finetune, self.make_optimizer, self.make_schedule = finetune, make_optimizer, make_schedule
        self.seed, self.monitor, self.log_every_n_steps = seed, monitor, log_every_n_steps
        self.loaded: dict[str, Any] | None = None  # how the weights that it begins with fitted
        self.position = (0, 0, 0)  # epoch, batch, rank: where in training the step at hand is
        self.val_metrics, self.test_metrics = metrics
        self.test_time = test_time
        self.train_metrics = TrainingMetrics(has_accuracy=self.val_metrics.headline == "accuracy")
        self.test_outputs: list[tuple[Tensor, Tensor, Tensor]] = []  # logits [B, K], labels and indices [B]

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook on the module, forty times a step; nn.Module would look at every one
        # as a parameter that may be registered, which costs a small network a tenth of its step.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, C, H, W], or the features of them, to logits [B, K]."""
        return self.head(features_of(images, self.backbone))

    def _on_before_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> Batch:
        return batch  # Lightning would ask the data module and this module for hooks that neither has

    def _apply_batch_transfer_handler(
        self, batch: Batch, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Batch:
        """Moves a batch that is not there yet; Lightning would take every one apart to find out."""
        if device is None or batch.images.device == device:
            return batch
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, targets = self.augment(batch, *self.position)
        logits = self.head(features_of(images, self.backbone))  # [B, K]
        loss = self.loss(logits, targets)
        self.train_metrics.update(loss, logits, batch.labels)  # stays on the device
        return loss

    # Lightning asks for the arguments' names in every step; a signature that stands there need not be made each time.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        logits = self(self.augment.normalize(batch.images))
        self.val_metrics.update(logits, batch.labels)
        return logits

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        images = self.augment.normalize(batch.images)
        logits = self.test_time.answer(self, images)
        self.test_metrics.update(logits, batch.labels)
        self.test_outputs.append((logits.float(), batch.labels, batch.indices))
        return logits

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # Dropout draws from torch's generators: seeded by position, a repeated step draws what it drew before.
        trainer = self.trainer
        self.position = (trainer.current_epoch, batch_index, trainer.global_rank)
        seed_generators(mix_seed(self.seed, *self.position), batch.images.device)
        self.finetune.at_epoch(trainer.current_epoch)
        self.train_metrics.begin(trainer.global_step, base_rate(trainer.optimizers[0]))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.finetune.adjust_gradients()
        if self.train_metrics.gradient_norm is None:  # the first step of an interval
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            self.train_metrics.gradient_norm = nn.utils.get_total_norm(gradients)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        # At an epoch's last batch too: a loss gone wrong is met before validation and before a checkpoint.
        trainer = self.trainer
        is_last = is_last_batch(trainer, batch_index)
        if is_last or len(self.train_metrics.losses) >= self.log_every_n_steps:
            self._log(self.train_metrics.read_interval(trainer))
        if is_last and trainer.global_step == trainer.max_steps:
            trainer.should_stop = True  # Lightning validates at the end of an epoch, or where it is to stop,
            trainer.check_val_every_n_epoch = 1  # in epochs that come to it

    def check_finite(self) -> None:
        """Refuses a state that is not worth saving: going on from it would fail at once, and for ever.

        Raises:
            NonFiniteLoss: a loss that was not read yet, or a weight, is NaN or infinite.
        """
        self.train_metrics.finite_losses(self.trainer)
        if not nn.utils.get_total_norm(list(self.parameters())).isfinite():
            raise NonFiniteLoss(
                f"a weight became NaN or infinite by step {self.trainer.global_step}: lower optimizer.lr, lengthen the "
                "warm-up, or clip with trainer.gradient_clip_val=1"
            )

    def on_train_epoch_start(self) -> None:
        self.train_metrics.reset()

    def on_train_epoch_end(self) -> None:
        self._log(self.train_metrics.compute(self.trainer))

    def on_validation_start(self) -> None:
        if self.trainer.world_size > 1:  # what is validated is what is saved: the first rank's batch statistics
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_epoch_end(self) -> None:
        metrics = {f"val/{name}": value for name, value in self.val_metrics.compute().items()}
        self.val_metrics.reset()
        self._log(self.train_metrics.read_interval(self.trainer))  # validation may come within an epoch
        train = self.train_metrics.compute(self.trainer)
        if "train/accuracy" in train:
            metrics["val/accuracy_gap"] = train["train/accuracy"] - metrics["val/accuracy"]
        self._log(metrics)
        self.tell_callbacks(metrics)

    def on_test_epoch_end(self) -> None:
        metrics = {f"test/{name}": value for name, value in self.test_metrics.compute().items()}
        self._log(metrics)
        self.tell_callbacks(metrics)

    def tell_callbacks(self, metrics: Mapping[str, Any]) -> None:
        """Lets early stopping, the plateau schedule, checkpoints and whoever looks at `callback_metrics` read these.

        `self.log` does it too, in half a millisecond for each number, of which an epoch has dozens.
        """
        told = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in metrics.items()}
        self.trainer.callback_metrics.update(told)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if self.trainer.precision == "bf16-mixed":  # no scaler: nothing that a fused optimizer would unscale too late
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(self.trainer.precision_plugin, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        device, has_scaler = self.trainer.strategy.root_device, self.trainer.precision == "16-mixed"
        optimizer = self.make_optimizer(
            self,
            device=device,
            has_scaler=has_scaler,
            rates=self.finetune.rates(),
            undecayed=self.finetune.undecayed(),
            changes_with_time=self.finetune.changes_with_time,
        )
        schedule = self.make_schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        plateau = isinstance(schedule, ReduceLROnPlateau)
        every = self.trainer.check_val_every_n_epoch or 1
        interval: dict[str, Any] = {"interval": "step"}
        if plateau:  # without validation, as in a rehearsal, there is nothing to go by
            is_known = self.trainer.limit_val_batches != 0
            interval = {"interval": "epoch", "monitor": self.monitor, "frequency": every, "strict": is_known}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, **interval}}

    def _log(self, metrics: dict[str, float]) -> None:
        for logger in self.trainer.loggers if metrics else ():
            logger.log_metrics({"epoch": self.current_epoch, **metrics}, step=self.global_step)


def features_of(images: Tensor, backbone: nn.Module) -> Tensor:
    """What the backbone says of images [B, C, H, W]; features [B, F] that were computed before are that already."""
    return images if images.ndim == 2 else backbone(images)
