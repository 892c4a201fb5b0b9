"""`python -m stages.compare --sites`: what is compared between sites, on the terminal, as a page and for DVC."""

from collections.abc import Sequence

from rich.console import Console

from stages import codec, variables
from stages.errors import FaceoffError
from stages.harness.params import schema
from stages.harness.pipeline import experiments
from stages.harness.report.sites import page, scorecards, words
from stages.harness.sites import compare_sites
from stages.harness.sites.results import SITES_PAGE_PATH, SITES_PATH


def show(sites: Sequence[str]) -> int:
    """Compare the sites with the first of them, and say what came out. Writes reports/sites.json and its page."""
    margin = schema.load().compare.margin
    try:
        compared = compare_sites.compare(compare_sites.read(sites), margin)
        codec.write(SITES_PATH, compared)
    except FaceoffError as error:  # its text may be of a record from elsewhere
        raise FaceoffError(variables.shown(str(error)), error.exit_code) from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # each session's were fit to compute with
        said = variables.shown(f"{type(error).__name__}: {error!s:.200}")
        raise FaceoffError(f"the records of {', '.join(sites)} do not go together: {said}") from None
    codec.write_text(SITES_PAGE_PATH, page.html(compared))
    console = Console()
    words.show(compared, console)
    for line in (*publish(compared.sites), f"As a page: {SITES_PAGE_PATH}."):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def publish(sites: Sequence[str]) -> list[str]:
    """Record each site's scorecard as a DVC experiment, as images' are. Returns lines: how to use them, or why not."""
    try:
        names = [experiments.publish(site, scorecards.files(site), (str(schema.PARAMS_PATH),)) for site in sites]
    except FaceoffError as error:
        return [f"No DVC experiments, so no `dvc metrics diff` of sites: {error}."]
    hidden = [
        f"{experiments.hidden_by(name)} hides the experiment {name}" for name in names if experiments.hidden_by(name)
    ]
    lines = [f"{each} from `dvc metrics diff`: rename it." for each in hidden]
    if len(names) > 1:
        lines.append(f"Two sites side by side: .venv/bin/dvc metrics diff {names[0]} {names[1]}")
    return lines
