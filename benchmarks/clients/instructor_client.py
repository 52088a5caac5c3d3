"""instructor: a typed answer through a forced call, and through a JSON schema.

pip install instructor
python benchmarks/clients/instructor_client.py --model qwen
"""

from __future__ import annotations

from importlib.metadata import version

import instructor
import openai
from common import options
from pydantic import BaseModel


class Trip(BaseModel):
    """A trip to a city."""

    city: str
    days: int


def main() -> None:
    """Request the answer in both modes."""
    args = options(__doc__)
    raw = openai.OpenAI(base_url=args.url, api_key="none")
    messages = [{"role": "user", "content": "I go to Oslo for 3 days."}]
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(raw, mode=mode)
        trip = client.chat.completions.create(
            model=args.model, messages=messages, response_model=Trip, temperature=0, max_tokens=100, max_retries=1
        )
        print(f"instructor {version('instructor')}, {mode.value}: {trip!r}")


if __name__ == "__main__":
    main()
