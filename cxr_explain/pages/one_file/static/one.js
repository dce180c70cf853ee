/* The page of one explanation: it is all in the page. */

(async () => {
  const data = JSON.parse(CXR.find("case-data").textContent);
  CXR.find("case").classList.remove("still");
  const viewer = new CXR.Viewer();
  CXR.app = { viewer, controls: new CXR.Controls(viewer) };
  await viewer.show(data);
  CXR.app.controls.draw();
  CXR.find("radiograph").setAttribute("aria-label", CXR.text.clean(data.spoken));
  CXR.find("case").setAttribute("aria-busy", "false");
})();
