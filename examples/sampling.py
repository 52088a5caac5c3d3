"""Draw samples. Sample 3 is the same whether 4 or 8 are drawn, alone or beside other prompts, on any machine.

python examples/sampling.py [MODEL]
"""

import sys

import intact

model = intact.load(*sys.argv[1:2])
prompt = "A good name for a cat is"
how = {"temperature": 0.8, "top_p": 0.95, "seed": 7, "max_tokens": 12}

(four,) = model.generate(prompt, n=4, **how)
eight, others = model.generate([prompt, "A good name for a dog is"], n=8, **how)
for number, sample in enumerate(eight):
    print(number, sample.text.strip().replace("\n", " "))
assert eight[:4] == four
assert others != eight
