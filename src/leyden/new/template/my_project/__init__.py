"""Parts of my_project, which files of conf/ name."""

from my_project.conv_mixer import ConvMixer

__all__ = ["ConvMixer"]
