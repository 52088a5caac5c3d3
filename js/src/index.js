// The public interface of the package.

export { ConstraintError } from "./automata.js";
export { Core, hex, sha256 } from "./core.js";
export { ConformanceSet, runConformance } from "./conformance.js";
export { WorkerEngine, WorkerModel } from "./engine.js";
export { Gguf } from "./gguf.js";
export { CoreError } from "./instance.js";
export { DEFAULTS, Model } from "./model.js";
export { Opening, verifyLayers } from "./opening.js";
export { ReceiptError, parseReceipt, receiptLines } from "./receipt.js";
export { BlobSource, FileSource, InputError, UrlSource } from "./sources.js";
export { startThread, startWorker } from "./start.js";
export { Store } from "./store.js";
export { encodeConversation } from "./template.js";
export { availableThreads } from "./threads.js";
export { unreadable, verify } from "./verify.js";
