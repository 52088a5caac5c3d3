"""Conversations: what is asked of the model, branches, what a stopped or failed answer leaves, and the file."""

import asyncio
import json
from pathlib import Path

import pytest

import intact
import intact.serve
from intact._base.errors import FormatError, ParameterError
from support.browser import browser
from support.tiny import write_tiny

ASKED = {"max_tokens": 8, "temperature": 1.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=400), threads=1)


@pytest.fixture
def talk(model):
    return intact.Conversation(model, system="be brief", **ASKED)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "be brief"}


def test_each_answer_is_that_of_the_whole_conversation(model, talk):
    first = talk.say("one")
    assert first == model.chat([SYSTEM, user("one")], **ASKED)
    second = talk.say("two", seed=5)
    asked = [SYSTEM, user("one"), assistant(first.text), user("two")]
    assert second == model.chat(asked, seed=5, **ASKED)
    assert talk.messages == [*asked, assistant(second.text)]
    assert [message.seed for message in talk.path] == [None, 0, None, 5]


def test_streams_and_coroutines_say_the_same(model, talk):
    async def scene():
        other = intact.Conversation(model, system="be brief", **ASKED)
        texts = [(await other.asay("one")).text]
        texts.append("".join([chunk.text async for chunk in other.astream("two")]))
        return other, texts

    texts = [talk.say("one").text, "".join(chunk.text for chunk in talk.stream("two"))]
    other, found = asyncio.run(scene())
    assert found == texts
    assert other.messages == talk.messages
    assert [message.finish for message in other.path] == [message.finish for message in talk.path]
    assert talk.path[-1].finish in ("stop", "length")


def test_an_edited_question_is_a_branch_and_nothing_is_lost(talk):
    first, second = talk.say("one"), talk.say("two")
    edited = talk.edit("three")
    assert [message.content for message in talk.path] == ["one", first.text, "three", edited.text]
    old, new = talk.branches(talk.path[2].id)
    assert (old.content, new.content) == ("two", "three")
    talk.select(old.id)
    assert talk.path[-1].content == second.text
    talk.edit("zero", talk.path[0].id)
    assert [message.content for message in talk.path][::2] == ["zero"]
    assert {message.content for message in talk.branches(talk.path[0].id)} == {"one", "zero"}


def test_asking_again_takes_the_next_seed(model, talk):
    first = talk.say("one", seed=4)
    second, third = talk.regenerate(), talk.regenerate()
    asked = [SYSTEM, user("one")]
    assert [second, third] == [model.chat(asked, seed=seed, **ASKED) for seed in (5, 6)]
    assert len({first.tokens, second.tokens, third.tokens}) == 3
    assert [answer.content for answer in talk.branches()] == [first.text, second.text, third.text]
    assert talk.regenerate(seed=4) == first


def test_what_is_taken_back_is_asked_no_more(model, talk):
    first = talk.say("one")
    talk.say("two")
    assert talk.undo() == "two"
    assert talk.messages == [SYSTEM, user("one"), assistant(first.text)]
    assert talk.undo() == "one"
    assert talk.messages == [SYSTEM]
    with pytest.raises(ParameterError, match="nothing has been asked yet"):
        talk.undo()
    assert talk.say("one") == first


def test_a_fork_goes_its_own_way(talk):
    talk.say("one")
    fork = talk.fork()
    before = talk.messages
    fork.say("two")
    assert talk.messages == before == fork.messages[:3]
    assert talk.say("two").text == fork.path[-1].content


def test_an_answer_that_is_left_stays_as_far_as_it_came(model, talk):
    stream = talk.stream("one", max_tokens=100, ignore_eos=True)
    texts = [next(stream).text for _ in range(3)]
    stream.close()
    assert talk.messages[1:] == [user("one"), assistant("".join(texts))]
    assert talk.path[-1].stopped
    assert model.engine.held == 0


def test_a_cancelled_stream_stays_as_far_as_it_came(talk):
    async def scene():
        arrived = asyncio.Event()

        async def read():
            async for _ in talk.astream("one", max_tokens=300, ignore_eos=True):
                arrived.set()

        task = asyncio.create_task(read())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert talk.path[-1].stopped
    assert talk.path[0].content == "one"


@pytest.mark.parametrize("question", ["x" * 5000, "lone \ud800 surrogate"])
def test_a_question_that_cannot_be_asked_leaves_no_trace(talk, question):
    talk.say("one")
    before = talk.messages
    for ask in (talk.say, talk.stream, talk.edit, lambda text: asyncio.run(talk.asay(text))):
        with pytest.raises(ParameterError):
            ask(question)
    with pytest.raises(ParameterError, match="no option named 'max_token': did you mean max_tokens"):
        talk.say("two", max_token=3)
    assert talk.messages == before
    assert len(talk.branches()) == 1


def test_misspelt_options_are_named_before_anything_is_said(model):
    with pytest.raises(ParameterError, match="no option named 'reciept': did you mean receipt"):
        intact.Conversation(model, reciept=True)
    with pytest.raises(ParameterError, match="system must be a string, got 5"):
        intact.Conversation(model, system=5)


