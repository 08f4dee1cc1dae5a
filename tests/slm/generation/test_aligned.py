from collections.abc import Callable

import numpy as np
import pytest
import torch

from slm.data.alignment import Alignment
from slm.data.documents import build_aligned
from slm.data.vocabulary import Vocabulary
from slm.generation.aligned import (
    LONGEST_PAUSE,
    LONGEST_PHONE,
    AlignedRequest,
)
from slm.generation.config import GenerationSettings
from slm.generation.generate import generate, open_session
from slm.model.speech_lm import SpeechLM
from slm.text.phone_tokenizer import (
    DURATION_START,
    MAX_DURATION,
    PAUSE_ID,
    PhoneTokenizer,
    word_units,
)

pytestmark = pytest.mark.usefixtures("engine")

GREEDY = GenerationSettings(temperature=0)
CAT = np.array([PAUSE_ID, *word_units(["K", "AE", "T"]), PAUSE_ID])
A = np.array([PAUSE_ID, *word_units(["AH"]), *word_units(["D", "AO"]), PAUSE_ID])
PROMPT = np.array([3, 1, 4, 1, 5])


@pytest.fixture
def lm(make_lm: Callable[..., SpeechLM]) -> SpeechLM:
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, 64)
    return make_lm(vocabulary=vocabulary.to_dict(), lookahead=2, max_seq_len=400)


def spoken_by(lm: SpeechLM, request: AlignedRequest) -> tuple[list[int], list[int]]:
    """Counts and code tokens at temperature 0."""
    session = open_session(lm, [request], GREEDY)
    while not session.done:
        session.step()
    return session.rows[0].counts, session.rows[0].tokens


@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_speech_is_what_the_whole_model_finds_likeliest(
    lm: SpeechLM, prompt: np.ndarray | None
) -> None:
    """The document that was made, read at once: every draw was the best of those allowed."""
    counts, codes = spoken_by(lm, AlignedRequest(CAT, prompt))
    vocabulary = lm.vocabulary
    said = Alignment(CAT, np.array(counts))
    made = vocabulary.token_to_code(codes)
    document = build_aligned(vocabulary, made, said, lookahead=2, prompt=prompt)
    tokens = torch.from_numpy(document.tokens)
    logits = lm(tokens[None])[0, :-1]
    durations = vocabulary.text_start + DURATION_START
    drawn_codes = 0
    for place in (document.loss_weights > 0).nonzero()[0][:-1].tolist():
        token = int(tokens[place])
        if token >= vocabulary.code_start:
            best = int(logits[place - 1, vocabulary.code_start :].argmax()) + vocabulary.code_start
            assert token == best
            drawn_codes += 1
        else:
            # Bounds may forbid the likeliest duration, never a likelier one that they allow.
            scores = logits[place - 1, durations : durations + LONGEST_PHONE + 1]
            allowed = scores[1:] if token > durations else scores
            assert logits[place - 1, token] >= allowed.max() or token - durations > LONGEST_PHONE
    assert drawn_codes == sum(counts) == len(codes)


def test_a_batch_gives_each_text_what_it_gets_alone(lm: SpeechLM) -> None:
    requests = [AlignedRequest(CAT), AlignedRequest(A, PROMPT), AlignedRequest(CAT, PROMPT[:2])]
    together = generate(lm, requests, GREEDY)
    alone = [generate(lm, [request], GREEDY)[0] for request in requests]
    for row, single in zip(together, alone, strict=True):
        assert row.tokens.tolist() == single.tokens.tolist()
        assert row.log_likelihood == pytest.approx(single.log_likelihood, abs=1e-3)


def test_a_row_depends_on_its_seed_and_not_on_its_batch(lm: SpeechLM) -> None:
    requests = [AlignedRequest(CAT, None, seed) for seed in (5, 6, 5)]
    first, other, again = generate(lm, requests)
    assert first.tokens.tolist() == again.tokens.tolist()
    assert first.tokens.tolist() != other.tokens.tolist()
    assert generate(lm, requests[1:2])[0].tokens.tolist() == other.tokens.tolist()


