"""Settings of training documents."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from codec.checks import LARGEST, all_finite, count, in_range, require


@dataclass(frozen=True)
class DocumentSettings:
    """Settings by which store items become training documents.

    Args:
        prompt_probability: Chance that a document opens with a prompt from another utterance of
            its speaker (no prompt when the speaker has one utterance only).
        min_prompt_codes: Shortest prompt, in codes.
        max_prompt_codes: Longest prompt, in codes; its length is drawn uniformly up to what the
            utterance holds.
        text_drop_probability: Chance that a transcribed item becomes a speech-only document, so
            that the model also continues recordings without a transcript.
        text_loss_weight: Loss weight of text tokens; speech codes and the end weigh 1.
        prompt_text_probability: Chance that a prompt is a whole utterance that comes with its
            transcript, where both are transcribed and it has at most `max_prompt_codes`.
        interleave_probability: Chance that text and speech of a transcribed item take turns.
        interleave_text: Text tokens of a turn.
        interleave_codes: Codes of a turn.
        prompt_interleaved: Let interleaved documents open with a prompt, too.
        lookahead: Units read ahead in the aligned documents of rows that have an alignment; 0
            where no row has one.
        duration_loss_weight: Loss weight of the durations in them.
        shares: Share of the rows of a `source` that an epoch takes, drawn anew for each; all of a
            source that is not named.
        own_recording_prompts: Let a recording whose speaker has no other be its own prompt: its
            first part is the prompt, the rest what follows; cut where a word begins, or a phone
            where no word does. Of aligned documents and of speech without text, since of other
            texts it is not known which part belongs to the rest.
        speaker_power: Amount of a speaker in an epoch, as a power of the codes it has: 1 takes
            every utterance once, 0.5 takes of a speaker with four times the speech of another
            twice as much, 0 the same of all. An utterance may come several times an epoch, or not
            at all; epochs are about as long as with 1. Shifted copies make no speaker larger.
        transcribe_probability: Chance that a transcribed item becomes a transcription, its speech
            first and its text after it, so that the model recognises speech as well; drawn before
            all else. Of whole texts, not of phones.
        transcribe_code_loss_weight: Loss weight of the codes of a transcription; its text and the
            end weigh 1.

    Raises:
        ValueError: A value is out of its range.
    """

    prompt_probability: float = 0.5
    min_prompt_codes: int = 24
    max_prompt_codes: int = 96
    text_drop_probability: float = 0.1
    text_loss_weight: float = 0.0
    prompt_text_probability: float = 0.0
    interleave_probability: float = 0.0
    interleave_text: int = 5
    interleave_codes: int = 30
    lookahead: int = 0
    duration_loss_weight: float = 1.0
    shares: dict[str, float] = field(default_factory=dict)
    own_recording_prompts: bool = False
    speaker_power: float = 1.0
    prompt_interleaved: bool = False
    transcribe_probability: float = 0.0
    transcribe_code_loss_weight: float = 0.0

    def __post_init__(self) -> None:
        # NaN fails no comparison, so it is looked for by itself.
        all_finite("", self)
        for name in ("prompt", "text_drop", "prompt_text", "interleave", "transcribe"):
            in_range(f"{name}_probability", getattr(self, f"{name}_probability"), 0, 1)
        for name in ("interleave_text", "interleave_codes"):
            count(name, getattr(self, name), 1)
        count("lookahead", self.lookahead)
        for name in ("text", "duration", "transcribe_code"):
            in_range(f"{name}_loss_weight", getattr(self, f"{name}_loss_weight"), 0, LARGEST)
        in_range("speaker_power", self.speaker_power, 0, 1)
        for source, share in self.shares.items():
            in_range(f"shares.{source}", share, 0, 1)
        # Without bounds in order no length could be drawn.
        most = self.max_prompt_codes
        fits = 1 <= self.min_prompt_codes <= most
        expected = f"a count from 1 to max_prompt_codes = {most}"
        require(fits, "min_prompt_codes", expected, self.min_prompt_codes)

    def without_augmentation(self) -> DocumentSettings:
        """The same with nothing drawn at random: every item as it is, for validation."""
        return replace(
            self,
            prompt_probability=0.0,
            text_drop_probability=0.0,
            prompt_text_probability=0.0,
            interleave_probability=0.0,
            transcribe_probability=0.0,
            shares={},
            speaker_power=1.0,
        )
