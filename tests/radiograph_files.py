"""Synthetic radiograph files in every format and transfer syntax that can be encoded here."""

from __future__ import annotations

import io
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
LOSSLESS = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLossless, uid.JPEGLosslessSV1)
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEG2000, uid.JPEGLSNearLossless)


def phantom(rows: int = 48, columns: int = 40, bits: int = 12, seed: int = 0) -> np.ndarray:
    """A smooth image with some structure that fills its depth."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    field = 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9) + 0.2 * (x / columns - 0.5)
    field += np.random.default_rng(seed).normal(0, 0.01, field.shape)
    field = (field - field.min()) / (field.max() - field.min())
    return np.rint(field * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def dataset(
    pixels: np.ndarray, bits: int = 12, photometric: str = "MONOCHROME2", **attributes: Any
) -> FileDataset:
    """A DX image; attributes are set last, None deletes one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.Modality = "DX"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.PatientOrientation = ["L", "F"]
    ds.ImagerPixelSpacing = [0.2, 0.2]
    ds.PhotometricInterpretation = photometric
    ds.SamplesPerPixel = 1
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encode(ds: FileDataset, syntax: uid.UID = uid.ExplicitVRLittleEndian) -> bytes:
    """The data set as a file in that transfer syntax."""
    out = io.BytesIO()
    if syntax == uid.ExplicitVRBigEndian and ds.BitsAllocated == 16:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    if syntax in NATIVE:
        ds.file_meta.TransferSyntaxUID = syntax
        implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
        pydicom.dcmwrite(out, ds, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
        return out.getvalue()
    if syntax in (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless):
        ds.compress(syntax, generate_instance_uid=False)
    elif syntax == uid.JPEG2000:
        ds.compress(syntax, j2k_cr=[4], generate_instance_uid=False)
    elif syntax == uid.JPEGLSNearLossless:
        ds.compress(syntax, jls_error=2, generate_instance_uid=False)
    elif syntax == uid.JPEGBaseline8Bit:
        _replace(ds, syntax, raster(ds.pixel_array, "JPEG", quality=95))
    else:
        frame = bytearray(_gdcm_encode(ds, syntax))
        if syntax == uid.JPEGExtended12Bit:
            # GDCM writes a precision of 16, which the standard does not know, and grey levels to match: the
            # stream serves the fuzzer, its pixels prove nothing.
            frame[frame.index(b"\xff\xc1") + 4] = 12
        _replace(ds, syntax, bytes(frame))
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def encapsulated(ds: FileDataset, syntax: uid.UID, frame: bytes) -> bytes:
    """The data set as a file around a frame that was encoded elsewhere."""
    _replace(ds, syntax, frame)
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def _replace(ds: FileDataset, syntax: uid.UID, frame: bytes) -> None:
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax


def _gdcm_encode(ds: FileDataset, syntax: uid.UID) -> bytes:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, encoded = f"{folder}/plain.dcm", f"{folder}/encoded.dcm"
        Path(plain).write_bytes(encode(ds))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(plain)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"GDCM cannot encode {syntax.name}")
        writer.SetFileName(encoded)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return get_frame(pydicom.dcmread(encoded).PixelData, 0, number_of_frames=1)


