// The document of a shared conversation: made by share.js, validated here when the file is opened.

import { anyObject, check, ifAny, list, messageMembers, number, object, text, textIfAny } from "/page/shapes.js";

const FORMAT = "intact-shared";
const VERSION = 1;
const MOST = 1000;

const { id, parent, ...members } = messageMembers;
const message = object({ ...members, texts: list(object({ entry: number, receipt: anyObject })) });
const shared = object({ format: text, version: number, title: textIfAny, messages: list(message) });

/** Return the document with its known members; throw an Error that says what is wrong with it. */
export function sharedOf(value) {
  check(value?.format === FORMAT, "it holds no shared conversation");
  check(value.version === VERSION, `it has version ${JSON.stringify(value.version)}, but this file reads version ${VERSION}`);
  const read = shared(value, "the document");
  check(read.messages.length <= MOST, `it has more than ${MOST} messages`);
  for (const { role } of read.messages) check(["user", "assistant"].includes(role), `a message has the role ${JSON.stringify(role)}`);
  return read;
}

export const asShared = (title, messages) => ({ format: FORMAT, version: VERSION, title, messages });
