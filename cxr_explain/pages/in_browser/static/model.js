/* The model and what explains it: one graph, run by ONNX Runtime on this machine's processor. */

import * as ort from "./ort.wasm.bundle.min.mjs";

/** Load the runtime and the graph; nothing is fetched afterwards. `progress` gets a share from 0 to 1. */
export async function loadModel(address, digest, progress) {
  const content = await fetched(address, progress);
  await check(content, digest);
  ort.env.wasm.numThreads = 1; // several would need headers that a plain server does not send
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  return (input, size) => explained(session, input, size);
}

/** Refuse another file than the page was made with; a server without encryption gives a page no digests. */
async function check(content, digest) {
  if (!globalThis.crypto?.subtle) return;
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  if (found.reduce((hex, byte) => hex + byte.toString(16).padStart(2, "0"), "") !== digest) throw new Error("its file is not the one that this page was made with");
}

async function fetched(address, progress) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  const size = Number(answer.headers.get("Content-Length"));
  const parts = [];
  let received = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    if (size) progress(Math.min(received / size, 1));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** What the graph gives for one image: typed arrays, and the shape of the maps. */
async function explained(session, input, size) {
  const given = new ort.Tensor("float32", input, [1, 1, size, size]);
  const found = await session.run({ [session.inputNames[0]]: given });
  const { logits, ranked, class_maps: classMaps, maps } = found;
  return {
    logits: logits.data, ranked: Array.from(ranked.data, Number),
    classMaps: classMaps.data, maps: maps.data, cells: maps.dims.slice(1),
  };
}
