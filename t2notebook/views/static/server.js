// Requests to the Jupyter server that the page comes from.

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

// A server that takes a job over from a session that was lost starts another session first.
const KILL_MS = 20000;

/**
 * Kill a job through the server extension, which does not wait for a kernel.
 * @param {string} jobId
 * @returns {Promise<boolean>} Whether it has been killed; not where the extension is not installed, or cannot reach it.
 */
export async function killThroughServer(jobId) {
  const server = jupyterServer();
  if (!server) return false;
  const signal = AbortSignal.timeout(KILL_MS);
  try {
    const path = `t2notebook/api/jobs/${encodeURIComponent(jobId)}/kill`;
    return (await askServer(server, path, { method: "POST", body: "{}", signal })).ok;
  } catch {
    return false;
  }
}
