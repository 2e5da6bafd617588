"""The loss curve drawn with characters."""

from __future__ import annotations

import pytest

from tunesmith.cli.curve import loss_curve


def test_a_falling_loss_falls_from_the_upper_left_to_the_lower_right() -> None:
    lines = loss_curve([4.0, 3.0, 2.0, 1.0], 4, 4, braille=False)
    assert lines == ["4 +*", "  | *", "  |  *", "1 +   *"]


def test_steep_falls_are_closed_lines() -> None:
    assert loss_curve([9.0, 1.0], 2, 4, braille=False) == ["9 +*", "  | *", "  | *", "1 + *"]


def test_braille_dots_draw_eight_points_to_a_character() -> None:
    assert loss_curve([2.0, 2.0], 2, 2) == ["2 ┤", "2 ┤⣀⣀"]
    assert loss_curve([2.0, 1.0], 1, 2) == ["2 ┤⢱", "1 ┤⢸"]


@pytest.mark.parametrize("count", [2, 5, 64, 1_000, 12_345])
@pytest.mark.parametrize("braille", [True, False])
def test_any_number_of_losses_fits_and_fills_the_width(count: int, braille: bool) -> None:
    lines = loss_curve([10.0 / (step + 1) for step in range(count)], 30, 5, braille=braille)
    assert len(lines) == 5
    assert (
        max(len(line) for line in lines) == len(lines[-1].partition("+" if not braille else "┤")[0]) + 1 + 30
    )


def test_a_level_loss_is_a_level_line_and_a_single_one_no_curve() -> None:
    assert loss_curve([2.0, 2.0, 2.0], 3, 2, braille=False) == ["2 +", "2 +***"]
    assert loss_curve([2.0], 3, 2) == []
    assert loss_curve([2.0, 1.0], 0, 2) == []
