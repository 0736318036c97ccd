"""Files of a case through the app: the report's PDF and rendered images, checked, typed and never sniffed.

https://hl7.org/fhir/R4/binary.html and https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from smart_app.case_sources import CaseNotFound
from smart_app.edge import FOLDER, Edge
from smart_app.fhir_client import ApiRefused, NotSignedIn
from smart_app.wording import case_number, target

_uid = re.compile(r"[0-9][0-9.]{0,63}")
_not_in_names = re.compile(r"[^A-Za-z0-9.\-]+")
_PDF = "application/pdf"
_IMAGES = ("image/jpeg", "image/png")
Handler = Callable[[Request], Awaitable[Response]]


def build_content_routes(edge: Edge) -> list[Route]:
    """Return the routes below /app that serve files."""
    return [
        Route("/reports/{id}.pdf", _pdf_handler(edge), methods=["GET"]),
        Route("/images/{study}/{series}/{instance}", _image_handler(edge), methods=["GET"]),
    ]


def _pdf_handler(edge: Edge) -> Handler:
    async def pdf(request: Request) -> Response:
        client = edge.client(request)
        report = await client.read(f"DiagnosticReport/{request.path_params['id']}")
        forms = [form for form in (report or {}).get("presentedForm", ()) if form.get("contentType") == _PDF]
        binary = await client.read(str(forms[0].get("url", ""))) if forms else None
        data = _decoded(str((binary or {}).get("data", "")))
        if report is None or not data.startswith(b"%PDF-"):
            raise CaseNotFound
        order = next((target(item) for item in report.get("basedOn", ())), "")
        number = case_number(await client.read(order) or {}) or "report"
        name = _not_in_names.sub("-", number)
        headers = {
            "Content-Disposition": f'inline; filename="{name}.pdf"',
            "Content-Security-Policy": "sandbox; default-src 'none'; object-src 'self'; frame-ancestors 'none'",
        }
        return Response(data, media_type=_PDF, headers=headers)

    return pdf


def _image_handler(edge: Edge) -> Handler:
    async def image(request: Request) -> Response:
        client = edge.client(request)
        study, series, instance = (request.path_params[name] for name in ("study", "series", "instance"))
        if not all(_uid.fullmatch(uid) for uid in (study, series, instance)):
            raise CaseNotFound
        path = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered"
        try:
            found = await client.get(path, accept=", ".join(_IMAGES), params=[("viewport", "512,512")])
        except NotSignedIn:
            raise
        except ApiRefused:
            return _no_preview()
        media_type = found.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in _IMAGES:
            return _no_preview()
        # An instance never changes, so the browser may keep its picture as long as the user's own cache lives.
        return Response(found.content, media_type=media_type, headers={"Cache-Control": "private, max-age=600"})

    return image


def _no_preview() -> Response:
    """A picture that says there is none: browsers show it in place of the image although the status is 404."""
    return FileResponse(FOLDER / "static" / "no-preview.svg", status_code=404, media_type="image/svg+xml")


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return b""
