"""Images as `data:` URIs, which are stored in the page itself."""

import base64
import io

from PIL import Image

JPEG_QUALITY = 80


def jpeg_uri(image: Image.Image) -> str:
    """The image as a `data:` URI, compressed as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return _uri("image/jpeg", buffer.getvalue())


def png_uri(image: Image.Image) -> str:
    """The image as a `data:` URI without loss, for masks."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def _uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
