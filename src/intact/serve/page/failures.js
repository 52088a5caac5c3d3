// Failed requests: what happened, what to do about it, and whether asking again can help.

/** A failed request; `message` says what happened, `advice` what to do. */
export class Failure extends Error {
  constructor(message, advice = "", { status = null } = {}) {
    super(message);
    Object.assign(this, { name: "Failure", advice, status });
  }

  /** Both in one line. */
  get words() {
    return [this.message, this.advice].filter(Boolean).join(" ");
  }
}

const sentence = (text) => {
  const trimmed = text.trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
};
const seconds = (count) => `${count} second${count === 1 ? "" : "s"}`;

/** Return what to do about an error status, or "" if the server's own words say it. */
function adviceFor(status, retryAfter) {
  if (status === 429) return `The server is busy: try again in ${seconds(retryAfter || 5)}.`;
  if (status === 503) return "Try again in a moment; if it stays like this, the server's log says why.";
  if (status === 504) return "Ask for fewer tokens or texts, or start the server with a larger --seconds.";
  if (status >= 500) return "The server's log has the details.";
  return "";
}

/** Convert an error reply to a failure; its body is the server's message or anything else. */
export async function refusal(response) {
  const text = await response.text().catch(() => "");
  const advice = adviceFor(response.status, Number(response.headers.get("retry-after")));
  try {
    const { message, param } = JSON.parse(text).error;
    return new Failure(sentence(param ? `${message} (${param})` : String(message)), advice, { status: response.status });
  } catch {
    return new Failure(`The server answered with status ${response.status} and no explanation.`, advice || "The server's log has the details.", { status: response.status });
  }
}

/** Return the failure of a request that got no reply; the browser's own words for it differ and explain nothing. */
export function unreachable() {
  if (navigator.onLine === false && !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) {
    return new Failure("This computer is offline.", "Connect it, then try again.");
  }
  return new Failure(
    `The server at ${location.host} does not answer.`,
    "It may have been stopped, or be out of reach: check that intact serve is running, then try again.",
  );
}

/** Return the failure of a reply that broke off; `received` is true if part of it had arrived. */
export function broken(received) {
  return new Failure(
    "The connection to the server was lost before the answer was complete.",
    `${received ? "What had arrived is kept. " : ""}Check that intact serve is still running, then try again: the same seed gives the same answer.`,
  );
}

/** Return the failure in an error event of a stream. */
export const inStream = ({ message, code }) => (
  new Failure(sentence(String(message)), code === "ending" ? "Start it again, then try again: the same seed gives the same answer." : adviceFor(code === "timeout" ? 504 : 0))
);
