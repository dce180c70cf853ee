"use strict";
/* Small pictures of the images with pixels, loaded in bundles as their rows come into sight. */

CXR.Thumbnails = class {
  /** arrived: called when there is something new to draw. */
  constructor({ listing, arrived }) {
    Object.assign(this, { listing, arrived });
    this.bundles = new Map();
  }

  /** The address of a picture; "" until it is there, null where there is none. */
  of(image) {
    const place = this.listing.pixelPlace(image);
    if (place < 0) return null;
    const size = this.listing.about.bundle;
    const bundle = Math.floor(place / size);
    if (!this.bundles.has(bundle)) this.load(bundle);
    return this.bundles.get(bundle)[place % size] ?? "";
  }

  async load(bundle) {
    this.bundles.set(bundle, []);
    try {
      this.bundles.set(bundle, await CXR.load("thumbnails-" + bundle, `thumbnails/${String(bundle).padStart(6, "0")}.js`));
      this.arrived();
    } catch {
      // Without its picture a row still says everything.
    }
  }
};
