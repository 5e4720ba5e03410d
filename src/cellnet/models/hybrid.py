"""The study's hybrid: two networks side by side, fused by dense layers."""

from __future__ import annotations

import copy
from dataclasses import replace

from cellnet.backbones import CompositeBackbone
from cellnet.errors import ConfigError, LabelError
from cellnet.images import Preprocess
from cellnet.labels import LabelSchema
from cellnet.models.classifier import CellClassifier
from cellnet.models.heads import FusionHead, StudyHead


class HybridInceptionXception(CellClassifier):
    """The study's hybrid of InceptionV3 and Xception; other pairs of networks work the same way.

    The pooled features of each network pass a dense layer of 1024, are joined, and pass a dense layer of 512
    to the logits (`FusionHead`). The study trains it in two stages: first each network with a head of its own
    (``create_model(name, head="study")``), then the fused layers alone on the frozen networks
    (`from_branches`).

    Args:
        backbone: The networks, as one.
        labels: The classes, in the order of the logits.
        preprocess: How images are cut and resized; statistics 0 and 1, as for every composite backbone.
        head: The study's `FusionHead` where it is None.
        dropout: Dropout of that default head.

    Example:
        >>> from cellnet.models import create_model
        >>> branches = [create_model("cnn", head="study", image_size=32) for _ in range(2)]
        >>> hybrid = HybridInceptionXception.from_branches(*branches)
        >>> hybrid.backbone.name, hybrid.backbone_frozen
        ('cnn+cnn', True)
    """

    backbone: CompositeBackbone
    head: FusionHead

    def __init__(
        self,
        backbone: CompositeBackbone,
        labels: LabelSchema,
        preprocess: Preprocess,
        head: FusionHead | None = None,
        dropout: float = 0.5,
    ) -> None:
        if head is None:
            head = FusionHead([b.num_features for b in backbone.branches], len(labels), dropout)
        super().__init__(backbone, labels, preprocess, head)

    @classmethod
    def from_branches(
        cls, a: CellClassifier, b: CellClassifier, freeze: bool = True, *, dropout: float = 0.5
    ) -> HybridInceptionXception:
        """The study's second stage: fuse two trained classifiers.

        Both are copied, up to and including the dense layer of 1024; their last layer is left behind, and the
        fused layers start from nothing. Its ``origins`` are theirs and, where they have one, their cards.

        Args:
            a: First classifier, with the study's head.
            b: Second classifier, likewise.
            freeze: Train the fused layers alone (`freeze_branches`).
            dropout: Dropout of the fused layers.

        Raises:
            LabelError: The two know different classes.
            ConfigError: A head that is not the study's, or different image sizes, crops or interpolations.
        """
        if a.labels.names != b.labels.names:
            raise LabelError(
                f"The branches know different classes ({', '.join(a.labels.names)}; "
                f"{', '.join(b.labels.names)}); train both on the same labels."
            )
        heads = [branch.head for branch in (a, b) if isinstance(branch.head, StudyHead)]
        if len(heads) != 2:
            raise ConfigError(
                "A branch needs the study's head, whose dense layer is fused; "
                'build it by create_model(name, head="study").'
            )
        if a.preprocess != replace(b.preprocess, mean=a.preprocess.mean, std=a.preprocess.std):
            raise ConfigError(
                f"The branches cut or resize images differently ({a.preprocess}; {b.preprocess}); train both "
                "with the same image_size, crop and interpolation. Their mean and std may differ."
            )
        networks = []
        for branch in (a, b):
            network = copy.deepcopy(branch.backbone)
            network.mean, network.std = branch.preprocess.mean, branch.preprocess.std
            networks.append(network)
        fusion = FusionHead([n.num_features for n in networks], len(a.labels), dropout)
        for dense, head in zip(fusion.branches, heads, strict=True):
            dense.load_state_dict(head.branch.state_dict())
        backbone = CompositeBackbone(networks)
        preprocess = replace(a.preprocess, mean=backbone.mean, std=backbone.std)
        hybrid = cls(backbone, a.labels, preprocess, fusion)
        hybrid.origins = (*a.origins, *b.origins, *(card for card in (a.weights_card, b.weights_card) if card))
        hybrid.requires_grad_(True)
        if freeze:
            hybrid.freeze_branches()
        return hybrid

    def branch(self, index: int) -> CellClassifier:
        """One of the networks alone, as the hybrid has it now: a copy up to and including its dense layer of 1024.

        Its last layer starts from nothing, since the hybrid has none for a single network.

        Args:
            index: 0 for the first network, 1 for the second.

        Raises:
            ConfigError: No such network.
        """
        networks = self.backbone.branches
        if index not in range(len(networks)):
            raise ConfigError(f"There is no branch {index}; give one of {', '.join(map(str, range(len(networks))))}.")
        network = copy.deepcopy(networks[index])
        head = StudyHead(network.num_features, len(self.labels), self.head.dropout)
        head.branch.load_state_dict(self.head.branches[index].state_dict())
        preprocess = replace(self.preprocess, mean=network.mean, std=network.std)
        return CellClassifier(network, self.labels, preprocess, head).requires_grad_(True)

    def freeze_branches(self) -> None:
        """Freeze the networks and the dense layer behind each, so that the fused layers alone train.

        `freeze_backbone` freezes the networks only: right for networks from elsewhere, whose dense layers are
        still untrained.
        """
        self.freeze("backbone", "head.branches")
