"""The form an answer leaves in: JSON as it was made, the same as XML, or either laid out for reading.

https://hl7.org/fhir/R4/http.html#mime-type and https://hl7.org/fhir/R4/http.html#pretty
"""

from starlette.responses import Response

from fhir_server.kernel import json, xml_writer
from fhir_server.rest.negotiation import CONTENT_TYPE, XML_CONTENT_TYPE, Format


def represent(response: Response, format: Format, *, pretty: bool) -> None:
    """Turn a FHIR JSON answer into ``format``; anything else, content of a Binary above all, is left alone."""
    if (format == "json" and not pretty) or response.headers.get("content-type") != CONTENT_TYPE or not response.body:
        return
    body = bytes(response.body)
    if format == "xml":
        response.body = xml_writer.encode(json.decode_own(body), pretty=pretty)
        response.headers["content-type"] = XML_CONTENT_TYPE
    else:
        response.body = json.indented(body)
    response.headers["content-length"] = str(len(response.body))
