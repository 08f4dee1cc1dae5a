from recipes.encoding.cluster import MOST_DEATHS, Attempts


def lives(attempts: Attempts, clips: int, poison: set[int]) -> tuple[int, list[int]]:
    """Processes that it takes to work off a batch, and the clips that are left out."""
    for count in range(1, 100):
        careful = attempts.begin("batch")
        left_out = []
        for clip in range(clips):
            if careful and not attempts.may_try("batch", clip):
                left_out.append(clip)
            elif clip in poison:
                break  # the process is gone
        else:
            attempts.end("batch")
            return count, left_out
    raise AssertionError("without end")


def test_a_batch_without_poison_takes_one_process() -> None:
    assert lives(Attempts(), 5, set()) == (1, [])


def test_poison_is_found_in_a_few_deaths_and_nothing_else_is_blamed() -> None:
    assert lives(Attempts(), 5, {3}) == (2 + MOST_DEATHS, [3])
    assert lives(Attempts(), 1, {0}) == (2 + MOST_DEATHS, [0])
    assert lives(Attempts(), 5, {0, 4}) == (2 + 2 * MOST_DEATHS, [0, 4])


def test_a_batch_whose_process_was_killed_once_is_done_whole() -> None:
    attempts = Attempts()
    attempts.begin("batch")
    for clip in (0, 1):
        assert attempts.begin("batch")  # killed while it was at another clip each time
        assert attempts.may_try("batch", clip)
    assert lives(attempts, 3, set()) == (1, [])


def test_a_batch_that_came_to_its_end_may_be_wanted_again() -> None:
    attempts = Attempts()
    for _ in range(5):
        assert not attempts.begin("batch")
        attempts.end("batch")
    assert attempts.begin("other") is False
