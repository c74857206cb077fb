"""Curves of tilt series beside each other."""

from __future__ import annotations

import numpy as np

from cryoembed.evaluate.realism import SeriesStatistics
from cryoembed.plot.likeness import likeness_figure


def test_every_series_is_drawn_in_three_panels_and_named_once():
    one = SeriesStatistics(np.arange(1.0, 6.0), np.ones(5), np.arange(1.0, 51.0).reshape(5, 10))
    figure = likeness_figure({"recorded": one, "simulated": one.scaled(2)}, [-60, -30, 0, 30, 60])
    assert len(figure.data) == 6
    assert [trace.name for trace in figure.data if trace.showlegend] == ["recorded", "simulated"]
    np.testing.assert_array_equal(figure.data[3].y, 2 * np.arange(1.0, 6.0))
    np.testing.assert_array_equal(figure.data[2].y, one.power[2])
    assert figure.layout.annotations[2].text == "power at 0°"
