"""Hydra's side of a user's own options: each start of Hydra looks into conf/ where the command is typed, after ours."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from leyden.config import CONFIG_DIRECTORY, own_directories


class OwnOptions(SearchPathPlugin):
    """Hydra finds it by its base class; programs with another conf/ than ours are left as they are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Adds what `own_directories` finds."""
        if any(element.path == str(CONFIG_DIRECTORY) for element in search_path.get_path()):
            for place in own_directories():
                search_path.append(provider="leyden", path=f"file://{place}")
