"""The text of workload prompts: plain prose with a different beginning each time, so that no prefix cache can help."""

from __future__ import annotations

from typing import Any

TEXT = """\
The harbour wakes before the town does. While the lamps along the quay are still lit, the first boats come round the
breakwater with their engines turned low, and the men on board stand at the rail without talking, because everything
that had to be said was said far out, over the noise of the nets. On the steps below the customs house a woman waits
with a ledger and a pencil. She writes down the hour, the name of each boat, the number of boxes and what they hold,
and she has done so for so many years that the captains no longer call the figures out; they lift their fingers, and
she nods. By six the ice lorry has backed down to the sheds, the gulls have taken their places on the roof, and the
buyers walk between the rows with their hands in their pockets, as if they had come only to look at the weather.

Behind the sheds the street climbs in three long turns to the church. The houses there lean on one another, painted in
the colours that were left over from the boats, so that one can tell from a door to whom it once belonged. In the second
turn is the workshop of a clockmaker. He repairs pumps, sewing machines and the school's bell, since few people own a
clock that is worth mending, and he keeps a barometer in the window for those who go out. When it falls quickly he hangs
a red cloth beside it. Nobody remembers who asked him to, or whether his father did it before him, but no boat leaves
while the cloth is there, and the insurance company in the city once sent a young man to ask how the figures of this
place could be so much better than those of its neighbours.

The young man stayed for a week. He measured the breakwater, counted the ladders, copied whole pages of the ledger and
drew a careful curve of losses against the depth of water. On the last evening the clockmaker showed him the cloth, and
explained that a warning is only as good as the habit of heeding it. An instrument that is right nine times out of ten,
he said, will be laughed at after the tenth; but if the whole street can see it, and if your own grandmother would ask
you in front of everyone why you went out all the same, then it hardly matters that the needle sticks in cold weather.
The young man wrote this down as well. It is said that he put it into his report, between two tables, and that somebody
crossed it out.

In winter the wind turns to the north-east and stays there for a month. The boats are pulled up on the slip, the sheds
smell of tar, and the children learn to tie knots on lengths of old line while the grown people argue about money, the
price of diesel and the new bridge. Every year somebody proposes that the harbour be deepened, and every year the same
old captain stands up and answers that a deep harbour brings large ships, large ships bring a timetable, and a timetable
has never once waited for a fish. Then they vote, by raising their hands, and the pencil moves down the page. When the
first warm day comes they carry the boats back to the water in the order in which they were built, the oldest first, and
the bell that the clockmaker mended is rung from the hill until the last of them has passed the light.

There are other ways of living by the sea, and most of them pay better. But a place that counts its boats each morning,
knows why each box is there, and can say of every mistake who saw it coming, is not easily surprised. Ask the woman with
the ledger what she has learnt from forty years of figures, and she will turn the book around, so that you can read it
yourself, and tell you that the sums have to agree in the evening, whatever the weather was.
"""

STRIDE = 61
"""Number of words from one beginning to the next; coprime to the number of words, so that each word comes first once.
"""


class Passage:
    """A source of prompts: each begins at a different word of a text and wraps around at the end.

    After every word has come first once, prompts begin with the number of completed rounds.
    """

    def __init__(self, tokenizer: Any, text: str = TEXT) -> None:
        self._tokenizer = tokenizer
        self._words = text.split()
        self._given = 0

    def piece(self, count: int) -> list[int]:
        """Return the next prompt of `count` tokens, with the BOS token if the model expects one."""
        rounds, start = self._given // len(self._words), self._given * STRIDE % len(self._words)
        self._given += 1
        words = (self._words[start:] + self._words[:start]) * (1 + 2 * count // len(self._words))
        if rounds:
            words.insert(0, f"{rounds}.")
        tokens: list[int] = self._tokenizer.encode(" ".join(words[: 2 * count]), special=False)
        return tokens[:count]
