// Conversations stored in this browser (IndexedDB); without storage, they last as long as the page.

const NAME = "intact";
const STORE = "conversations";
const memory = new Map();
let opened;

function database() {
  opened ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open(NAME, 1);
    } catch {
      resolve(null);
      return;
    }
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opened;
}

/** Return true if conversations are still stored after the page is closed. */
export const keeps = async () => Boolean(await database());

async function transact(mode, work) {
  const found = await database();
  if (!found) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = found.transaction(STORE, mode);
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Return all conversations, latest first. */
export async function all() {
  const kept = (await transact("readonly", (store) => store.getAll())) ?? [...memory.values()];
  return kept.sort((a, b) => b.updated - a.updated);
}

/** Store a conversation; return false if the browser has no room for it. */
export async function keep(conversation) {
  const value = structuredClone(conversation);
  memory.set(value.id, value);
  try {
    await transact("readwrite", (store) => store.put(value));
    return true;
  } catch {
    return false;
  }
}

export async function forget(id) {
  memory.delete(id);
  await transact("readwrite", (store) => store.delete(id));
}
