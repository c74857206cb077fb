"""The classes of voxels: their names, in the order of their numbers everywhere."""

from __future__ import annotations

# channels of the semantic head and numbers in its labels (thesis, section 4.3.2; dna stands for RNA, too)
SEMANTIC_CLASSES = ("background", "particle", "membrane", "microtubule", "actin", "dna")
IGNORED = 255  # in truth volumes: not known, or none of these (gold)
