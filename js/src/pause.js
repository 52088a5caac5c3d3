// Pauses of long work: what waits is handled, and work that was cancelled ends.

/**
 * Let waiting messages be handled, then raise if the work was cancelled. Without a signal nothing is awaited.
 *
 * @param {AbortSignal} [signal]
 * @throws The signal's reason.
 */
export async function pause(signal) {
  if (!signal) return;
  const { port1, port2 } = new MessageChannel(); // a timer would wait for at least 4 ms
  await new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
  port1.close();
  signal.throwIfAborted();
}
