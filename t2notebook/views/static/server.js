// Requests to the Jupyter server that the page comes from.

import { ENGLISH } from "./words.js";

/** @typedef {{base: string, token: string}} Server Its base URL, with a slash at the end. */

/**
 * The Jupyter server that this page comes from; null where there is none that we know.
 * @returns {Server | null}
 */
export function jupyterServer() {
  let base = document.body.dataset.baseUrl;
  let token = "";
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
    base = config.baseUrl ?? base;
    token = config.token ?? "";
  } catch {
    // nbclassic has the base only
  }
  return base ? { base: base.replace(/\/*$/, "/"), token } : null;
}

/**
 * @param {Server} server
 * @param {string} path
 * @param {RequestInit} [options]
 */
export function askServer({ base, token }, path, options = {}) {
  const xsrf = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]+)/)?.[1];
  /** @type {Record<string, string>} */
  const headers = xsrf ? { "X-XSRFToken": xsrf } : {};
  if (token) headers.Authorization = `token ${token}`;
  return fetch(base + path, { credentials: "same-origin", cache: "no-store", ...options, headers });
}

// A server that takes a job over from a session that was lost starts another session first; that of another environment
// may take longer, where nobody else can be asked.
const KILL_MS = 20000;
const TAKE_OVER_MS = 100000;

/**
 * Kill a job through the server extension, which does not wait for a kernel.
 * @param {string} jobId
 * @param {boolean} [isPatient] Whether nobody else can be asked.
 * @param {import("./words.js").Catalogue} [trans]
 * @returns {Promise<string>} Empty if it has been killed; else why not.
 */
export async function killThroughServer(jobId, isPatient = false, trans = ENGLISH) {
  const server = jupyterServer();
  if (!server) return trans.__("this page comes from no Jupyter server");
  const signal = AbortSignal.timeout(isPatient ? TAKE_OVER_MS : KILL_MS);
  try {
    const path = `t2notebook/api/jobs/${encodeURIComponent(jobId)}/kill`;
    const answer = await askServer(server, path, { method: "POST", body: "{}", signal });
    if (answer.ok) return "";
    const record = await answer.json().catch(() => null);
    return record?.message || trans.__("the Jupyter server answers HTTP %1", answer.status);
  } catch (error) {
    return trans.__("the Jupyter server does not answer: %1", error instanceof Error ? error.message : error);
  }
}
