"use strict";
/* Data that arrives by script: a page that was opened from a disk may not fetch files. */

Object.assign(CXR, (() => {
  const arrived = new Map();
  const waiting = new Map();
  const loading = new Map();

  /** Called by each data script; see script_data.py. */
  function receive(name, value) {
    arrived.set(name, value);
    for (const resolve of waiting.get(name) || []) resolve(value);
    waiting.delete(name);
  }

  const allowed = /^(data\/[a-z]+|(cases|thumbnails)\/[0-9]{6,10})\.js$/;
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("cxr-explain", {
        createScriptURL: (url) => {
          if (!allowed.test(url)) throw new TypeError("not a script of this report");
          return url;
        },
      })
    : null;

  /** Load a data script once; resolves with what it hands over. */
  function load(name, url) {
    if (arrived.has(name)) return Promise.resolve(arrived.get(name));
    if (!loading.has(name)) {
      loading.set(name, new Promise((resolve, reject) => {
        waiting.set(name, [resolve]);
        const script = document.createElement("script");
        script.src = policy ? policy.createScriptURL(url) : url;
        script.onload = () => arrived.has(name) || fail(name, reject);
        script.onerror = () => fail(name, reject);
        document.head.append(script);
      }));
    }
    return loading.get(name);
  }

  function fail(name, reject) {
    loading.delete(name);
    reject(new Error("A file of this report is missing: " + name));
  }

  /** Let go of a case that is not looked at any more. */
  function forget(name) {
    arrived.delete(name);
    loading.delete(name);
  }

  return { receive, load, forget };
})());
