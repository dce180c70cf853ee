"use strict";
/* The report's namespace: data that arrives by script, typed columns, and elements made without markup. */

const CXR = (() => {
  const arrived = new Map();
  const waiting = new Map();
  const loading = new Map();

  /** Called by each data script; see script_data.py. */
  function receive(name, value) {
    arrived.set(name, value);
    for (const resolve of waiting.get(name) || []) resolve(value);
    waiting.delete(name);
  }

  const allowed = /^(data\/[a-z]+|cases\/[0-9]{6,10})\.js$/;
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

  const KINDS = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

  /** A column of script_data.py as a typed array. All browsers' machines are little-endian. */
  function decode(column) {
    return new KINDS[column.type](bytes(column.data).buffer);
  }

  function bytes(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const found = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at++) found[at] = raw.charCodeAt(at);
    return found;
  }

  const SVG = "http://www.w3.org/2000/svg";

  function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** An element; children are nodes or text, never markup. */
  const element = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const drawing = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const find = (id) => document.getElementById(id);

  /** Offer text as a file to save. */
  function save(name, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = element("a", { href: url, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  return { receive, load, forget, decode, element, drawing, find, save };
})();
