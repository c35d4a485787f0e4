"""A search's command line beside its preset's words and beside the other runs of its study."""

from studies import Study


def test_search_beside_a_grid_of_other_settings_is_refused_unless_told(study: Study) -> None:
    assert study("study=mine", "head.dropout=0,0.5", "epochs=1") == 0
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "study=mine", "head.dropout=interval(0,0.5)"]
    for plan in ("false", "true"):
        assert study(*words, "epochs=2", f"plan={plan}") == 1
        assert "was written with epochs=1, not epochs=2" in study.err
    assert len(study.results) == 2
    assert study(*words, "epochs=2", "mixed=true") == 0, study.err
    assert study(*words, "epochs=2", "hydra.sweeper.n_trials=2") == 0, study.err
    assert len(study.results) == 4


def test_search_varies_a_key_of_its_preset_as_the_command_line_says(study: Study) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "study=optimizers", "plan=true"]
    assert study(*words, "optimizer=adam", "optimizer.lr=tag(log,interval(1e-4,1e-1))") == 0, study.err
    assert "in         seed=0,1,2 × optimizer.lr=tag(log,interval(1e-4,1e-1))\n" in study.out