def total_codes(lm: SpeechLM, speed: float, rows: int = 24) -> int:
    requests = [AlignedRequest(A, None, seed, speed) for seed in range(rows)]
    return sum(len(each.tokens) for each in generate(lm, requests))


def test_speech_lasts_as_long_as_its_speed_says(
    make_lm: Callable[..., SpeechLM],
) -> None:
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, 64)
    options = {"vocabulary": vocabulary.to_dict(), "lookahead": 2, "max_seq_len": 400}
    lm = make_lm(**options)
    with torch.no_grad():
        # Durations of 1 to 6 alone: no bound takes anything away.
        start = lm.vocabulary.text_start + DURATION_START
        lm.head.weight[start] *= 0
        lm.head.weight[start + 7 :][: MAX_DURATION - 6] *= 0
        lm.head.weight[start + 1 : start + 7] *= 4
    plain = total_codes(lm, 1.0)
    assert total_codes(lm, 0.8) / plain == pytest.approx(1.25, abs=0.12)
    assert total_codes(lm, 1.25) / plain == pytest.approx(0.8, abs=0.12)
    slow = make_lm(**options, duration_scale=1.25)
    slow.load_state_dict(lm.state_dict())
    assert total_codes(slow, 1.0) == total_codes(lm, 0.8)
    assert total_codes(slow, 1.25) == plain


def test_what_rounding_leaves_out_of_a_phone_goes_to_the_next(lm: SpeechLM) -> None:
    units = np.array([*word_units(["K", "AE", "T"]) * 8])
    session = open_session(lm, [AlignedRequest(units, None, 0, 1 / 1.3)])
    row = session.rows[0]
    for _ in range(len(units)):
        count = row.scaled(3)
        assert count in (3, 4)
        row.counts.append(count)
    assert sum(row.counts) == pytest.approx(3 * 1.3 * len(units), abs=0.51)


def test_every_unit_gets_its_turn_and_none_lasts_too_long(lm: SpeechLM) -> None:
    session = open_session(lm, [AlignedRequest(A, None, seed) for seed in range(8)])
    while not session.done:
        session.step()
    for row, made in zip(session.rows, session.results(), strict=True):
        counts = row.counts
        assert len(counts) == len(A)
        assert sum(counts) == len(made.tokens)
        assert (made.truncated, made.stopped) == (False, "end")
        assert max(counts[0], counts[-1]) <= LONGEST_PAUSE
        assert max(counts[1:-1]) <= LONGEST_PHONE


def test_every_word_is_heard(make_lm: Callable[..., SpeechLM]) -> None:
    """A model that gives every phone as few codes as it may still gives each word one."""
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, 64)
    lm = make_lm(vocabulary=vocabulary.to_dict(), lookahead=1, max_seq_len=400)
    with torch.no_grad():
        lm.head.weight.zero_()  # all alike: the first that is allowed is taken
    session = open_session(lm, [AlignedRequest(A)], GREEDY)
    while not session.done:
        session.step()
    assert session.rows[0].counts == [0, 1, 0, 1, 0]


def test_a_text_near_the_end_of_the_context_is_spoken_to_its_end(
    make_lm: Callable[..., SpeechLM],
) -> None:
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, 64)
    units = np.concatenate([CAT] * 3)
    lm = make_lm(vocabulary=vocabulary.to_dict(), lookahead=1, max_seq_len=4 * len(units) + 8)
    made = generate(lm, [AlignedRequest(units, None, seed) for seed in range(4)])
    assert [each.stopped for each in made] == ["end"] * 4


def test_what_cannot_be_spoken_is_refused_before_any_work(
    lm: SpeechLM, make_lm: Callable[..., SpeechLM]
) -> None:
    with pytest.raises(ValueError, match="lookahead 0"):
        generate(make_lm(), [AlignedRequest(CAT)])
    with pytest.raises(ValueError, match="eval mode"):
        generate(lm.train(), [AlignedRequest(CAT)])
    lm.eval()
    with pytest.raises(ValueError, match="sentence by sentence"):
        generate(lm, [AlignedRequest(np.tile(CAT, 30))])
    with pytest.raises(ValueError, match="units"):
        generate(lm, [AlignedRequest(np.array([500]))])
    assert generate(lm, []) == []
