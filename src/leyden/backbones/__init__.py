"""Augment > **backbones** > head: networks from images [B, C, H, W] to features [B, num_features]."""

from leyden.backbones.cnn import CNN
from leyden.backbones.mlp import MLP
from leyden.backbones.resnet import ResNet
from leyden.backbones.timm_backbone import TimmBackbone
from leyden.backbones.vit import ViT
from leyden.backbones.wide_resnet import WideResNet

__all__ = ["CNN", "MLP", "ResNet", "TimmBackbone", "ViT", "WideResNet"]
