"""Cross pseudo supervision (CPS): two networks with different first weights teach each other.

    L = L_seg(P1, label) + L_seg(P2, label) + lambda [L_seg(P1, Y2) + L_seg(P2, Y1)],  Yi = argmax Pi

Source: Chen et al. 2021, "Semi-supervised semantic segmentation with cross pseudo supervision" (arXiv:2106.01226);
for hearts, Luo et al. 2022 (arXiv:2112.04894), with a CNN and a transformer.
As in the paper, the second network doesn't predict.  The records score the EMA of the first.
Different from the paper:
- L_seg is cross-entropy and Dice.  The paper has cross-entropy alone.
- The networks see the same voxels with different intensities.  The paper's see the same image.
- All first weights are random.  The paper's backbones are pre-trained on ImageNet.
- Pseudo-labels count on unlabelled volumes only.
- lambda ramps up.  The paper's is constant.
- There is no CutMix, which the paper adds in a second experiment.
"""

from torch import nn

from ..mean_teacher import consistency_weight, logits_of, student_view, weighted_sum
from ..runtime.sync_norm import segmentation_loss_for
from ..vnet import VNet


class CrossTeaching(nn.Module):
    """A method (see ``laseg_lib.methods``) with a second network, ``second``, of the student's architecture."""

    def __init__(self, config, n_classes=2):
        super().__init__()
        self.second = VNet(1, n_classes, config.n_filters, config.normalization, config.has_dropout)

    def forward(self, student, teacher, image, label, config, iteration, generator=None):
        n, weight, loss = config.labelled_in_batch, consistency_weight(config, iteration), segmentation_loss_for(config)
        first = logits_of(student, student_view(image, n, config, generator))
        second = logits_of(self.second, student_view(image, n, config, generator))
        supervised = [sum(pair) for pair in zip(loss(first[:n], label[:n]), loss(second[:n], label[:n]))]
        distance = (loss(first[n:], second[n:].detach().argmax(1))[0]
                    + loss(second[n:], first[n:].detach().argmax(1))[0])
        return weighted_sum(*supervised, weight, distance)


METHOD = CrossTeaching
