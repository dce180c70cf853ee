"""A static page that explains radiographs in the browser: no image leaves the machine.

Parts: what runs the model (`runtime`), and the files of the page (`page`). The page's own scripts read PNG,
JPEG and uncompressed DICOM as the loaders do, prepare the model's input as `explaining.preprocessing` does,
and show the result with the viewer that the other pages have.
"""
