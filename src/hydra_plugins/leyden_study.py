"""Hydra's side of studies: what `hydra/sweeper` and `hydra/launcher` name. Hydra finds plugins in this namespace alone.

Every start of Hydra imports this file, so it imports nothing heavy; `leyden.study` does the work.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StudyLauncher(Launcher):
    """Names the executor that a study runs its jobs with."""

    def __init__(self, executor: DictConfig) -> None:
        self.executor = executor

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Nothing: jobs do not run in this process."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Only another sweeper than a study's would call this."""
        raise ValueError("this hydra/launcher goes with hydra/sweeper=study or hydra/sweeper=optuna")


class StudySweeper(Sweeper):
    """Runs every combination of the values given; `params` are a preset's, whom the command line overrules."""

    def __init__(self, params: Mapping[str, Any] | None) -> None:
        self.presets = [f"{key}={'null' if value is None else value}" for key, value in (params or {}).items()]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what the sweep needs; the launcher is looked at already, for it may be misspelt."""
        self.loader, self.sweep_config = hydra_context.config_loader, config
        self.signals = task_function.signals  # type: ignore[attr-defined]  # what the command line listens to
        self.withheld = task_function.withheld  # type: ignore[attr-defined]  # overrides that Hydra need not see
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not isinstance(launcher, StudyLauncher):
            raise ValueError("hydra/launcher: a study runs with local, slurm or ray")

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the study."""
        from leyden.study.sweep import run_study

        run_study(self.sweep_config, self.loader, [*arguments, *self.withheld], self.presets, self.signals)


class OptunaSweeper(StudySweeper):
    """Searches in the values given; `options` are those of conf/hydra/sweeper/optuna.yaml."""

    def __init__(self, params: Mapping[str, Any] | None, **options: Any) -> None:
        super().__init__(params)
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        """Runs the search."""
        from leyden.study.sweep import run_search

        words = [*arguments, *self.withheld]
        run_search(self.sweep_config, self.loader, words, self.presets, self.signals, self.options)
