"""Export, evaluate > **lineage** > W&B: what was made of a run's network is added there, with what it was made from.

A run at W&B has used its data and made its checkpoints. An export, or an evaluation, is made by a job of its own there,
which has used the very same versions: W&B tells files by their content, and takes no second copy of what it has.
"""

import contextlib
import logging
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from leyden.config import CONFIG_DIRECTORY
from leyden.errors import explain
from leyden.wandb_names import has_key, mode_for_this_machine, place_of

log = logging.getLogger(__name__)

ARTIFACTS = {"none": (), "best": ("best",), "best_and_last": ("last", "best")}  # which checkpoints go there
SECONDS_TO_BEGIN = 20  # until W&B is taken for unreachable
SECONDS_TO_UPLOAD = 600  # where nobody waits for the end of a run
MOST_TRIES = 2  # of a request, once W&B was reached
NOT_IN_A_NAME = str.maketrans(dict.fromkeys('/\\#?%:"<>\r\n ', "_"))
LONGEST_NAME = 128  # letters


@dataclass(frozen=True)
class Made:
    """What a command has made of a run's checkpoint: an artefact, and the job at W&B that makes it there."""

    job: str  # what the job is: export, evaluation
    type: str  # of the artefact: model, evaluation
    name: str  # what tells it from others of the same run: a format, a split
    files: Mapping[str, Path]  # files and directories by their names in it
    facts: Mapping[str, Any]  # what it is, in plain types
    data: Mapping[str, Any] = field(default_factory=dict)  # name and fingerprint of the data that it has used, if any
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the job


def logger_of(config: DictConfig) -> Any:
    """The logger of a run's config where that is W&B's; for a run without, W&B's as conf/ has it."""
    node = config.get("logger")
    is_ours = node is not None and node.get("_target_") == "leyden.loggers.WandbLogger"
    return node if is_ours else OmegaConf.load(CONFIG_DIRECTORY / "logger" / "wandb.yaml")


def data_artifact(facts: Mapping[str, Any]) -> Any:
    """Data as W&B has them: their fingerprint alone, so that the same data are the same version, and their facts."""
    import wandb

    plain = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    data = wandb.Artifact(f"data-{facts['fingerprint'][:12]}", type="dataset", metadata=plain)
    with data.new_file("fingerprint.txt", encoding="utf-8") as file:
        file.write(facts["fingerprint"])
    return data


def model_artifact(record: Mapping[str, Any], checkpoint: Path) -> Any:
    """A checkpoint of the run that `record` is of, with the metrics of the run's end."""
    import wandb

    model = wandb.Artifact(f"model-{record['run_id']}", type="model", metadata=dict(record.get("metrics", {})))
    model.add_file(str(checkpoint), policy="immutable", skip_cache=True)
    return model


def add(record: Mapping[str, Any], checkpoint: Path, artifacts: str, made: Made) -> str | None:
    """Adds what was made of a checkpoint to the run of `record` at W&B; returns where it is there.

    Nothing is sent, and None returned, where W&B does not have the run or this machine is not online there, or where
    the checkpoint is none of those that the run uploads (`artifacts`). Where W&B fails, that is warned of.
    """
    address = (record.get("wandb") or {}).get("address")
    is_uploaded = checkpoint.parent.name == "checkpoints" and checkpoint.stem in ARTIFACTS[artifacts]
    is_online = has_key() and mode_for_this_machine() == "online"
    if not (address and is_uploaded and is_online):
        return None
    try:
        return _send(record, checkpoint, made)
    except Exception as error:  # W&B's client raises many kinds
        log.warning(
            "W&B: the %s is not there (%s); it lies here whole, and the same line again sends it",
            made.job, explain(error),
        )  # fmt: skip
        return None


def _send(record: Mapping[str, Any], checkpoint: Path, made: Made) -> str | None:
    """Has a job at W&B make the artefact there; returns its name and the job's address, None if the run is unknown."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    api = wandb.Api(timeout=SECONDS_TO_BEGIN)
    entity, project = place_of(record["wandb"]["address"])
    if not _is_there(api, f"{entity}/{project}/{record['run_id']}"):
        return None
    with tempfile.TemporaryDirectory(prefix="leyden-", ignore_cleanup_errors=True) as directory:
        job = wandb.init(
            entity=entity,
            project=project,
            id=secrets.token_hex(8),  # or an id in the environment would be taken
            job_type=made.job,
            name=f"{made.job} {made.name}",
            config={"run": record["run_id"], "address": record["wandb"]["address"], **made.facts},
            dir=directory,
            mode="online",
            reinit="create_new",
            settings=_client_settings(),
        )
        try:
            _use(api, job, model_artifact(record, checkpoint), checkpoint.stem)
            if made.data:
                own = record.get("data", {})
                is_own = own.get("fingerprint") == made.data["fingerprint"]
                _use(api, job, data_artifact(own if is_own else made.data), "latest")
            sent = job.log_artifact(_artifact(record, made), aliases=[checkpoint.stem]).wait(SECONDS_TO_UPLOAD)
            job.summary.update(dict(made.metrics))
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                job.finish(exit_code=1)
            raise
        job.finish()
        return f"{sent.qualified_name}, {job.url}"


def _is_there(api: Any, path: str) -> bool:
    """Whether W&B has a run and shows it to the owner of this machine's key, who may be another than the run's."""
    try:
        api.run(path)
    except Exception as error:
        if "Could not find run" not in str(error):
            raise
        return False
    return True


def _use(api: Any, job: Any, artifact: Any, alias: str) -> None:
    """Notes that a job has used an artefact: the version of that content, which W&B is given only if it has none."""
    name = f"{job.entity}/{job.project}/{artifact.name}:{alias}"
    known = api.artifact(name) if api.artifact_exists(name) else None
    job.use_artifact(known if known is not None and known.digest == artifact.digest else artifact)


def _artifact(record: Mapping[str, Any], made: Made) -> Any:
    import wandb

    name = f"{made.type}-{record['run_id']}-{made.name}".translate(NOT_IN_A_NAME)[:LONGEST_NAME]
    artifact = wandb.Artifact(name, type=made.type, metadata=dict(made.facts))
    for place, path in made.files.items():
        if path.is_dir():
            artifact.add_dir(str(path), name=place or None, policy="immutable", skip_cache=True)
        else:
            artifact.add_file(str(path), name=place, policy="immutable", skip_cache=True)
    return artifact


def _client_settings() -> Any:
    """Nothing of this process, and no waiting without an end."""
    import wandb

    return wandb.Settings(
        silent=True, console="off", quiet=True, x_disable_meta=True, x_disable_stats=True, disable_git=True,
        x_save_requirements=False, init_timeout=SECONDS_TO_BEGIN,
        finish_timeout=SECONDS_TO_UPLOAD, finish_timeout_raises=True,
        x_graphql_retry_max=MOST_TRIES, x_file_stream_retry_max=MOST_TRIES, x_file_transfer_retry_max=MOST_TRIES,
    )  # fmt: skip
