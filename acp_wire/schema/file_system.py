"""`fs/read_text_file` and `fs/write_text_file`: the client's files, unsaved buffers included."""

from acp_wire.schema._base import Empty, Model, Uint32


class ReadTextFileRequest(Model):
    """`path` is absolute; `line` is counted from 1; `limit` is a number of lines."""

    session_id: str
    path: str
    line: Uint32 | None = None
    limit: Uint32 | None = None


class ReadTextFileResponse(Model):
    content: str


class WriteTextFileRequest(Model):
    """`path` is absolute; a file that does not exist is made."""

    session_id: str
    path: str
    content: str


WriteTextFileResponse = Empty
