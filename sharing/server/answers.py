"""What a consumer is told when they are not given what they asked for.

Belongs here: the one error of this server. Does not belong here: when it is raised.
"""

CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "METHOD_NOT_ALLOWED",
    503: "TEMPORARILY_UNAVAILABLE",
}
OTHER_CODE = "INTERNAL_ERROR"


class NotServedError(Exception):
    """A request that is not served: `status` of HTTP, `reason` a word for the audit event.

    The message goes to the consumer: it never holds more than they know or may know.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def told(status: int, message: str) -> dict[str, str]:
    """The body of an answer that is no success."""
    return {"errorCode": CODES.get(status, OTHER_CODE), "message": message}
