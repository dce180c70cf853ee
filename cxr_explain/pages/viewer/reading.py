"""What is said below a map: how it is to be read."""

from __future__ import annotations


def how_to_read(k: int, *, fused: bool) -> str:
    """How a map of K pathologies is to be read, in a few sentences.

    Args:
        k: how many pathologies were explained.
        fused: whether each position keeps only the strongest of them.

    >>> how_to_read(1, fused=True).split(",")[0]
    'The colour is where the evidence for the pathology is'
    """
    relative = "as strong as it is within this image: colours cannot be compared between images"
    limit = "The map says what raised the score, not that the model is right."
    if k == 1:
        return f"The colour is where the evidence for the pathology is, {relative}. {limit}"
    if not fused:
        return f"Each pathology's evidence has a colour, {relative}. Where several meet, colours mix. {limit}"
    return (
        f"At each position only the ranked pathology with the strongest evidence is coloured, {relative}. "
        f"For another K, the class maps of the first K pathologies are fused anew. {limit}"
    )
