"""`/v1/reports`: the report on result files of `intact eval`, for the web page."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field

from intact._base.errors import IntactError
from intact.serve.errors import as_api_error
from intact.serve.forms import Form, FormRoute
from intact.serve.replies import CancellableResponse, JsonReply
from intact.serve.service import CancellableWork, Service, TheService

MOST_RUNS: Final = 8
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}\.jsonl$"

router = APIRouter(route_class=FormRoute)


class ResultFile(Form):
    """A result file of `intact eval`, with its traces if the report should show them."""

    name: Annotated[str, Field(pattern=_NAME)]
    result: str
    traces: str | None = None


class ReportRequest(Form):
    """`/v1/reports`: the result files of runs to compare."""

    runs: Annotated[list[ResultFile], Field(min_length=1, max_length=MOST_RUNS)]
    title: Annotated[str, Field(max_length=200)] = ""


@router.post("/v1/reports")
async def make_report(body: ReportRequest, service: TheService) -> CancellableResponse:
    """Return the report on runs: its sections as `intact report --json` prints them, and the HTML file."""
    return JsonReply(lambda: _report(service, body), service.seconds())


async def _report(service: Service, request: ReportRequest) -> dict[str, Any]:
    async with service.verifications.running(ReportWork(request)) as future:
        try:
            return await future
        except IntactError as error:
            raise as_api_error(error, (), "runs") from error


class ReportWork(CancellableWork[dict[str, Any]]):
    """A report being made."""

    def __init__(self, request: ReportRequest) -> None:
        super().__init__("report")
        self._request = request

    def run(self) -> dict[str, Any]:
        """Return the report.

        Raises
        ------
        IntactError
            If a file is not a result file, is damaged, or two have the same name.
        """
        from intact.evaluate.files import read
        from intact.evaluate.report.contents import as_list, report
        from intact.evaluate.report.html import html

        with tempfile.TemporaryDirectory() as folder:
            try:
                runs = {Path(one.name): read(_write(Path(folder), one)) for one in self._request.runs}
            except IntactError as error:
                message = re.sub(rf"{re.escape(folder)}[/\\]", "", str(error))
                raise type(error)(message) from None
        self.check()
        made = report(runs, self._request.title)
        return {"object": "report", "title": made.title, "sections": as_list(made), "html": html(made)}


def _write(folder: Path, run: ResultFile) -> Path:
    """Write a run's files for `read`, and return the path of the result."""
    from intact.evaluate.files import traces_of

    path = folder / run.name
    if path.exists():
        raise IntactError(f"{run.name} is given twice: rename one of the files")
    path.write_text(run.result, "utf-8", newline="\n")
    if run.traces is not None:
        traces_of(path).write_text(run.traces, "utf-8", newline="\n")
    return path
