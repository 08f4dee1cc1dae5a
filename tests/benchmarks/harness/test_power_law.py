import math
import random

import pytest

from benchmarks.harness.power_law import fit_exponent

SIZES = (1, 2, 4, 8, 16, 32)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.3, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent):
    fit = fit_exponent(SIZES, [0.003 * size**exponent for size in SIZES])
    assert fit.exponent == pytest.approx(exponent)
    assert fit.error == pytest.approx(0.0, abs=1e-9)
    assert fit.last == pytest.approx(exponent)
    assert fit.worse_than_linear == (exponent > 1.1)


def test_the_standard_error_is_that_of_the_textbook():
    """By hand: x = 0, 1, 2 (powers of e), y = 0, 1, 1: slope 1/2, residuals 1/6, -1/3, 1/6."""
    fit = fit_exponent([math.exp(x) for x in (0, 1, 2)], [math.exp(y) for y in (0, 1, 1)])
    assert fit.exponent == pytest.approx(0.5)
    assert fit.error == pytest.approx(math.sqrt((1 / 36 + 1 / 9 + 1 / 36) / 1 / 2))


def test_the_error_covers_the_exponent_of_noisy_times():
    draw = random.Random(0)
    inside = 0
    for _ in range(200):
        times = [size**1.0 * math.exp(draw.gauss(0, 0.1)) for size in SIZES]
        fit = fit_exponent(SIZES, times)
        inside += abs(fit.exponent - 1.0) <= 2 * fit.error
    assert inside > 150


def test_a_fixed_cost_shows_in_the_last_step():
    """Quadratic growth under a fixed cost: the fit is below 1, the last step is not."""
    fit = fit_exponent(SIZES, [500 + size**2 for size in SIZES])
    assert fit.exponent < 1
    assert fit.last > 0.9


@pytest.mark.parametrize(
    ("sizes", "seconds"),
    [((1, 2), (1, 2)), ((1, 2, 3), (1, 2)), ((1, 2, 2), (1, 2, 3)), ((1, 2, 3), (1, 0, 3))],
)
def test_points_that_no_line_can_be_fitted_to_are_refused(sizes, seconds):
    with pytest.raises(ValueError, match="expected"):
        fit_exponent(sizes, seconds)
