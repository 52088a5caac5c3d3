"""Load a model and let it continue a text: python examples/quickstart.py [MODEL]"""

import sys

import intact

model = intact.load(*sys.argv[1:2])  # a name of the catalogue, a GGUF file or a folder; without one the default model
((answer,),) = model.generate("The three primary colours are", max_tokens=24)
print(answer.text)
print(f"[{len(answer.tokens)} tokens, ended by {answer.finish}]")
