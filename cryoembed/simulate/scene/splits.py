"""Which species, filaments and chains of a sample belong to one split."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cryoembed.simulate.density.template import Split, Template
from cryoembed.simulate.scene.crowding import check_counts
from cryoembed.simulate.scene.sample import SampleConfig

logger = logging.getLogger(__name__)


def of_one_split(
    config: SampleConfig, templates: Sequence[Template], split: Split
) -> tuple[SampleConfig, list[Template]]:
    """Settings and species without those of other splits, and without the filaments and chains made of them.

    Parameters
    ----------
    templates
        All species and complexes.

    Raises
    ------
    InputError
        If counts name what is none of them.
    """
    check_counts(config.counts, [template.name for template in templates])
    away = {template.name for template in templates if template.split != split}
    if not away:
        return config, list(templates)
    logger.info("of other splits than %s, left out: %s", split, ", ".join(sorted(away)))
    update: dict[str, object] = {
        "filaments": tuple(spec for spec in config.filaments if spec.structure not in away),
        "chains": tuple(spec for spec in config.chains if spec.beads not in away),
    }
    if isinstance(config.counts, dict):
        update["counts"] = {name: number for name, number in config.counts.items() if name not in away}
    return config.model_copy(update=update), [template for template in templates if template.name not in away]
