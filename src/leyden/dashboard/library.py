"""**W&B's library of dashboards** > panels, layout, remote: imported here alone, with what has to be known of it."""

import warnings

try:
    with warnings.catch_warnings():
        # 0.4 declares its models in the manner of pydantic 1, and says so once, when it is imported.
        warnings.filterwarnings("ignore", "Pydantic V1 style", DeprecationWarning)
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
        from wandb_workspaces._graphql import execute_graphql
except ImportError as error:
    raise ValueError("leyden dashboard needs the package wandb-workspaces: pip install 'leyden[dashboard]'") from error

__all__ = ["execute_graphql", "reports", "workspaces"]
