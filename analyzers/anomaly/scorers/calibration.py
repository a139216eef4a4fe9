"""The fixed tables that turn deviations into probabilities, and what a score is on them.

Each row holds the values that the shares ``likelihood.SHARES`` (a half down to 1 in 10,000) of all values of NAB's 58
series lay beyond; no label has a part in it. ``winnow bench nab --tables`` finds them anew.
"""

from __future__ import annotations

from analyzers.anomaly.scorers.likelihood import surprise

#: What no probability is believed to be below, as −log10.
LEAST = 12.0


def probability(points: tuple[float, ...], fused: float) -> float:
    """Return the share of reference values with a lesser fused surprise.

    >>> probability(tuple(range(1, 16)), 8.0)
    0.99
    """
    return float(1.0 - 10.0 ** -surprise(points, fused, LEAST))


# fmt: off
#: Of the rich scorer's channels, in the order of ``RichScorer.CHANNELS``.
RICH_CHANNELS = (
    (
        0.0, 1e-09, 0.20455, 1.1936, 1.8862, 2.1462, 2.3453, 2.6869,
        3.1292, 3.5305, 3.9104, 4.8107, 5.9115, 8.0596, 11.979,
    ),
    (
        -0.11488, 1e-09, 0.14764, 0.5232, 0.95168, 1.4025, 1.8085, 2.5988,
        3.4143, 4.3283, 5.3636, 7.6951, 11.216, 26.072, 1074.8,
    ),
    (
        -0.16034, -0.007871, 0.12488, 0.58956, 1.1613, 1.6155, 2.0326, 2.8604,
        3.9443, 5.0057, 5.9626, 8.0147, 11.507, 30.169, 997.95,
    ),
    (
        -0.046742, -0.031359, -0.02601, -0.021459, -0.016564, 5e-09, 6e-09, 0.10169,
        0.66934, 1.7969, 3.1851, 7.9788, 22.602, 113.68, 2281.4,
    ),
    (
        -0.27733, -0.11827, 0.074313, 0.64516, 1.2142, 1.7691, 2.1601, 2.7945,
        3.6041, 4.2946, 4.8784, 5.9087, 7.0943, 8.9044, 9.726,
    ),
    (
        -0.44863, 1e-09, 0.30668, 0.88688, 1.6769, 2.2699, 2.728, 3.4402,
        4.158, 4.676, 5.1225, 5.7864, 6.36, 7.6805, 9.5427,
    ),
)
#: Of its fused surprise.
RICH = (
    1.1053, 1.4893, 1.796, 2.1611, 2.6284, 3.0076, 3.3351, 3.9311,
    4.5219, 5.0329, 5.4324, 6.0271, 6.7062, 7.88, 8.5736,
)
#: Of the light scorer's channels: hour of day, range, steps.
LIGHT_CHANNELS = (
    (
        -0.11098, 1e-09, 0.14252, 0.51108, 0.96, 1.3782, 1.7698, 2.542,
        3.3597, 4.2748, 5.2873, 7.6539, 12.62, 165.53, 76322.0,
    ),
    (
        -0.046068, -0.03072, -0.025526, -0.020409, 4e-09, 5e-09, 0.019534, 0.28381,
        1.0464, 2.317, 4.0515, 10.398, 36.099, 1168.5, 394050.0,
    ),
    (
        -0.40692, 1e-09, 0.60566, 1.4102, 2.1761, 2.7124, 3.1594, 3.9422,
        4.7709, 5.4936, 6.1589, 7.8947, 10.438, 29951.0, 26411000.0,
    ),
)
#: Of its fused surprise.
LIGHT = (
    0.7357, 1.0343, 1.2255, 1.5409, 1.8848, 2.1419, 2.3628, 2.7527,
    3.219, 3.6029, 3.9669, 4.5794, 5.1932, 5.9762, 7.3248,
)
# fmt: on
#: The fused surprise that is an alarm: about 1 value in 70 of the reference series, before habituation.
RICH_ALARM = 3.46
LIGHT_ALARM = 2.5