def test_names_that_do_not_exist_are_named(talk):
    talk.say("one")
    for ask in (talk.select, talk.branches, lambda name: talk.edit("two", name)):
        with pytest.raises(ParameterError, match="no message with the id 'nobody'"):
            ask("nobody")
    with pytest.raises(ParameterError, match="is an answer; expected a question"):
        talk.edit("two", talk.leaf)


def test_a_file_brings_everything_back(model, talk, tmp_path):
    talk.say("one", receipt=True)
    talk.say("two", seed=3)
    talk.regenerate(receipt=True)
    talk.edit("three", talk.path[0].id, receipt=True)
    file = tmp_path / "talk.json"
    talk.save(file)
    found = intact.Conversation.load(file, model)
    assert found.messages == talk.messages
    assert found.receipts == talk.receipts != []
    assert found.options == ASKED
    assert found._tree.messages == talk._tree.messages
    assert found.say("four") == talk.say("four")


def test_options_given_to_load_go_first(model, talk, tmp_path):
    talk.say("one")
    talk.save(tmp_path / "talk.json")
    found = intact.Conversation.load(tmp_path / "talk.json", model, max_tokens=2)
    assert found.options == ASKED | {"max_tokens": 2}


def test_the_page_reads_the_file_and_writes_one_that_is_read_here(model, talk, tmp_path):
    talk.say("one", receipt=True)
    talk.regenerate()
    file = tmp_path / "talk.json"
    talk.save(file)
    page = Path(intact.serve.__file__).parent / "page"
    scripts = {name: (page / name).read_text() for name in ("conversation.js", "shapes.js", "files.js", "dom.js")}
    code = """async ([scripts, text]) => {
        const address = (name) => "data:text/javascript," + encodeURIComponent(
            scripts[name].replace(/[/]page[/](\\w+[.]js)/g, (_, other) => address(other)));
        const { asExport, readExport } = await import(address("conversation.js"));
        const [one] = readExport(text);
        one.add(one.leaf, { role: "user", content: "from the page", usage: { completion_tokens: 3 } });
        return [one.messages(one.leaf), JSON.stringify(asExport([one.values()]))];
    }"""
    with browser() as chromium:
        shown, exported = chromium.new_page().evaluate(code, [scripts, file.read_text()])
    assert shown == [*talk.messages, user("from the page")]
    file.write_text(exported)
    found = intact.Conversation.load(file, model)
    assert found.messages == shown
    assert found.path[-1].others == {"usage": {"completion_tokens": 3}}
    assert [message.receipt for message in found.branches(found.path[1].id)] == [
        message.receipt for message in talk.branches(talk.path[1].id)
    ]


def node(**changes):
    return {"id": "a", "parent": None, "role": "user", "content": "x"} | changes


def export(*nodes, **changes):
    one = {"id": "c", "system": "", "leaf": None, "nodes": list(nodes)} | changes
    return {"format": "intact-conversations", "version": 1, "conversations": [one]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not valid JSON"),
        ([], 'expected an object with "format": "intact-conversations"'),
        (export() | {"version": 2}, '"version": 1'),
        (export() | {"conversations": {}}, "conversations must be a list of objects"),
        (export() | {"conversations": []}, "contains 0 conversations"),
        (export() | {"conversations": export()["conversations"] * 2}, "contains 2 conversations .* name one of them"),
        (export(system=None), "must have an id, a system message"),
        (export(5), r"nodes\[0\] must be an object, got 5"),
        (export(node(content=None)), r"nodes\[0\]: content must be a string, got None"),
        (export(node(role="tool")), r"nodes\[0\]: role must be 'user' or 'assistant', got 'tool'"),
        (export(node(parent="a")), "follows 'a', which does not come before it"),
        (export(node(), node()), "two messages have the id 'a'"),
        (export(node(), leaf="b"), "leaf must be the id of a message or null, got 'b'"),
        (export(node(receipt={"format": "intact-receipt"})), r"nodes\[0\]: "),
        (export(sampling={"heat": 1}), "'heat' is not a sampling parameter"),
    ],
)
def test_a_file_that_is_none_is_named_with_what_is_wrong(model, tmp_path, value, message):
    file = tmp_path / "talk.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(FormatError, match=f"cannot read a conversation from .*talk.json: .*{message}"):
        intact.Conversation.load(file, model)


def test_one_of_several_is_named(model, tmp_path):
    file = tmp_path / "talks.json"
    several = [{"id": name, "system": name, "leaf": None, "nodes": []} for name in ("first", "second")]
    file.write_text(json.dumps(export() | {"conversations": several}))
    assert intact.Conversation.load(file, model, name="second").system == "second"
    with pytest.raises(FormatError, match="not exactly one is named 'third'"):
        intact.Conversation.load(file, model, name="third")


def test_a_conversation_says_what_it_is(talk):
    talk.say("one")
    talk.regenerate()
    assert repr(talk) == "Conversation(Model('tiny.gguf', qwen3, int8), 2 messages, 3 with all branches)"