def raster(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """Pixels as a raster file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    ihdr = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def seeds() -> dict[str, bytes]:
    """One small file for each format, transfer syntax and transform."""
    found: dict[str, bytes] = {}
    deep, shallow = phantom(bits=12), phantom(bits=8)
    for syntax in (*NATIVE, *LOSSLESS, *LOSSY):
        bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
        ds = dataset(shallow if bits == 8 else deep, bits, WindowCenter=2000, WindowWidth=4000)
        found[f"dicom {syntax.name}"] = encode(ds, syntax)
    lut = pydicom.Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 12], np.arange(4096, dtype="<u2").tobytes()
    found["dicom luts"] = encode(
        dataset(deep, photometric="MONOCHROME1", VOILUTSequence=[lut], PixelPaddingValue=0, RescaleSlope=1)
    )
    found["dicom frames"] = encode(dataset(np.stack([deep, deep])))
    found |= _display_seeds(deep) | _bits_seeds(deep) | _fragment_seeds(shallow)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        found[f"{kind} grey"] = raster(shallow, kind)
        found[f"{kind} colour"] = raster(np.stack([shallow] * 3, -1), kind)
    found["PNG 16"] = raster(phantom(bits=16), "PNG")
    found["PNG rgba"] = raster(np.stack([shallow] * 4, -1), "PNG")
    found["PNG palette"] = raster(Image.fromarray(shallow).convert("P"), "PNG")
    found["TIFF 16 deflate"] = raster(phantom(bits=16), "TIFF", compression="tiff_deflate")
    found["TIFF lzw"] = raster(shallow, "TIFF", compression="tiff_lzw")
    found["JPEG progressive"] = raster(shallow, "JPEG", progressive=True)
    return found


SHUTTERS: dict[str, dict[str, Any]] = {
    "rectangular": {
        "ShutterShape": "RECTANGULAR",
        "ShutterLeftVerticalEdge": 5,
        "ShutterRightVerticalEdge": 36,
        "ShutterUpperHorizontalEdge": 4,
        "ShutterLowerHorizontalEdge": 44,
    },
    "circular": {
        "ShutterShape": "CIRCULAR",
        "CenterOfCircularShutter": [24, 20],
        "RadiusOfCircularShutter": 18,
    },
    "polygonal": {
        "ShutterShape": "POLYGONAL",
        "VerticesOfThePolygonalShutter": [3, 6, 3, 34, 40, 38, 46, 3],
    },
}
"""A display shutter of each shape for an image of 48 x 40 pixels."""


def lut_item(entries: Any, first: int = 0, bits: int = 16) -> pydicom.Dataset:
    """An item of a LUT sequence, with 16-bit entries."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def in_fragments(frame: bytes, size: int, offsets: tuple[int, ...] = ()) -> bytes:
    """The value of compressed pixel data: one frame in several fragments, behind any offset table."""
    table = b"".join(offset.to_bytes(4, "little") for offset in offsets)
    items = [table, *(frame[at : at + size] for at in range(0, len(frame), size))]
    items = [item + b"\0" * (len(item) % 2) for item in items]
    return b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)


def _display_seeds(deep: np.ndarray) -> dict[str, bytes]:
    everything = {key: value for shape in SHUTTERS.values() for key, value in shape.items()}
    everything["ShutterShape"] = ["RECTANGULAR", "CIRCULAR", "POLYGONAL"]
    luts = [lut_item(np.arange(4096) * 4), lut_item(np.zeros(4096), bits=12)]
    return {
        "dicom shutters": encode(dataset(deep, **everything)),
        "dicom shutter and luts": encode(dataset(deep, VOILUTSequence=luts, **SHUTTERS["polygonal"])),
        "dicom commas": encode(dataset(deep, WindowCenter="2000", WindowWidth="4000")).replace(
            b"2000", b"19,5"
        ),
    }


def _bits_seeds(deep: np.ndarray) -> dict[str, bytes]:
    """16-bit streams under headers of 12 bits, with an overlay above the samples, signed or not."""
    found = {}
    words = deep | (np.arange(deep.size, dtype=np.uint16).reshape(deep.shape) % 7 == 0) * np.uint16(0x1000)
    for syntax in (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1):
        ds = pydicom.dcmread(io.BytesIO(encode(dataset(words, 16), syntax)))
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 1
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=True)
        found[f"dicom bits above {syntax.name}"] = out.getvalue()
    return found


def _fragment_seeds(shallow: np.ndarray) -> dict[str, bytes]:
    found = {}
    frame = raster(shallow, "JPEG", quality=95)
    for name, offsets in (("none", ()), ("wrong", (4,)), ("each", (0, 208, 416))):
        ds = dataset(shallow, 8)
        ds.PixelData = in_fragments(frame + b"rubbish!", 200, offsets)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
        out = io.BytesIO()
        pydicom.dcmwrite(out, ds, enforce_file_format=True)
        found[f"dicom fragments, offsets {name}"] = out.getvalue()
    return found
