"""Metrics.csv > followers > **TensorBoard**: event files in the run's directory, `tensorboard --logdir runs`."""

from collections.abc import Mapping
from typing import Any

from leyden.histograms import read_of_row
from leyden.loggers.follower import Follower

DIRECTORY = "tensorboard"


class TensorBoardLogger(Follower):
    """Follows a run in event files, which a run that goes on writes anew, whole."""

    tool = "TensorBoard"

    def open(self) -> int:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "logger=tensorboard needs the extra of that name: pip install 'leyden[tensorboard]'"
            ) from error
        place = self.run_directory / DIRECTORY
        for earlier in place.glob("events.*"):
            earlier.unlink()
        self.writer = SummaryWriter(str(place))
        return 0

    def send(self, index: int, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))
        for name, (counts, edges) in read_of_row(self.run_directory, row).items():
            middles = (edges[:-1] + edges[1:]) / 2  # for its sums, which it does not draw
            self.writer.add_histogram_raw(
                name, edges[0], edges[-1], counts.sum(), middles @ counts, middles**2 @ counts, edges[1:].tolist(),
                counts.tolist(), int(row["step"]),
            )  # fmt: skip

    def close(self, record: Mapping[str, Any]) -> None:
        import numpy as np
        from PIL import Image

        settings = self.run_directory / "config.yaml"
        if settings.is_file():
            self.writer.add_text("config", f"```yaml\n{settings.read_text(encoding='utf-8')}\n```")
        self.writer.add_text("status", " ".join(filter(None, [record["status"], record.get("reason")])))
        for path in sorted(self.run_directory.glob("*.png")):
            with Image.open(path) as picture:
                self.writer.add_image(path.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")
        self.writer.close()
