"""Jobs are composed as Hydra composes them, and identified by what their results depend on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from leyden.check import GROUPS
from leyden.config import CONFIG_DIRECTORY, register
from leyden.study.local import command_of_ranks
from leyden.study.plan import Composer, grid, make_plan

ONE_OF_EACH_OPTION = [
    f"{group}={path.stem}" for group in (*GROUPS, "experiment") for path in sorted((CONFIG_DIRECTORY / group).glob("*"))
]


FOLDER = ["data=image_folder", "data.root=a"]


@pytest.fixture
def composer(tmp_path: Path) -> Iterator[Composer]:
    register()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield Composer(loader, loader.load_configuration("train", ["name=test"], RunMode.MULTIRUN), tmp_path)


def by_hydra(*overrides: str) -> Any:
    config = compose("train", overrides=list(overrides))
    OmegaConf.resolve(config)
    return OmegaConf.to_container(config)


@pytest.mark.parametrize(
    "overrides",
    [
        *([word, "seed=7", "batch_size=32"] for word in ONE_OF_EACH_OPTION),
        ["optimizer=sgd", "optimizer.momentum=0.5", "optimizer.lr=1e-3"],
        ["~callbacks.ema", "+callbacks.mine={_target_: my.Part, value: [1, 2]}"],
        ["++head.dropout=0.5", "+trainer.fast_dev_run=true"],
        ["augment=standard", "~augment.operations.flip"],
        ["experiment=digits", "optimizer=sgd", "head.dropout=0.1"],
    ],
    ids=" ".join,
)
def test_composition_is_hydras(overrides: list[str], composer: Composer) -> None:
    words = ["name=test", *overrides]
    for _ in range(2):  # from files, and from what is kept of them
        config = composer.compose(words)
        OmegaConf.resolve(config)
        ours = {key: value for key, value in OmegaConf.to_container(config).items() if key != "hydra"}  # type: ignore[union-attr]
        assert ours == by_hydra(*words)


def identity(composer: Composer, *overrides: str) -> str:
    return composer.make_job(["name=test", *overrides]).id


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["head.dropout=0"], ["head.dropout=0.0"]),
        (["head.dropout=0"], ["head.dropout=-0.0"]),
        (["optimizer.betas=[0,0.999]"], ["optimizer.betas=[-0.0,0.999]"]),
        (["optimizer.lr=1e-4"], ["optimizer.lr=0.0001"]),
        ([], ["optimizer=adamw", "seed=0"]),
        (["seed=1", "head.dropout=0.5"], ["head.dropout=0.5", "seed=1"]),
        ([], ["name=other", "runs_dir=elsewhere", "logger=csv", "debug=true", "jobs=7", "pictures=true"]),
        ([], ["logger.tags=[mine]", "callbacks.checkpoints.every_n_steps=5"]),
        (FOLDER, [*FOLDER, "data.num_workers=3"]),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_give_the_same_bits_are_the_same_job(
    first: list[str], second: list[str], composer: Composer
) -> None:
    assert identity(composer, *first) == identity(composer, *second)


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=1"], ["optimizer.lr=0.5"], ["optimizer=sgd"], ["data.split_seed=1"],
        ["trainer.precision=32"], ["epochs=21"], ["steps=5"], ["augment=flip_crop"], ["monitor=val/loss"],
        ["~callbacks.ema"], ["optimizer.betas=[0.8,0.999]"], ["+callbacks.mine={_target_: leyden.callbacks.Progress}"],
        ["data.root=elsewhere"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_settings_that_give_other_bits_are_another_job(overrides: list[str], composer: Composer) -> None:
    assert identity(composer, *overrides) != identity(composer)


def test_grid_is_the_product_in_the_order_of_the_command_line() -> None:
    overrides = OverridesParser.create().parse_overrides(["seed=0,1", "optimizer=sgd", "head.dropout=choice(0,0.5)"])
    assert [words for words, _ in grid(overrides)] == [
        ("seed=0", "optimizer=sgd", "head.dropout=0"), ("seed=0", "optimizer=sgd", "head.dropout=0.5"),
        ("seed=1", "optimizer=sgd", "head.dropout=0"), ("seed=1", "optimizer=sgd", "head.dropout=0.5"),
    ]  # fmt: skip


def test_key_of_a_preset_that_is_given_one_value_stays_a_factor() -> None:
    overrides = OverridesParser.create().parse_overrides(["seed=0,1", "optimizer=sgd,adam", "seed=3", "epochs=2"])
    assert grid(overrides) == [
        (("seed=3", f"optimizer={name}", "epochs=2"), {"seed": "seed=3", "optimizer": f"optimizer={name}"})
        for name in ("sgd", "adam")
    ]


def test_plan_keeps_what_all_jobs_share(composer: Composer) -> None:
    words = ["name=test", "optimizer=sgd,adam", "seed=0,1", "epochs=5", "steps=1000", "head.dropout=0.25"]
    plan = make_plan(composer, composer.parser.parse_overrides(words))
    assert len({job.id for job in plan.jobs}) == 4
    assert plan.factors == {"optimizer": ["sgd", "adam"], "seed": [0, 1]}
    assert [plan.settings[key] for key in ("epochs", "steps", "head.dropout")] == [5, 1000, 0.25]
    assert plan.settings["backbone"] == "cnn"  # an option that was chosen
    assert not {"seed", "optimizer", "study"} & plan.settings.keys()
    assert "optimizer._target_" not in plan.settings


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer.lr=-1", "seed=0,1,2"], "{-1}"),
        (["optimizer.lr=-1", "seed=0"], "{-1}"),
        (["optimizer.lr=-1,-2", "seed=0"], "2 of the 2 runs … {-1} [optimizer.lr=-1]; {-2} [optimizer.lr=-2]"),
        (["optimizer.lr=-1,1", "seed=0"], "1 of the 2 runs … {-1} [optimizer.lr=-1]"),
        (
            ["optimizer.lr=-1,0.1,-2", "seed=0,1,2"],
            "6 of the 9 runs … {-1} [optimizer.lr=-1 seed=0 and 2 more]; {-2} [optimizer.lr=-2 seed=0 and 2 more]",
        ),
        (
            ["optimizer.lr=-1,-2,-3,-4,-5,-6,-7"],
            "7 of the 7 runs … {-1} [optimizer.lr=-1]; {-2} [optimizer.lr=-2]; {-3} [optimizer.lr=-3]; "
            "{-4} [optimizer.lr=-4]; {-5} [optimizer.lr=-5]; and 2 other reasons",
        ),
        (
            ["optimizer.lr=-1,-2,-3,-4,-5"],
            "5 of the 5 runs … {-1} [optimizer.lr=-1]; {-2} [optimizer.lr=-2]; {-3} [optimizer.lr=-3]; "
            "{-4} [optimizer.lr=-4]; {-5} [optimizer.lr=-5]",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_runs_are_counted_and_each_reason_is_said_once(
    overrides: list[str], said: str, composer: Composer
) -> None:
    said = said.replace(" … ", " cannot be made, so none was started: ")
    said = re.sub(r"{(-\d)}", r"optimizer.lr=\1 is out of range: give a number above 0", said)
    with pytest.raises(ValueError, match=r"optimizer\.lr=-1 is out of range") as caught:
        make_plan(composer, composer.parser.parse_overrides(["name=test", *overrides]))
    assert str(caught.value) == said


def test_command_of_a_sweep_has_what_finds_its_files_and_not_its_place(tmp_path: Path) -> None:
    register()
    search = f"hydra.searchpath=[file://{tmp_path}]"
    words = ["name=test", "hydra.mode=MULTIRUN", "hydra.sweep.dir=/elsewhere", search, "hydra.verbose=true"]
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        composer = Composer(loader, loader.load_configuration("train", words, RunMode.MULTIRUN), tmp_path)
        assert composer.command_line(["seed=0,1"]) == [search, "hydra.verbose=true", "seed=0,1"]
        assert composer.make_job(["name=test"]).options == (search,)


@pytest.mark.parametrize(("devices", "processes"), [("2", 2), ("1", 1), ("auto", 1)])
def test_job_has_as_many_processes_as_devices(devices: str, processes: int, composer: Composer) -> None:
    assert composer.make_job(["name=test", f"trainer.devices={devices}"]).devices == processes


@pytest.mark.parametrize("devices", ["-1", "[0,1]"])
def test_devices_that_a_study_cannot_hand_out_are_refused(devices: str, composer: Composer) -> None:
    with pytest.raises(ValueError, match=r"trainer\.devices=.* give how many each run takes"):
        composer.make_job(["name=test", f"trainer.devices={devices}"])


def test_runs_of_a_study_draw_no_pictures_unless_they_are_asked_to(composer: Composer) -> None:
    assert composer.make_job(["name=test"]).config["pictures"] is False
    assert composer.make_job(["name=test", "pictures=true"]).config["pictures"] is True
    assert "pictures=false" in command_of_ranks(composer.make_job(["name=test"]))
