"""Sentences of a small English grammar, for the embedded corpus: every word a common one."""

from __future__ import annotations

import random

# Slot of a template -> what may stand there.
_OPTIONS = {
    "person": """the teacher|my brother|her sister|the old man|a young woman|our neighbor|the doctor
|the farmer|a little girl|the driver|the captain|his uncle|the baker|a stranger|the painter
|the mayor|your cousin|the student|a tall boy|the nurse|my father|the singer|an old friend
|the writer|the fisherman|her mother|the sailor|a poor soldier|the waiter|my grandfather""",
    "verb": """carried|found|painted|lost|sold|bought|cleaned|hid|dropped|fixed|borrowed
|opened|watched|followed|forgot|remembered|covered|wanted|washed|moved|broke|held|brought|kept
|counted|touched|noticed|left|needed|took""",
    "thing": """the red boat|a heavy box|the wooden chair|an empty bottle|the yellow flowers
|a silver spoon|the broken clock|a small basket|the green coat|an orange book|the garden gate
|a warm blanket|the kitchen table|a glass of water|the long letter|a piece of bread|the blue door
|a bag of apples|the quiet horse|an old picture|the fresh fish|a pair of shoes|the paper map
|a cup of coffee|the stone wall|a round window|the lost key|a bright lamp|the iron bridge
|a thick rope|the music box|a sharp knife|the winter jacket|a bowl of soup|the narrow path""",
    "place": """near the river|behind the school|under the bridge|in the kitchen|at the market
|on the hill|by the lake|across the street|in the garden|next to the church|at the station
|inside the barn|along the shore|in the forest|above the shop|beside the road|at the harbor
|in the village|on the second floor|between two trees|outside the city|at the corner""",
    "time": """this morning|last night|before dinner|after the storm|every summer|on Monday
|in early spring|three days ago|late in the evening|yesterday|at noon|during the winter
|long before sunrise|on a cold day|since last week|at the end of June|on Friday afternoon
|when the rain stopped|after a short walk|around midnight""",
    "weather": """the wind was strong|the sky turned gray|it began to snow|the sun was shining
|the river was high|the road was wet|the night was quiet|the air smelled of smoke
|the leaves were falling|the sea was calm|the streets were empty|the fog was thick
|a bell was ringing|the birds were singing|the lights went out|the train was late""",
    "opinion": """I think|we hope|they say|she believes|he told us|you should know|nobody thought
|everyone knew|I was sure|my teacher said|it seems|we never heard""",
    "quality": """careful|happy|tired|strange|simple|useful|honest|gentle|famous|patient|hungry
|curious|silent|brave|lucky|proud|serious|friendly""",
    "number": """two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty
|forty|a hundred""",
    "counted": """birds|boats|letters|windows|horses|houses|stones|tickets|chairs|candles|children
|bottles|apples|miles|pages|coins""",
}
TEMPLATES = (
    "{person} {verb} {thing} {place}.",
    "{time}, {person} {verb} {thing}.",
    "{weather}, and {person} {verb} {thing}.",
    "{opinion} {person} {verb} {thing} {time}.",
    "why was {person} so {quality} {time}?",
    "there were {number} {counted} {place}.",
    "{person} was {quality}, but {weather}.",
    "we saw {number} {counted} and {thing} {place}.",
    "{weather} {time}, so {person} stayed {place}.",
    "did you know that {person} {verb} {thing}?",
    "{number} {counted} and {number} {counted} were lost {place}.",
    "{opinion} {weather} {time}.",
)


_SLOTS = {
    slot: [option.strip() for option in options.split("|")] for slot, options in _OPTIONS.items()
}


def make_sentences(count: int, seed: int) -> list[str]:
    """Make `count` different sentences, the same ones for the same seed.

    A longer list begins with the sentences of a shorter one.

    Raises:
        ValueError: More sentences than the grammar surely has.
    """
    if not 0 < count <= 50_000:
        raise ValueError(f"sentences: expected a count in [1, 50000], got {count}")
    generator = random.Random(seed)
    # A dict for its order: repeated sentences are dropped.
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        sentences[_sentence(generator)] = None
    return list(sentences)


def _sentence(generator: random.Random) -> str:
    """One sentence: a template, each of its slots filled anew."""
    words = generator.choice(TEMPLATES)
    for slot, options in _SLOTS.items():
        while "{" + slot + "}" in words:
            words = words.replace("{" + slot + "}", generator.choice(options), 1)
    return words[0].upper() + words[1:]
