"""Metrics.csv > followers > **Weights & Biases**: one W&B run per run, online where there is a key, else in files.

A row of metrics.csv is a line of W&B's history, which says the row's number, so a run that goes on, or is sent later,
is given no row twice; the axes of its charts are our own `step` and `epoch`. W&B's file of a run that was killed cannot
be read, and one that goes on begins another: it is given every row again, and the file before it lies in
`wandb/superseded` from then on.
"""

import contextlib
import errno
import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.config import PACKAGE, REPEATS
from leyden.errors import explain
from leyden.histograms import read_of_row
from leyden.loggers.follower import Follower
from leyden.loggers.lineage import ARTIFACTS, SECONDS_TO_BEGIN, SECONDS_TO_UPLOAD, data_artifact, model_artifact
from leyden.loggers.shown import shown_of
from leyden.metric_names import OF_TEST, ROW, is_as_good, numbered, read_numbers
from leyden.run import DONE, is_writable, membership
from leyden.wandb_names import (
    ENDED,
    FACTORS,
    MOST_LETTERS,
    STEP,
    group_of,
    mode_for_this_machine,
    plain_factors,
    tidy_key,
)

log = logging.getLogger(__name__)

MOST_LETTERS_OF_A_TAG = 64  # or a job type in W&B
SECONDS_TO_END_ONLINE = 60  # before the run goes on in files
SHOWN = "shown"  # of the line with pictures and tables: how many rows there were


