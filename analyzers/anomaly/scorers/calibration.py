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
        -0.11106, 1e-09, 0.22187, 0.65408, 1.1295, 1.5574, 1.9811, 2.7795,
        3.6613, 4.5968, 5.6583, 8.0179, 11.216, 20.222, 181.86,
    ),
    (
        -0.16075, -0.0055538, 0.1879, 0.72175, 1.3255, 1.8278, 2.2221, 3.1081,
        4.2695, 5.29, 6.3054, 8.3342, 11.225, 22.626, 55.213,
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
    1.1084, 1.4905, 1.7947, 2.174, 2.6285, 3.007, 3.3358, 3.9329,
    4.5216, 5.0344, 5.4417, 6.0541, 6.7404, 7.8377, 8.366,
)
#: Of the light scorer's channels: hour of day, range, steps.
LIGHT_CHANNELS = (
    (
        -0.10503, 1e-09, 0.20609, 0.63194, 1.1243, 1.5527, 1.9447, 2.7217,
        3.6435, 4.6181, 5.7023, 8.3752, 13.567, 138.21, 38143.0,
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
    0.76742, 1.0597, 1.2668, 1.5397, 1.8824, 2.1403, 2.3607, 2.765,
    3.2348, 3.6021, 3.9718, 4.5984, 5.1974, 5.9532, 7.421,
)
# fmt: on
#: The fused surprise that is an alarm: about 1 value in 70 of the reference series, before habituation.
RICH_ALARM = 3.44
LIGHT_ALARM = 2.5
