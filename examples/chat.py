"""Hold a conversation through the model's own chat template: python examples/chat.py [MODEL]"""

import sys

import intact

model = intact.load(*sys.argv[1:2])
messages = [{"role": "system", "content": "Answer in one short sentence."}]
for question in ("What is the capital of France?", "And of Italy?"):
    messages.append({"role": "user", "content": question})
    answer = model.chat(messages, max_tokens=40)
    messages.append({"role": "assistant", "content": answer.text})
    print(f"> {question}\n{answer.text.strip()}\n")