class WandbLogger(Follower):
    """Follows a run in W&B, and ends there as the run itself has ended.

    `mode="auto"` is online when a key is present and offline otherwise; nothing ever prompts. Files go to
    `<directory>/wandb`. What cannot be said to W&B goes on offline. `artifacts` are the checkpoints that are uploaded,
    online: none, best, best_and_last. With `code` the commit and what differs from it are noted, and online all of this
    project's code. With `is_later` another process than the run's own sends it: what that process is made of is not
    the run's.
    """

    tool = "W&B"

    def __init__(
        self,
        run_directory: Path,
        project: str = "leyden",
        entity: str | None = None,
        mode: str = "auto",
        directory: str = "runs",
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        artifacts: str = "best",
        code: bool = True,
    ) -> None:
        super().__init__(run_directory)
        if mode not in ("auto", "online", "offline"):
            raise ValueError(f"logger.mode={mode}: expected auto, online or offline")
        if artifacts not in ARTIFACTS:
            raise ValueError(f"logger.artifacts={artifacts}: expected {', '.join(ARTIFACTS)}")
        self.mode = mode_for_this_machine() if mode == "auto" else mode
        if mode == "auto" and os.environ.get("WANDB_MODE") == "disabled":
            log.warning("WANDB_MODE=disabled: W&B's files are written all the same; logger=csv leaves it out")
        self.artifacts, self.code = artifacts, code
        self.study = membership(run_directory)
        tags, cut = list(tags or []), name and name[:MOST_LETTERS]
        place = {"project": project, "entity": entity, "name": cut, "group": group, "tags": tags}
        self.settings: dict[str, Any] = place | (self._place_in_study(group, tags) if self.study else {})
        self.directory = Path(directory).resolve()  # W&B writes from a process of its own
        self.run: Any = None
        self.best: dict[str, Any] = {}
        self.has_recovered = self.is_later = False
        self.num_lines = 0  # of W&B's history, of which some are no rows

    def _place_in_study(self, group: str | None, tags: list[str]) -> dict[str, Any]:
        """Groups the run with its study; `job_type` is its setting, alike for those of other seeds, folds or splits."""
        words = {key: f"{key}={value}" for key, value in self.study["factors"].items()}
        setting = " ".join(word for key, word in words.items() if key not in REPEATS)
        return {
            "group": group or group_of(self.run_directory.parent, self.study["name"]),
            "job_type": setting[:MOST_LETTERS_OF_A_TAG] or "seeds",
            "name": " ".join(words.values())[:MOST_LETTERS],
            "tags": [*tags, *(word[:MOST_LETTERS_OF_A_TAG] for word in words.values())],
        }

    def open(self) -> int:
        import wandb

        (self.directory / "wandb").mkdir(parents=True, exist_ok=True)
        for place in (self.directory, self.directory / "wandb"):
            if not is_writable(place):  # W&B would take the system's temporary directory without a word
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        is_online = self.mode == "online"
        tidy_key()
        wandb.setup(wandb.Settings(silent=True))
        self.run = wandb.init(
            **self.settings,
            id=self.run_id,
            dir=str(self.directory),
            mode=self.mode,  # type: ignore[arg-type]
            resume="allow" if is_online else None,  # a file is whole by itself
            reinit="create_new",  # or W&B hands out a run that has not ended yet, in place of this one
            config=self.config | self._of_study(),
            settings=self._client_settings(),
        )
        self.run.define_metric("*", step_metric=STEP)
        for name in (ROW, OF_TEST, SHOWN):
            self.run.define_metric(name, hidden=True)
        self.best, self.num_lines, self.ends_in_test = {}, 0, False
        if not is_online:
            self._supersede()
            return 0
        num_known = int(self.run.summary.get(ROW, -1)) + 1
        self.num_lines, self.ends_in_test = int(self.run.starting_step), bool(self.run.summary.get(OF_TEST))
        for row in read_numbers(self.run_directory / "metrics.csv")[:num_known]:
            self._note_best(row)
        return num_known

    def _client_settings(self) -> Any:
        import wandb

        # W&B keeps the commit that the package is of, and the difference to it.
        of_the_code = {"git_root": str(PACKAGE), "save_code": True} if self.code else {"disable_git": True}
        of_another = {"x_disable_meta": True, "x_disable_stats": True, "disable_git": True}
        return wandb.Settings(
            silent=True, console="off", quiet=True, init_timeout=SECONDS_TO_BEGIN, finish_timeout_raises=True,
            finish_timeout=SECONDS_TO_UPLOAD if self.is_later else SECONDS_TO_END_ONLINE,
            **(of_another if self.is_later else of_the_code),
        )  # fmt: skip

    def _of_study(self) -> dict[str, Any]:
        return {"study": self.study, FACTORS: plain_factors(self.study["factors"])} if self.study else {}

    def _supersede(self) -> None:
        """Takes the files of earlier attempts out of W&B's sight: the new one will hold all that they do."""
        wandb_directory = self.directory / "wandb"
        newest = Path(self.run.dir).parent
        for earlier in wandb_directory.glob(f"*run-*-{self.run_id}*"):  # of one second, with a number after it
            if earlier.name != newest.name:
                (wandb_directory / "superseded").mkdir(exist_ok=True)
                earlier.replace(wandb_directory / "superseded" / earlier.name)

    def send(self, index: int, row: dict[str, float]) -> None:
        self._log(numbered(index, row) | self._histograms(row))
        if self._note_best(row):
            self.run.summary.update(self.best)

    def _log(self, line: Mapping[str, Any]) -> None:
        self.run.log(line, step=self.num_lines, commit=True)
        self.num_lines += 1

    def _histograms(self, row: dict[str, float]) -> dict[str, Any]:
        import wandb

        found = read_of_row(self.run_directory, row)
        return {name: wandb.Histogram(np_histogram=histogram) for name, histogram in found.items()}

    def _note_best(self, row: Mapping[str, float]) -> bool:
        """Whether no row before this one was better."""
        monitor = str(self.config.get("monitor"))
        if monitor not in row or math.isnan(value := row[monitor]):
            return False
        if self.best and not is_as_good(monitor, value, self.best[f"best/{monitor}"]):
            return False
        self.best = {f"best/{monitor}": row[monitor], "best/epoch": row["epoch"], "best/step": row["step"]}
        return True

    def close(self, record: Mapping[str, Any]) -> None:
        self.run.config.update({"facts": facts_of(record)}, allow_val_change=True)
        if record["status"] == "finished" and self.run.summary.get(SHOWN) != self.num_sent:
            self._log(shown_of(self.run_directory) | {SHOWN: self.num_sent})
        self._keep_files()
        if self.mode == "online" and self.artifacts != "none":
            try:
                self._upload(record)
            except Exception as error:
                log.warning("W&B: the run's artifacts could not be uploaded: %s", explain(error))
        ending = {"status": record["status"], "reason": record.get("reason"), ENDED: record.get("ended")}
        self.run.summary.update(self.best | record.get("metrics", {}) | ending)  # last: it says that all else is there
        self.run.finish(exit_code=exit_code(record))

    def _keep_files(self) -> None:
        """Copies the run's own records to W&B's directory, from where they are uploaded."""
        copies = Path(self.run.dir) / "leyden"
        copies.mkdir(exist_ok=True)
        for path in self.records():
            shutil.copy(path, copies)
        self.run.save(f"{copies}/*", base_path=self.run.dir, policy="now")

    def recover(self, error: Exception) -> int:
        """Goes on in files, which are given every row again; whoever was not reached can be sent them later."""
        import wandb

        is_of_this_disk = isinstance(error, OSError) and error.filename is not None  # where files fare no better
        if self.has_recovered or is_of_this_disk:
            raise error
        self.has_recovered = True
        log.warning(
            "W&B: %s; the run goes on in files below %s, which `leyden sync` uploads later",
            explain(error), self.directory / "wandb",
        )  # fmt: skip
        with contextlib.suppress(Exception):  # of a service that is no more
            wandb.teardown(exit_code=1)
        self.mode = "offline"
        return self.open()

    def describe(self) -> dict[str, Any]:
        """The run's id at W&B, its address there if it is online by now, and where its files are."""
        address = self.run.url if self.run and self.mode == "online" else None
        return {"id": self.run_id, "address": address, "directory": str(self.directory / "wandb")}

    def _upload(self, record: Mapping[str, Any]) -> None:
        """The data by their fingerprint, the checkpoints and the code, each with what it came from."""
        if record.get("data", {}).get("fingerprint"):
            self.run.use_artifact(data_artifact(record["data"]))
        for name in ARTIFACTS[self.artifacts]:
            path = self.run_directory / "checkpoints" / f"{name}.ckpt"
            if path.is_file():
                self.run.log_artifact(model_artifact(record, path), aliases=[name])
        if self.code and not self.is_later:
            self.run.log_code(str(PACKAGE), include_fn=lambda path: path.endswith((".py", ".yaml")))


def exit_code(record: Mapping[str, Any]) -> int:
    """What tells W&B whether a run is `finished` or `failed`."""
    return 0 if record["status"] in DONE else 1


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of run.json is worth filtering runs by, beside their config."""
    of_the_code = ("versions", "git_commit", "git_dirty", "project_commit", "project_dirty")
    known = ("device", "precision", "parameters", *of_the_code, "command", "timings")
    facts = {key: record[key] for key in known if key in record}
    data = record.get("data", {})
    return facts | {"data_fingerprint": data.get("fingerprint"), "attempt": record.get("attempt")}
