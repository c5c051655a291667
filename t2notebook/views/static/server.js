// Requests to the Jupyter server that the page comes from.

// The Jupyter server that this page comes from; null where there is none that we know.
export function jupyterServer() {
  let base = document.body.dataset.baseUrl;
  let token = "";
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    base = config.baseUrl ?? base;
    token = config.token ?? "";
  } catch {
    // nbclassic has the base only
  }
  return base ? { base: base.replace(/\/*$/, "/"), token } : null;
}

export function askServer({ base, token }, path, options = {}) {
  const xsrf = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]+)/)?.[1];
  const headers = xsrf ? { "X-XSRFToken": xsrf } : {};
  if (token) headers.Authorization = `token ${token}`;
  return fetch(base + path, { credentials: "same-origin", cache: "no-store", ...options, headers });
}
