"""The two contrastive objectives (arXiv 2404.17178, section 3): context–context and context–label.

Both take similarities, which are minus a divergence over a temperature, and come in three variants of the
per-anchor loss, with P the anchor's positives and A all its candidates:

- `container`: −log( Σ_P eˢ / |P| / Σ_A eˢ ), the original of CONTaiNER (Das et al., ACL 2022, eq. 6);
- `supcon_out`: −(1/|P|) Σ_P log( eˢ / Σ_A eˢ ), the mean of logs (Khosla et al., NeurIPS 2020, eq. 2);
- `decoupled`: as `supcon_out` with the positives left out of the denominator (Yeh et al., ECCV 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .decoding import OUTSIDE
from .gathering import WholeBatch, mean_over_processes


def context_context_loss(
    similarity: Tensor,
    labels: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    whole: WholeBatch | None = None,
    outside_attracts: bool = True,
) -> Tensor:
    """Tokens of one class attract each other, others repel.

    Args:
        similarity: `(N, N)`, of each valid token to each; `(N, M)` to each of `whole`.
        labels: `(N,)` long, class of each token.
        loss_type: `container`, `supcon_out` or `decoupled`.
        class_weight_power: A token of a class with n tokens weighs `n ** -class_weight_power`.
        whole: The M tokens of the batch over all processes, of which the N tokens here are a part.
        outside_attracts: Tokens outside of entities (label 0) are a class like others. Without, they are only
            what the tokens of entities repel.

    Returns:
        Scalar: the weighted mean over the tokens that have another of their class; zero where none has. With
        `whole`, it is the mean over the processes of what each returns.
    """
    candidates = labels if whole is None else whole.labels
    place = torch.arange(len(labels), device=labels.device) + (0 if whole is None else whole.first)
    own = place.unsqueeze(1)
    counts = torch.bincount(candidates, minlength=1)
    number = counts[labels] - 1
    others = similarity.scatter(1, own, torch.finfo(similarity.dtype).min)
    if loss_type == "container":
        same = candidates.unsqueeze(0) == labels.unsqueeze(1)
        attraction = _masked_logsumexp(others, same) - number.clamp_min(1).log()
    else:
        # Sums over classes are a product with their indicators, which spares masks of the size of all pairs.
        sums = similarity @ torch.nn.functional.one_hot(candidates, len(counts)).to(similarity.dtype)
        of_class = sums.gather(1, labels.unsqueeze(1)) - similarity.gather(1, own)
        attraction = of_class.squeeze(1) / number.clamp_min(1)
    counted = number > 0
    if not outside_attracts:
        counted = counted & (labels != OUTSIDE)
    if loss_type == "decoupled":
        different = candidates.unsqueeze(0) != labels.unsqueeze(1)
        counted = counted & (number + 1 < len(candidates))
        repulsion = _masked_logsumexp(similarity, different)
    else:
        repulsion = others.logsumexp(1)
    weights = class_weights(labels, class_weight_power, whole)
    return _weighted_mean(repulsion - attraction, counted, weights, whole)


def context_label_loss(
    similarity: Tensor,
    labels: Tensor,
    present: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    whole: WholeBatch | None = None,
) -> Tensor:
    """A token attracts the representation of its label in its own prompt, and repels the other labels'.

    Args:
        similarity: `(N, K)`, of each valid token to each label.
        labels: `(N,)` long.
        present: `(N, K)` bool, whether the label stands in the token's prompt.
        loss_type: As above; with its one positive, `container` and `supcon_out` are the same cross-entropy.
        class_weight_power: As above.
        whole: As above.

    Returns:
        Scalar: the weighted mean over the tokens whose label is in their prompt; zero where none is. With
        `whole` as above.
    """
    own = torch.nn.functional.one_hot(labels, similarity.shape[1]).bool()
    counted = (own & present).any(1)
    if loss_type == "decoupled":
        present = present & ~own
        counted = counted & present.any(1)
    attraction = similarity.gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = class_weights(labels, class_weight_power, whole)
    return _weighted_mean(_masked_logsumexp(similarity, present) - attraction, counted, weights, whole)


def class_weights(labels: Tensor, power: float, whole: WholeBatch | None = None) -> Tensor:
    """`(N,)` float weights `n ** -power`, n the number of the class's tokens here, or in `whole` if given."""
    counts = torch.bincount(labels if whole is None else whole.labels)
    return counts[labels].float() ** -power


def _weighted_mean(losses: Tensor, counted: Tensor, weights: Tensor, whole: WholeBatch | None) -> Tensor:
    """Of the losses that count, zero where none does; with `whole`, the total of weights is that of all."""
    weights = weights * counted
    total = weights.sum() if whole is None else mean_over_processes(weights.sum())
    return (losses.masked_fill(~counted, 0) * weights).sum() / total.clamp_min(
        torch.finfo(weights.dtype).tiny
    )


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    # The lowest finite number, not −inf: a row without a candidate is finite and its gradients are zero.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(1)
